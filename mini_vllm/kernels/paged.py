r"""What does a token cost when its past lies in a hundred different places?

A decode step of one request asks one question of the whole past: for each head, how well does
each earlier key match my query, and what do the values say, weighed by that. The arithmetic is
small. What takes time is reading the keys and values, each of which is used once per step: a
decode is as fast as memory. So a kernel for it is judged by how steadily it reads.

The past is in pages. Block `b` of a request is wherever `block_table[request, b]` says, and inside
a page the layout is `[num_kv_heads, block_size, head_size]`: all keys of one head follow each
other. {py:func}`decode_request` walks the table once for the keys and once for the values. On each
page it does the heads in turn, so that a page is read from front to back, and while it works on
one page it prefetches the same place of the next. Between the two walks the scores of all
positions sit in a small array, so softmax is the plain one: find the largest, exponentiate,
divide. A kernel on a GPU cannot afford that array, and computes the softmax online, page by page:
{up}`vllm/v1/attention/ops/triton_unified_attention.py#kernel_unified_attention`.

Grouped queries are the reason for the loop order inside. The heads of a group share their keys; a
key that is in the first-level cache serves all of them before the next one is touched.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from mini_vllm.kernels.bits import FASTMATH, exp_clamped, narrow, prefetch, widen

_ZERO = np.float32(0)


@njit(cache=True)
def write_kv(key, value, key_cache, value_cache, slot_mapping):
    r"""Put the keys and values of this step's tokens where the block table says.

    `key`, `value`: `[num_tokens, num_kv_heads, head_size]`; the caches
    `[num_blocks, num_kv_heads, block_size, head_size]`; `slot_mapping`: `[num_tokens]`, where slot
    `s` is place `s % block_size` of block `s // block_size` and a negative slot means "not stored".

    Upstream's has the same job and the same name for the slots:
    {up}`csrc/cache_kernels.cu#reshape_and_cache_flash`.
    """
    num_heads, block_size = key_cache.shape[1], key_cache.shape[2]
    for token in range(slot_mapping.shape[0]):
        slot = slot_mapping[token]
        if slot < 0:
            continue
        block, offset = slot // block_size, slot % block_size
        for head in range(num_heads):
            for d in range(key.shape[2]):
                key_cache[block, head, offset, d] = key[token, head, d]
                value_cache[block, head, offset, d] = value[token, head, d]


@njit(fastmath=FASTMATH)
def _dot(query, key):
    total = _ZERO
    for d in range(query.shape[0]):
        total += query[d] * widen(key[d])
    return total


@njit(fastmath=FASTMATH)
def _add_weighted(out, weight, value):
    for d in range(out.shape[0]):
        out[d] += weight * widen(value[d])


@njit(fastmath=FASTMATH)
def _add_four_weighted(out, weights, values):
    # Four values a turn: `out` is loaded and stored once instead of four times.
    w0, w1, w2, w3 = weights[0], weights[1], weights[2], weights[3]
    for d in range(out.shape[0]):
        out[d] += (
            w0 * widen(values[0, d])
            + w1 * widen(values[1, d])
            + w2 * widen(values[2, d])
            + w3 * widen(values[3, d])
        )


@njit(fastmath=FASTMATH)
def _softmax(scores):
    largest = np.float32(-np.inf)
    for t in range(scores.shape[0]):
        largest = max(largest, scores[t])
    total = _ZERO
    for t in range(scores.shape[0]):
        scores[t] = exp_clamped(scores[t] - largest)
        total += scores[t]
    inverse = np.float32(1.0) / total
    for t in range(scores.shape[0]):
        scores[t] *= inverse


@njit(inline="always")
def _prefetch_rows(page, first, count):
    # `page` is the same head of the next block; ask for the rows that this turn works on.
    address = page[first].ctypes.data
    for offset in range(0, count * page.shape[1] * page.itemsize, 64):
        prefetch(address + offset)


@njit(fastmath=FASTMATH)
def decode_request(query, key_cache, value_cache, block_ids, first, length, scale, out):
    r"""Attention of one token over positions `first` to `length` of its request's pages.

    `query`, `out`: `[num_heads, head_size]`; `block_ids`: the request's row of the block table.
    `first` is 0, or with a sliding window the oldest position still in sight. Positions before
    `first` and blocks past `length` are never read: their ids may be stale.
    """
    num_heads, head_size = query.shape
    num_kv_heads, block_size = key_cache.shape[1], key_cache.shape[2]
    group = num_heads // num_kv_heads
    first_block, end_block = first // block_size, (length + block_size - 1) // block_size

    scaled = np.empty((num_heads, head_size), np.float32)
    for head in range(num_heads):
        for d in range(head_size):
            scaled[head, d] = widen(query[head, d]) * scale

    scores = np.empty((num_heads, length), np.float32)
    for b in range(first_block, end_block):
        start = b * block_size
        begin, end = max(first - start, 0), min(length - start, block_size)
        next_block = block_ids[min(b + 1, end_block - 1)]
        for kv_head in range(num_kv_heads):
            keys = key_cache[block_ids[b], kv_head]
            next_keys = key_cache[next_block, kv_head]
            for t in range(begin, end):
                _prefetch_rows(next_keys, t, 1)
                for head in range(kv_head * group, (kv_head + 1) * group):
                    scores[head, start + t] = _dot(scaled[head], keys[t])

    for head in range(num_heads):
        _softmax(scores[head, first:])

    result = np.zeros((num_heads, head_size), np.float32)
    for b in range(first_block, end_block):
        start = b * block_size
        begin, end = max(first - start, 0), min(length - start, block_size)
        whole = begin + (end - begin) // 4 * 4
        next_block = block_ids[min(b + 1, end_block - 1)]
        for kv_head in range(num_kv_heads):
            values = value_cache[block_ids[b], kv_head]
            next_values = value_cache[next_block, kv_head]
            for t in range(begin, whole, 4):
                _prefetch_rows(next_values, t, 4)
                for head in range(kv_head * group, (kv_head + 1) * group):
                    weights = scores[head, start + t : start + t + 4]
                    _add_four_weighted(result[head], weights, values[t : t + 4])
            for t in range(whole, end):
                for head in range(kv_head * group, (kv_head + 1) * group):
                    _add_weighted(result[head], scores[head, start + t], values[t])

    for head in range(num_heads):
        for d in range(head_size):
            out[head, d] = narrow(result[head, d], out)


# The same loop twice. One thread must not pay for starting a team of threads, which costs about
# as much as the whole attention of a small batch.


@njit(cache=True)
def decode(query, key_cache, value_cache, block_table, rows, tokens, seq_lens, window, scale, out):
    r"""Attention for every row that has exactly one new token.

    `rows[i]` is such a request's row of `block_table` and `seq_lens`, and `tokens[i]` the place of
    its token in `query` and `out`, `[num_tokens, num_heads, head_size]`. `window` is 0 for full
    attention. Writes only these tokens' rows of `out`.
    """
    for i in range(rows.shape[0]):
        row, token = rows[i], tokens[i]
        length = seq_lens[row]
        first = max(length - window, 0) if window > 0 else 0
        decode_request(
            query[token], key_cache, value_cache, block_table[row], first, length, scale, out[token]
        )


@njit(cache=True, parallel=True)
def decode_parallel(
    query, key_cache, value_cache, block_table, rows, tokens, seq_lens, window, scale, out
):
    """{py:func}`decode`, with the requests dealt out to threads."""
    for i in prange(rows.shape[0]):
        row, token = rows[i], tokens[i]
        length = seq_lens[row]
        first = max(length - window, 0) if window > 0 else 0
        decode_request(
            query[token], key_cache, value_cache, block_table[row], first, length, scale, out[token]
        )
