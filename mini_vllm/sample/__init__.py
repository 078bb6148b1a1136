r"""How does a row of scores become one token?

The model's last word on a request is a row of numbers, one per token of the vocabulary. What the
caller asked for (the best token, a draw at some temperature, nothing improbable, no repetition, at
least ten tokens) is applied to that row, one rule after the other, and the order is part of the
answer: a temperature applied before a filter and the same applied after it are two different
distributions.

| step | module |
|---|---|
| log-probabilities to report, from the raw scores | {py:mod}`~mini_vllm.sample.logprobs` |
| rules that may change the best: `min_tokens` | {py:mod}`~mini_vllm.sample.logits_processors` |
| penalties | {py:mod}`~mini_vllm.sample.penalties` |
| greedy rows: take the best; done if all are | {py:mod}`~mini_vllm.sample.sampler` |
| temperature | {py:mod}`~mini_vllm.sample.sampler` |
| rules that cannot: `min_p` | {py:mod}`~mini_vllm.sample.logits_processors` |
| top-k, then top-p | {py:mod}`~mini_vllm.sample.top_k_top_p` |
| the draw | {py:mod}`~mini_vllm.sample.sampler` |

The steps that read whole rows of scores come from a provider,
{py:class}`~mini_vllm.sample.kernels.SamplingKernels`: torch, or on a GPU kernels of our own
({py:mod}`~mini_vllm.sample.triton_kernels`).

The order is upstream's, and documented there: {up}`vllm/v1/sample/sampler.py#Sampler`.
"""
