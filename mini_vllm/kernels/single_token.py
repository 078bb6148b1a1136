r"""Where does the time go when there is a single token to compute?

Into asking. A layer of the book's model takes some ten operations for one token, each of them over
in microseconds; to look up a method, wrap ten tensors as arrays and enter compiled code takes as
long as that. {py:func}`decoder_layer` asks once. It is the sequence of the loops that the layer
would have called one by one, with the same arguments and the same roundings, compiled as one
function; there is no arithmetic in it.

A GPU has the same trouble for the same reason, at every batch size that decodes, and the same cure
under another name: record the calls once, and replay them without asking
({up}`vllm/compilation/cuda_graph.py#CUDAGraphWrapper`).

A warning to whoever edits one of these loops: the machine code of the whole is cached, and thrown
away when *this* file changes. After a change to another, delete the `*.nbi` files in `__pycache__`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mini_vllm.kernels.elementwise import add_rms_norm, silu_and_mul, split_qkv_rotary
from mini_vllm.kernels.matvec import matvec
from mini_vllm.kernels.paged import decode_request, write_kv


@njit(cache=True)
def decoder_layer(
    hidden,
    residual,
    position,
    slot,
    block_ids,
    key_cache,
    value_cache,
    cos_sin_cache,
    input_norm,
    qkv_weight,
    qkv_bias,
    q_norm,
    k_norm,
    o_weight,
    o_bias,
    post_norm,
    gate_up_weight,
    gate_up_bias,
    down_weight,
    down_bias,
    eps,
    scale,
    window,
):
    r"""One layer for one token: overwrites `hidden` and `residual`, `[1, size]`.

    They come in as the last layer's result and the stream that it has not been added to yet, and
    go out as this layer's. `position` and `slot` are `[1]`, `block_ids` is the request's row of
    the block table; a bias or a norm that the layer lacks is empty; `window` is 0 for none. Writes
    the token's key and value to their slot of the caches.
    """
    kind, head_size = hidden.dtype, cos_sin_cache.shape[1]
    num_heads, num_kv_heads = o_weight.shape[1] // head_size, key_cache.shape[1]
    normed, total = np.empty_like(hidden), np.empty_like(hidden)
    query = np.empty((1, num_heads, head_size), kind)
    key = np.empty((1, num_kv_heads, head_size), kind)
    value = np.empty((1, num_kv_heads, head_size), kind)
    attended = np.empty((1, num_heads, head_size), kind)
    qkv = np.empty((1, qkv_weight.shape[0]), kind)
    gate_up = np.empty((1, gate_up_weight.shape[0]), kind)
    activated = np.empty((1, down_weight.shape[1]), kind)

    add_rms_norm(hidden, residual, input_norm, eps, normed, total)
    matvec(normed[0], qkv_weight, qkv_bias, qkv[0])
    split_qkv_rotary(qkv, position, cos_sin_cache, q_norm, k_norm, eps, query, key, value)
    write_kv(key, value, key_cache, value_cache, slot)
    length = position[0] + 1
    first = max(length - window, 0) if window > 0 else 0
    decode_request(query[0], key_cache, value_cache, block_ids, first, length, scale, attended[0])
    matvec(attended.reshape(num_heads * head_size), o_weight, o_bias, hidden[0])
    add_rms_norm(hidden, total, post_norm, eps, normed, residual)
    matvec(normed[0], gate_up_weight, gate_up_bias, gate_up[0])
    silu_and_mul(gate_up, activated)
    matvec(activated[0], down_weight, down_bias, hidden[0])
