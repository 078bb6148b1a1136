r"""Why fuse an addition with a norm, if both are cheap?

Because neither is limited by arithmetic. A norm of a vector of 4,096 numbers reads it, reads it
again, and writes it; written as library calls (square, mean, add, root, multiply, multiply) it
makes six passes and allocates five temporaries, and on a small model each *call* costs more than
its work. One loop per row that does all of it, while the row is in the first-level cache, is the
whole of this module's wisdom. Upstream fuses the same pairs:
{up}`vllm/model_executor/layers/layernorm.py#RMSNorm`,
{up}`vllm/model_executor/layers/activation.py#SiluAndMul`.

All loops widen to float32, compute, and round once at the end. All write to arrays given by the
caller, and none writes to its inputs: a norm in place is a norm that overwrites the residual
whenever the cast to float32 happens to be no copy (a bug of a peer, and a test here).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mini_vllm.kernels.bits import FASTMATH, exp_clamped, narrow, widen

_ZERO = np.float32(0)
_ONE = np.float32(1)


@njit(fastmath=FASTMATH)
def _inverse_rms(row, eps):
    total = _ZERO
    for d in range(row.shape[0]):
        total += widen(row[d]) * widen(row[d])
    return _ONE / np.sqrt(total / np.float32(row.shape[0]) + eps)


@njit(cache=True, fastmath=FASTMATH)
def rms_norm(x, weight, eps, out):
    """`out[t] = x[t] / rms(x[t]) * weight`, row by row; `x` and `out` are `[num_tokens, size]`."""
    for t in range(x.shape[0]):
        inverse = _inverse_rms(x[t], eps)
        for d in range(x.shape[1]):
            out[t, d] = narrow(widen(x[t, d]) * inverse * widen(weight[d]), out)


@njit(cache=True, fastmath=FASTMATH)
def add_rms_norm(x, residual, weight, eps, out, total):
    """`total = x + residual`, and `out` is the norm of that (of the rounded sum, as it is kept)."""
    for t in range(x.shape[0]):
        for d in range(x.shape[1]):
            total[t, d] = narrow(widen(x[t, d]) + widen(residual[t, d]), total)
        inverse = _inverse_rms(total[t], eps)
        for d in range(x.shape[1]):
            out[t, d] = narrow(widen(total[t, d]) * inverse * widen(weight[d]), out)


# `error_model="numpy"`: 1 / 0 is an infinity. Python's rule, an exception, is a branch in the loop.
@njit(cache=True, fastmath=FASTMATH, error_model="numpy")
def silu_and_mul(x, out):
    """`out = silu(x[:, :n]) * x[:, n:]`: `x` is `[num_tokens, 2 n]`, gate and up side by side."""
    size = out.shape[1]
    for t in range(x.shape[0]):
        gate, up = x[t, :size], x[t, size:]
        for d in range(size):
            g = widen(gate[d])
            out[t, d] = narrow(g / (_ONE + exp_clamped(-g)) * widen(up[d]), out)


@njit(fastmath=FASTMATH)
def _norm_and_rotate(x, norm_weight, eps, cos_sin, out):
    # x, out: [head_size]; cos_sin: [head_size], the cosines and then the sines of one position
    half = x.shape[0] // 2
    has_norm = norm_weight.shape[0] > 0
    inverse = _inverse_rms(x, eps) if has_norm else _ONE
    for d in range(half):
        first, second = widen(x[d]) * inverse, widen(x[half + d]) * inverse
        if has_norm:
            first *= widen(norm_weight[d])
            second *= widen(norm_weight[half + d])
        cos, sin = cos_sin[d], cos_sin[half + d]
        # The pair is (d, d + half), as in the checkpoints of Llama; (2 d, 2 d + 1) gives fluent,
        # wrong text.
        out[d] = narrow(first * cos - second * sin, out)
        out[half + d] = narrow(second * cos + first * sin, out)


@njit(cache=True)
def split_qkv_rotary(qkv, positions, cos_sin_cache, q_norm, k_norm, eps, query, key, value):
    r"""Cut the fused projection into heads, norm queries and keys if asked, and rotate them.

    `qkv`: `[num_tokens, (num_heads + 2 num_kv_heads) head_size]`; `cos_sin_cache`:
    `[max_position, head_size]` in float32; `q_norm` and `k_norm`: `[head_size]`, or empty for
    "no norm". Fills `query`, `key`, `value`: `[num_tokens, heads, head_size]`, each contiguous.
    """
    num_heads, num_kv_heads, head_size = query.shape[1], key.shape[1], query.shape[2]
    for t in range(qkv.shape[0]):
        row = qkv[t]
        cos_sin = cos_sin_cache[positions[t]]
        for head in range(num_heads):
            x = row[head * head_size : (head + 1) * head_size]
            _norm_and_rotate(x, q_norm, eps, cos_sin, query[t, head])
        for head in range(num_kv_heads):
            start = (num_heads + head) * head_size
            x = row[start : start + head_size]
            _norm_and_rotate(x, k_norm, eps, cos_sin, key[t, head])
            start += num_kv_heads * head_size
            for d in range(head_size):
                value[t, head, d] = row[start + d]
