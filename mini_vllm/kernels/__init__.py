r"""What is a kernel, in a book that mostly runs without a GPU?

A loop that somebody cared about. Between the matrix products of a layer there is work of another
kind: a norm reads a vector and writes a vector; a rotation touches each number once; an attention
over a paged past reads megabytes to answer one query. None of it is hard arithmetic. All of it is
bound by how memory is read and by how often Python is asked, and that is what a kernel arranges.

| module | holds |
|---|---|
| {py:mod}`~mini_vllm.kernels.interface` | the operations a dense decoder needs |
| {py:mod}`~mini_vllm.kernels.torch_kernels` | their meaning, in torch: the oracle |
| {py:mod}`~mini_vllm.kernels.elementwise` | the same as compiled loops |
| {py:mod}`~mini_vllm.kernels.matvec` | a product with a single row |
| {py:mod}`~mini_vllm.kernels.onednn` | products whose weights were rearranged once |
| {py:mod}`~mini_vllm.kernels.single_token` | all loops of a layer in one call |
| {py:mod}`~mini_vllm.kernels.paged` | writing keys and values into pages, and attending to them |
| {py:mod}`~mini_vllm.kernels.bits` | bfloat16 and the exponential, in registers |
| {py:mod}`~mini_vllm.kernels.numba_kernels` | the bridge from tensors to loops |
| {py:mod}`~mini_vllm.kernels.triton` | kernels for GPUs, one a module |
| {py:mod}`~mini_vllm.kernels.triton_kernels` | the operations, by those kernels |
| {py:mod}`~mini_vllm.kernels.cost` | what a kernel moves and computes, and the least time for it |
| {py:mod}`~mini_vllm.kernels.selector` | the choice, and its reason |

The loops for the CPU are Python, compiled by Numba. That was a choice between three: plain torch
gathers the pages first and pays several times for it; a C++ extension is faster still and needs a
compiler on the reader's machine; this needs a `pip install` and stays readable.
"""
