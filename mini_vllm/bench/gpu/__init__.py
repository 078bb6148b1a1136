r"""How much of a GPU does the engine use?

As a share of what the same GPU does when it does nothing else, measured in the same run: bytes a
second of a plain copy, operations a second of a large product by the vendor's library. A data sheet
promises more than either, and a figure beside it flatters nobody and explains nothing.

| module | measures or computes |
|---|---|
| {py:mod}`~mini_vllm.bench.gpu.timer` | seconds of work, with the device's cache emptied between |
| {py:mod}`~mini_vllm.bench.gpu.limits` | bandwidth and matrix rate, to which floors refer |
| {py:mod}`~mini_vllm.bench.gpu.shares` | costs of attention and products; floors over times |
| {py:mod}`~mini_vllm.bench.gpu.kernels` | decode and prefill attention, products |
| {py:mod}`~mini_vllm.bench.gpu.engines` | graph against eager; throughput beside transformers |
| {py:mod}`~mini_vllm.bench.gpu.record` | the file: device, versions, commit, command, hash |
| {py:mod}`~mini_vllm.bench.gpu.run` | the command: `python -m mini_vllm.bench gpu --out FILE` |

Everything that computes runs and is tested without a device; everything that measures is given its
clock. Importing any of it imports no torch.
"""
