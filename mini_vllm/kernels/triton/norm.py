r"""Why is a norm never faster than reading its input, and seldom as fast?

A row of `size` numbers needs its mean square before any of its numbers can be scaled, so each is
wanted twice: once for the sum and once for the product. If the row is fetched from memory twice,
the kernel moves three rows where two would do. So everything here follows from one decision: **a
program holds whole rows**. It loads a row into registers, all of it, reduces it, scales it where it
lies, and stores it. A row of {given}`4,096 numbers` is 16 a thread, with eight warps.

**The grid** is rows, and a program takes several when they are short: `ROWS` by `SIZE` numbers, at
least {py:data}`TILE` of them. A layer's norm has rows as wide as the model, one a program. The norm
of each head (Qwen3's queries and keys) has rows of 64 or 128 numbers, and a program for each would
be all launch and no work.

**The addition belongs to it.** A layer adds its result to the residual stream and norms the sum.
Apart, the sum is written by one kernel and read back by the next; here it is in registers already.
Four rows move instead of five: two in, the sum and its norm out. The norm is taken of the sum *as
it is kept*, rounded to the model's type: what is written is what the next layer reads, and both
sides of the fork must see the same numbers.

**What is left to the cache**: the weight, asked for by every program and small enough to stay.

Arithmetic is in float32, whatever comes in. Neither input is modified; upstream's fused kernel
works in place ({up}`vllm/_custom_ops.py#fused_add_rms_norm`).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.language import narrow, next_power_of_two

#: A program holds at least this many numbers, if there are as many.
TILE = 1024
#: The longest row that is kept in registers: 64 numbers a thread, with 16 warps.
LONGEST_ROW = 32768


@triton.jit
def rms_norm_kernel(
    x,
    residual,
    weight,
    out,
    total,
    num_rows,
    x_stride,
    residual_stride,
    size,
    eps,
    ADD: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
):
    r"""`ROWS` rows of `x`, or of `x + residual`, scaled to unit root mean square, times `weight`.

    With `ADD` the sum is stored to `total`; without it, `residual` and `total` are not touched.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    d = tl.arange(0, SIZE)[None, :]
    inside = (row < num_rows) & (d < size)
    # [ROWS, SIZE] in registers; what lies outside is zero, and adds nothing to the sum of squares
    wide = tl.load(x + row * x_stride + d, inside, 0.0).to(tl.float32)
    if ADD:
        wide += tl.load(residual + row * residual_stride + d, inside, 0.0).to(tl.float32)
        kept = narrow(wide, total.dtype.element_ty)
        tl.store(total + row * size + d, kept, inside)
        wide = kept.to(tl.float32)
    inverse = 1.0 / tl.sqrt(tl.sum(wide * wide, axis=1, keep_dims=True) / size + eps)
    scale = tl.load(weight + d, d < size, 0.0).to(tl.float32)
    tl.store(out + row * size + d, narrow(wide * inverse * scale, out.dtype.element_ty), inside)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    r"""Each row of `x` scaled to unit root mean square, times `weight`.

    `x` is `[..., size]`; the result is contiguous. Meaning:
    {py:meth}`TorchKernels.rms_norm <mini_vllm.kernels.torch_kernels.TorchKernels.rms_norm>`. Raises
    `ValueError` for rows longer than {py:data}`LONGEST_ROW` or not evenly spaced.
    """
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _launch(x, None, weight, out, None, eps)
    return out


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""The norm of `x + residual`, and that sum.

    Both inputs are `[..., size]`. Meaning: {py:meth}`TorchKernels.add_rms_norm
    <mini_vllm.kernels.torch_kernels.TorchKernels.add_rms_norm>`. Errors as {py:func}`rms_norm`.
    """
    if residual.shape != x.shape or residual.dtype != x.dtype:
        raise ValueError(
            f"residual {tuple(residual.shape)} of {residual.dtype} does not fit x "
            f"{tuple(x.shape)} of {x.dtype}"
        )
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    total = torch.empty_like(out)
    _launch(x, residual, weight, out, total, eps)
    return out, total


def _launch(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor,
    out: torch.Tensor,
    total: torch.Tensor | None,
    eps: float,
) -> None:
    size = x.shape[-1]
    if size > LONGEST_ROW:
        raise ValueError(f"a row of {size} numbers; the longest that fits is {LONGEST_ROW}")
    if weight.shape != (size,):
        raise ValueError(f"weight {tuple(weight.shape)} does not fit rows of {size} numbers")
    num_rows = x.numel() // size
    if num_rows == 0:
        return
    block = next_power_of_two(size)
    rows = max(1, TILE // block)
    rms_norm_kernel[((num_rows + rows - 1) // rows,)](
        x,
        residual,
        weight,
        out,
        total,
        num_rows,
        _row_stride(x),
        0 if residual is None else _row_stride(residual),
        size,
        eps,
        ADD=residual is not None,
        ROWS=rows,
        SIZE=block,
        # 512 numbers a warp: 16 a thread
        num_warps=min(16, max(4, rows * block // 512)),
    )


def _row_stride(x: torch.Tensor) -> int:
    # From one row to the next, through all leading axes: what `view(-1, size)` would need.
    try:
        rows = x.view(-1, x.shape[-1])
    except RuntimeError:
        rows = None
    if rows is None or rows.stride(1) != 1:
        shape, strides = tuple(x.shape), x.stride()
        raise ValueError(f"rows must be evenly spaced, the strides of {shape} are {strides}")
    return rows.stride(0)


def rms_norm_cost(num_rows: int, size: int, *, itemsize: int = 2) -> KernelCost:
    r"""A row in, a row out, the weight once.

    Operations a number: its square and the sum, and two products.
    """
    moved = num_rows * size * itemsize
    return KernelCost(moved + size * itemsize, moved, 4 * num_rows * size)


def add_rms_norm_cost(num_rows: int, size: int, *, itemsize: int = 2) -> KernelCost:
    r"""Two rows in, two rows out, the weight once; an addition more for each number."""
    moved = 2 * num_rows * size * itemsize
    return KernelCost(moved + size * itemsize, moved, 5 * num_rows * size)
