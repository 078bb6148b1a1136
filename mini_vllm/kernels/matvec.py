r"""Why would anybody write a matrix product, of all things?

Because with one row it is not one. A library's product is built to keep tiles of both matrices in
registers and use each number many times; with a single token there is nothing to use twice. Each
weight is read once, multiplied once, and never seen again, so the product is as fast as memory can
deliver weights, and a tile only gets in the way. A plain loop over the rows of the weight, dot
product by dot product, streams them at a better rate than the library does.

That is the case of one request decoding alone, which is what a reader's first experiment is, and in
which the products are nearly all of the time. With two tokens or more, the library is back.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from mini_vllm.kernels.bits import FASTMATH, narrow, widen


@njit(fastmath=FASTMATH)
def _row_product(x, weight, n, bias):
    total = np.float32(0)
    for k in range(weight.shape[1]):
        total += widen(x[k]) * widen(weight[n, k])
    return total + widen(bias[n]) if bias.shape[0] else total


@njit(cache=True, fastmath=FASTMATH)
def matvec(x, weight, bias, out):
    """`out = weight @ x + bias`; `weight` is `[out_size, in_size]`, `bias` may be empty."""
    for n in range(weight.shape[0]):
        out[n] = narrow(_row_product(x, weight, n, bias), out)


@njit(cache=True, fastmath=FASTMATH, parallel=True)
def matvec_parallel(x, weight, bias, out):
    """{py:func}`matvec`, with the rows of the weight dealt out to threads."""
    for n in prange(weight.shape[0]):
        out[n] = narrow(_row_product(x, weight, n, bias), out)
