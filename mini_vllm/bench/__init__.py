r"""How fast is it, and compared with what?

"{given}`2,000 tokens` a second" means nothing alone. One published engine was measured by two
people with the same script on the same kind of GPU, and their figures differ by a factor of 65;
neither said what else was different. So a measurement here is a record: the machine, the versions,
the commit, the seed, the command, every single run and not only the best, and beside each figure
that of somebody else, taken in the same minute on the same machine.

| command | answers |
|---|---|
| `bench latency CHECKPOINT` | how long does one fixed batch take? |
| `bench throughput CHECKPOINT` | how many tokens a second, beside transformers? |
| `bench serve --base-url URL` | what does a user of a server see at this load? |
| `bench compare BEFORE AFTER` | did the change make it faster, or was it the noise? |
| `bench side-by-side` | every work of the book beside vLLM and transformers |

Each is `mini_vllm bench ...`, or `python -m mini_vllm.bench ...`. Four rules keep them honest:

- **The same work.** Same checkpoint, same prompts, end-of-sequence off, so that every run makes
  exactly as many tokens.
- **The same answers.** In float32 the tokens of both are compared; a row whose tokens differ is
  void (a near-tie between the two best tokens is counted, and said).
- **A fresh process for each run**, with its own warm-up, so that nobody inherits a warm allocator;
  rivals take turns, so that a noisy minute is everybody's.
- **Their best foot forward.** transformers pads a batch to its longest prompt, and its best batch
  size is not its biggest, so all of 1, 8, 16 and 64 are tried. vLLM runs eager and compiled.

Two times are kept. Wall-clock time is what a user waits; CPU time is what the work costs, and on a
shared machine the one that repeats. When the two differ much, somebody else was using the machine.

Upstream: {up}`vllm/benchmarks/throughput.py`, {up}`vllm/benchmarks/latency.py`,
{up}`vllm/benchmarks/serve.py`.
"""
