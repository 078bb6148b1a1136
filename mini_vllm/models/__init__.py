r"""What makes a Qwen3 a Qwen3, and not a Llama?

Two small norms. Read the four adapters in this room one after the other, and you will see that
most of what is published under a new name is one architecture with a few switches: a bias on three
projections or none, a norm on heads or none, a window on attention or none. So there is one model
here, {py:class}`~mini_vllm.models.decoder.DecoderForCausalLM`, and one record that sets its
switches, {py:class}`~mini_vllm.models.decoder_config.DecoderConfig`. An adapter is a function from
a checkpoint's `config.json` to that record, and is as long as the difference it describes.

| architecture | module | what differs |
|---|---|---|
| `LlamaForCausalLM` | {py:mod}`~mini_vllm.models.llama` | the base; optional biases |
| `Qwen2ForCausalLM` | {py:mod}`~mini_vllm.models.qwen2` | a bias on q, k, v; an optional window |
| `Qwen3ForCausalLM` | {py:mod}`~mini_vllm.models.qwen3` | a norm on each head of q and k |
| `MistralForCausalLM` | {py:mod}`~mini_vllm.models.mistral` | a window on every layer |

Upstream has a module of its own for each, hundreds of them, found by name through
{up}`vllm/model_executor/models/registry.py#_TEXT_GENERATION_MODELS`. That lets somebody add a
model without touching another; it also means that a change to all decoders is a change to all
files.
"""
