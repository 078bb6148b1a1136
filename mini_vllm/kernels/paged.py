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


# The helpers below work on whole pages and whole heads. A view is an array object, whose references
# are counted; made for every row, it would cost more than the row's arithmetic. And their loops
# begin at 0: an index that may be negative means "from the end" in Python, and the check for that
# keeps a loop out of the vector registers.


@njit(fastmath=FASTMATH)
def _score_page(scaled, page, next_page, first_head, end_head, at, scores):
    # page: [places, head_size], the keys of one head that are in sight; scores go to [:, at...]
    # Four keys and two heads a turn: eight products for six loads. Where fewer than that are left,
    # the last one takes part twice, and is written twice.
    last, last_head = page.shape[0] - 1, end_head - 1
    for t in range(0, page.shape[0], 4):
        t1, t2, t3 = min(t + 1, last), min(t + 2, last), min(t + 3, last)
        _prefetch_rows(next_page, t, 4)
        for head in range(first_head, end_head, 2):
            other = min(head + 1, last_head)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = _ZERO
            for d in range(page.shape[1]):
                a, b = scaled[head, d], scaled[other, d]
                k0, k1 = widen(page[t, d]), widen(page[t1, d])
                k2, k3 = widen(page[t2, d]), widen(page[t3, d])
                a0, a1, a2, a3 = a0 + a * k0, a1 + a * k1, a2 + a * k2, a3 + a * k3
                b0, b1, b2, b3 = b0 + b * k0, b1 + b * k1, b2 + b * k2, b3 + b * k3
            scores[head, at + t], scores[head, at + t1] = a0, a1
            scores[head, at + t2], scores[head, at + t3] = a2, a3
            scores[other, at + t], scores[other, at + t1] = b0, b1
            scores[other, at + t2], scores[other, at + t3] = b2, b3


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


@njit(fastmath=FASTMATH)
def _weigh_page(weights, page, next_page, first_head, end_head, at, out):
    # Four rows a turn: `out` is loaded and stored once instead of four times.
    whole = page.shape[0] // 4 * 4
    for t in range(0, whole, 4):
        _prefetch_rows(next_page, t, 4)
        for head in range(first_head, end_head):
            w0, w1 = weights[head, at + t], weights[head, at + t + 1]
            w2, w3 = weights[head, at + t + 2], weights[head, at + t + 3]
            for d in range(page.shape[1]):
                out[head, d] += (
                    w0 * widen(page[t, d])
                    + w1 * widen(page[t + 1, d])
                    + w2 * widen(page[t + 2, d])
                    + w3 * widen(page[t + 3, d])
                )
    for t in range(whole, page.shape[0]):
        for head in range(first_head, end_head):
            weight = weights[head, at + t]
            for d in range(page.shape[1]):
                out[head, d] += weight * widen(page[t, d])


@njit(inline="always")
def _prefetch_rows(page, first, count):
    # `page` is the same head of the next block; ask for the rows that this turn works on.
    row_bytes = page.shape[1] * page.itemsize
    address = page.ctypes.data + first * row_bytes
    for offset in range(0, count * row_bytes, 64):
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
        # The places of this block that are in sight: the window may begin, the text may end in it.
        begin, end = max(first - b * block_size, 0), min(length - b * block_size, block_size)
        block, next_block = block_ids[b], block_ids[min(b + 1, end_block - 1)]
        at = b * block_size + begin
        for h in range(num_kv_heads):
            page, next_page = key_cache[block, h, begin:end], key_cache[next_block, h]
            _score_page(scaled, page, next_page, h * group, (h + 1) * group, at, scores)

    for head in range(num_heads):
        _softmax(scores[head, first:])

    result = np.zeros((num_heads, head_size), np.float32)
    for b in range(first_block, end_block):
        begin, end = max(first - b * block_size, 0), min(length - b * block_size, block_size)
        block, next_block = block_ids[b], block_ids[min(b + 1, end_block - 1)]
        at = b * block_size + begin
        for h in range(num_kv_heads):
            page, next_page = value_cache[block, h, begin:end], value_cache[next_block, h]
            _weigh_page(scores, page, next_page, h * group, (h + 1) * group, at, result)

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
