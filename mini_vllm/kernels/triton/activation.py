r"""What is the smallest kernel that is worth having?

This one. Two numbers in, one out, and five operations between them: the gate, through a sigmoid,
times itself, times its partner. Written with torch's own operations it is a slice, a `silu`,
another slice and a product, which is five rows of traffic and a tensor that nobody wants; fused it
is three rows and none.

**The grid** is two-dimensional: a token, and a piece of {py:data}`BLOCK` of its columns. Pieces
need nothing of each other, so a single token of a wide model already keeps a dozen programs busy,
which matters in a decode step. A norm cannot do that: it needs the whole row first.

**What a program holds** is a piece of the gate and the piece of the up projection that belongs to
it, half a row further on. **What is left to the cache**: nothing.

Upstream: {up}`csrc/libtorch_stable/activation_kernels.cu#act_and_mul_kernel`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.language import narrow

#: Columns a program: eight a thread, with four warps, which is 16 bytes in a type of two.
BLOCK = 1024


@triton.jit
def silu_and_mul_kernel(x, out, size, SIZE: tl.constexpr):
    r"""Columns `SIZE * program_id(1)` onwards of one row: `silu(gate) * up`."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    inside = d < size
    gate = tl.load(x + row * 2 * size + d, inside, 0.0).to(tl.float32)
    up = tl.load(x + row * 2 * size + size + d, inside, 0.0).to(tl.float32)
    # exp(-gate) may be infinite, and the quotient is then zero, as it should be
    result = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out + row * size + d, narrow(result, out.dtype.element_ty), inside)


def silu_and_mul(x: torch.Tensor) -> torch.Tensor:
    r"""`silu(gate) * up` where `x`, `[num_tokens, 2 size]`, holds both side by side.

    Meaning: {py:meth}`TorchKernels.silu_and_mul
    <mini_vllm.kernels.torch_kernels.TorchKernels.silu_and_mul>`. Raises `ValueError` for an odd
    width, or for an input that is not contiguous.
    """
    num_tokens, width = x.shape
    if width % 2:
        raise ValueError(f"gate and up side by side have an even width, got {width}")
    if not x.is_contiguous():
        raise ValueError(f"x must be contiguous, its strides are {x.stride()}")
    out = torch.empty((num_tokens, width // 2), dtype=x.dtype, device=x.device)
    if out.numel():
        pieces = (width // 2 + BLOCK - 1) // BLOCK
        silu_and_mul_kernel[(num_tokens, pieces)](x, out, width // 2, SIZE=BLOCK)
    return out


def silu_and_mul_cost(num_tokens: int, size: int, *, itemsize: int = 2) -> KernelCost:
    r"""Two rows in, one out. Operations a number: negation, exponential, sum, quotient, product."""
    moved = num_tokens * size * itemsize
    return KernelCost(2 * moved, moved, 5 * num_tokens * size)
