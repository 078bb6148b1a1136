r"""How does a step get to the device with one call instead of hundreds?

By being made beforehand. This room has the parts of that, from the arithmetic to the device:

| module | question | torch |
|---|---|---|
| {py:mod}`~mini_vllm.compilation.capture_sizes` | which sizes, and what does padding waste? | no |
| {py:mod}`~mini_vllm.compilation.resolution` | which graphs can this backend be part of? | no |
| {py:mod}`~mini_vllm.compilation.dispatcher` | how is this step run, and why? | no |

The first three are arithmetic and rules. They decide everything and need neither a device nor a
tensor.
"""
