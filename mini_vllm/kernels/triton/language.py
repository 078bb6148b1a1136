r"""What must a kernel spell differently so that the interpreter computes the same?

Two things, both because NumPy has no bfloat16. Triton's interpreter keeps such numbers as 16-bit
integers and forgets it the moment it computes: a product of two is the product of their bit
patterns, and no error is raised. And where it narrows a float32 to bfloat16 it cuts, while a GPU
rounds to the nearest. So the rules of this house are: load, widen to float32, compute, narrow once
with {py:func}`narrow`; and multiply matrices with {py:func}`dot`. Compiled, both helpers vanish
into the instructions that one would have written without them. A third trap needs care rather than
a helper. The interpreter follows any address it is given, and one outside of an array ends the
process, so every load and store has a mask.

Imports Triton. See {py:mod}`mini_vllm.kernels.triton.availability` for asking first.
"""

from __future__ import annotations

import triton
import triton.language as tl

#: Whether this process interprets: a constant of the kernels, so that a branch on it costs nothing.
INTERPRET = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def dot(a, b, accumulator):
    r"""`accumulator + a @ b`, the sum in float32: matrix units when compiled, NumPy when not.

    `a` is `[m, k]`, `b` is `[k, n]`, of one type; compiled, `m`, `n` and `k` must be at least 16.
    Products of float32 are not cut to the shorter format that matrix units like.
    """
    if INTERPRET:
        result = accumulator + tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    else:
        result = tl.dot(a, b, accumulator, input_precision="ieee")
    return result


@triton.jit
def narrow(x, dtype: tl.constexpr):
    r"""Float32 numbers as `dtype`, rounded to the nearest and, on a tie, to even, everywhere.

    A NaN stays one.
    """
    if INTERPRET and dtype == tl.bfloat16:
        # Rounded by hand, so that the interpreter's cut afterwards cuts only zeros.
        bits = x.to(tl.uint32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        # The cut may leave a NaN the bits of an infinity: set the top bit of its fraction.
        kept = tl.where(x == x, rounded, bits | 0x400000)
        x = kept.to(tl.float32, bitcast=True)
    return x.to(dtype)


def next_power_of_two(n: int) -> int:
    r"""The least power of two that is at least `n`: a block's length must be one.

    Raises `ValueError` below 1.
    """
    if n < 1:
        raise ValueError(f"a block must hold at least 1 number, got {n}")
    return 1 << (n - 1).bit_length()
