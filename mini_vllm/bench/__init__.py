r"""How fast is it, and compared with what?

"{given}`2,000 tokens` a second" means nothing alone. One published engine was measured by two
people with the same script on the same kind of GPU, and their figures differ by a factor of 65;
neither said what else was different. So a measurement here is a record: the machine, the versions,
the commit, the seed, the command, every single run and not only the best, and beside each figure
that of somebody else, taken in the same minute on the same machine.

```console
$ python -m mini_vllm.bench throughput book/model/checkpoint --dtype float32
```

runs 64 prompts of 32 to {given}`512 tokens`, 128 new tokens each, through this engine and through
transformers' `generate`, and prints both. Four rules keep it honest:

- **The same work.** Same checkpoint, same prompts, end-of-sequence off, so that every run makes
  exactly as many tokens.
- **The same answers.** In float32 the tokens of both are compared; a row whose tokens differ is
  void (a near-tie between the two best tokens is counted, and said).
- **A fresh process for each run**, with its own warm-up, so that nobody inherits a warm allocator.
- **Its best foot forward.** transformers pads a batch to its longest prompt, and its best batch
  size is not its biggest; all of 1, 8, 16 and 64 are run.

Two times are kept. Wall-clock time is what a user waits; CPU time is what the work costs, and on a
shared machine the one that repeats. When the two differ much, somebody else was using the machine,
and the table says so.

Upstream: {up}`vllm/benchmarks/throughput.py`.
"""
