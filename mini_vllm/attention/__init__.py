r"""How can one step serve tokens that have nothing to do with each other?

The rest of the model never notices that a batch holds many requests: a norm, a projection, an MLP
treat each token alone, so the tokens of all requests lie in one flat row, `[num_tokens, hidden]`.
Attention is the only place where tokens meet, and it must not let them meet across requests. Who
belongs to whom, who comes after whom, and where their past is kept, is said by one object,
{py:class}`~mini_vllm.attention.metadata.AttentionMetadata`.

Given that, an attention backend is one method. It first stores the step's keys and values in their
pages, then answers every token's query from the pages, old and new alike: a decode is a request
with one new token, a prefill one with many, and a chunk of a prefill one with some. What every
backend owes, and what each says of itself, is in {py:mod}`~mini_vllm.attention.backend`. These are
here:

- {py:mod}`~mini_vllm.attention.torch_reference` gathers each request's pages and writes softmax out
  in full. It is the oracle, and the one to read first.
- {py:mod}`~mini_vllm.attention.cpu_numba` reads the pages where they are, on a CPU.
- {py:mod}`~mini_vllm.attention.triton_attention` does so on a GPU, by one kernel for prompts and
  decodes ({py:mod}`mini_vllm.kernels.triton.unified_attention`).
- {py:mod}`~mini_vllm.attention.flash_attention` and {py:mod}`~mini_vllm.attention.flashinfer` hand
  the work to the libraries of that name, where they are installed.

Between the oracle and the kernels lies one idea, that a softmax can be computed in parts and the
parts put together afterwards: {py:mod}`~mini_vllm.attention.online_softmax`.

{py:func}`~mini_vllm.attention.selector.select_attention_backend` takes the first that can do the
work and says why.
"""
