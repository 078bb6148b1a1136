r"""How does a step get to the device with one call instead of hundreds?

By being made beforehand. This room has the parts of that, from the arithmetic to the device:

| module | question | torch |
|---|---|---|
| {py:mod}`~mini_vllm.compilation.capture_sizes` | which sizes, and what does padding waste? | no |
| {py:mod}`~mini_vllm.compilation.resolution` | which graphs can this backend be part of? | no |
| {py:mod}`~mini_vllm.compilation.dispatcher` | how is this step run, and why? | no |
| {py:mod}`~mini_vllm.compilation.piecewise` | where can a model be cut? | yes |
| {py:mod}`~mini_vllm.compilation.graph_wrapper` | who knows that a piece is a graph? | yes |
| {py:mod}`~mini_vllm.compilation.cuda_graph` | what must be in order before a capture? | yes |
| {py:mod}`~mini_vllm.compilation.recorded_graph` | what does a graph freeze? | yes |
| {py:mod}`~mini_vllm.compilation.compiler` | what does compiling save, and cost? | yes |
| {py:mod}`~mini_vllm.compilation.graph_cache` | when may a compiled piece be used again? | yes |

The first three are arithmetic and rules. They decide everything and need neither a device nor a
tensor. The others do as they are told; {py:mod}`mini_vllm.worker.graph_runner` puts them together
for a step.
"""
