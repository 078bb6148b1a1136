r"""How does Python compute in bfloat16, a type that neither NumPy nor Numba has?

It does not. A bfloat16 is the upper half of a float32: same sign, same eight bits of exponent, 16
bits of mantissa cut off. So a page of keys in bfloat16 is handed to the kernels as `uint16`, and
the two functions below are all that the kernels know about the format. {py:func}`widen` shifts the
16 bits up and calls the result a float; {py:func}`narrow` rounds back, to the nearest and, on a
tie, to even, as the hardware would. All arithmetic between the two is in float32, which is what a
GPU's tensor core does with bfloat16 operands as well.

Both are chosen by *type*, when Numba compiles a kernel, and not by an `if` when it runs. A kernel
is written once; for float32 arrays `widen` and `narrow` vanish.

The exponential is here for a similar reason. The C library's `expf` handles every corner of the
format, and is called one value at a time. A polynomial without branches or corners lets the
compiler work on 8 or 16 values at once.

A warning to whoever edits this file: machine code is cached beside the loops that use it, and is
thrown away when *their* source changes. After a change here, delete the `*.nbi` files in
`__pycache__`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

# Reordering sums and fusing multiply with add is what lets a loop run in vector registers. The
# two flags left out, `nnan` and `ninf`, would allow the compiler to assume that no infinity
# occurs; softmax masks with minus infinity.
FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def instruction(generator: Callable) -> Any:
    """A Numba intrinsic; to a type checker, anything, since its first parameter is not a
    caller's.
    """
    return intrinsic(generator)


@instruction
def float_of_bits(typing_context, bits):
    """Reinterpret a `uint32` as the float32 with these bits (one register move, or none)."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@instruction
def bits_of_float(typing_context, value):
    """Reinterpret a float32 as the `uint32` with the same bits."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


@instruction
def prefetch(typing_context, address):
    r"""Ask for the cache line at `address`, and do not wait for it.

    The processor guesses well along a page of memory and not at all across a block table. A
    kernel that knows its next block says so.
    """

    def generate(context, builder, signature, arguments):
        i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [pointer],
            fnty=ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32]),
        )
        # arguments: read (0), into the second-level cache (2), since the first is small and taken
        # by the page at hand; data rather than code (1)
        address_ = builder.inttoptr(arguments[0], pointer)
        builder.call(function, [address_, i32(0), i32(2), i32(1)])
        return context.get_dummy_value()

    return types.void(types.intp), generate


def widen(value):
    """One element of a float32 or bfloat16 array (as `uint16`), as a float32."""
    raise NotImplementedError("only inside compiled kernels")


@overload(widen, inline="always")
def _widen(value) -> Callable:
    if value == types.uint16:
        return lambda value: float_of_bits(np.uint32(value) << np.uint32(16))
    return lambda value: value


def narrow(value, array):
    """A float32 as an element of `array`: itself, or rounded to bfloat16, ties to even."""
    raise NotImplementedError("only inside compiled kernels")


@overload(narrow, inline="always")
def _narrow(value, array) -> Callable:
    if array.dtype == types.uint16:
        return lambda value, array: _round_to_bfloat16(value)
    return lambda value, array: value


@njit
def _round_to_bfloat16(value):
    bits = bits_of_float(value)
    # Adding just under half of the last kept place carries into it when the cut part is above
    # half; the extra 1 for an odd last place sends ties to even. A NaN must stay one: cutting
    # could leave the bits of an infinity, so its top mantissa bit is set instead.
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
    quiet = np.uint16((bits >> np.uint32(16)) | np.uint32(0x40))
    return quiet if value != value else rounded


@njit(fastmath=False)
def exp_clamped(x):
    r"""$e^x$ with `x` clamped to $\pm 87$, within one unit in the last place.

    $e^x = 2^n e^f$ with $n$ the integer nearest to $x / \ln 2$. The power of two is made by
    writing its exponent field; $e^f$ with $|f| \le \ln 2 / 2$ is a polynomial. The clamp keeps the
    exponent field in range. It costs nothing that matters: $e^{-87}$ is about $10^{-38}$, which as
    the weight of an attention is zero.

    Compiled without {py:data}`FASTMATH`, and it says so: $\ln 2$ is subtracted in two parts so that
    no bit is lost, and a compiler that may reorder sums would join them again. (A function that
    says nothing takes the flags of whichever caller is compiled first.)
    """
    x = min(max(x, np.float32(-87.0)), np.float32(87.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    f = x - n * np.float32(0.693359375)
    f = f - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * f * f + f + np.float32(1.0)
    return p * float_of_bits(np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23))
