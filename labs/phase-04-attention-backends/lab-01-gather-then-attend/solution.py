r"""Attention for a batch of decodes, by copying: gather the pages, then use matrix products.

Every request has one query, its newest token, and reads all tokens that it has. The cache of one
layer is two arrays, `[num_blocks, block_size, num_kv_heads, head_size]`. Where a request's tokens
lie is said by its row of the block table; behind its last block a row holds ids of yesterday, or of
blocks that do not exist. Slots that nobody has written may hold anything, `NaN` among it.

The library that multiplies matrices wants rectangles. So requests of different lengths are filled
up to the longest, and the filling must not be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Shape(NamedTuple):
    r"""What must be known of a layer's cache to count bytes: `itemsize` is bytes per number."""

    num_kv_heads: int
    head_size: int
    itemsize: int


class Traffic(NamedTuple):
    r"""Bytes that pass between memory and processor for the keys and values of one layer."""

    read: int
    written: int


def gather(cache: np.ndarray, block_table: np.ndarray, seq_lens: np.ndarray) -> np.ndarray:
    r"""The tokens of all requests side by side, `[num_requests, longest, num_kv_heads, head_size]`.

    `cache` holds the keys or the values. `longest` is the largest of `seq_lens`. Behind the end of
    a shorter request stand zeros. Ids behind a request's last block are not followed.
    """
    # lab: begin task 1 "gather pages into a rectangle"
    block_size = cache.shape[1]
    positions = np.arange(seq_lens.max())
    own = positions < seq_lens[:, None]
    # [num_requests, longest]: the block of each place, and block 0 where there is no token
    blocks = np.where(own, block_table[:, positions // block_size], 0)
    return np.where(own[..., None, None], cache[blocks, positions % block_size], 0)
    # lab: end


def attend(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, seq_lens: np.ndarray, scale: float
) -> np.ndarray:
    r"""What each request's query reads, `[num_requests, num_heads, head_size]`.

    `query` is `[num_requests, num_heads, head_size]`; `keys` and `values` come from
    {py:func}`gather`. Query head `h` reads key head `h // (num_heads // num_kv_heads)`. What stands
    behind the end of a request has no weight.

    The heads that share keys are rows of one matrix: the keys are multiplied as they are, and are
    not repeated for each query head.
    """
    # lab: begin task 2 "attend in a rectangle"
    num_requests, longest, num_kv_heads, head_size = keys.shape
    # [requests, kv heads, group, size] @ [requests, kv heads, size, longest]
    rows = query.reshape(num_requests, num_kv_heads, -1, head_size)
    scores = scale * (rows @ keys.transpose(0, 2, 3, 1))
    own = np.arange(longest) < seq_lens[:, None]
    scores = np.where(own[:, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return (weights @ values.transpose(0, 2, 1, 3)).reshape(query.shape)
    # lab: end


def traffic_of_a_kernel(seq_lens: Sequence[int], shape: Shape) -> Traffic:
    r"""What a kernel moves that reads through the table: each key and each value once."""
    # lab: begin task 3 "count what moves"
    tokens = sum(seq_lens)
    return Traffic(2 * tokens * shape.num_kv_heads * shape.head_size * shape.itemsize, 0)
    # lab: end


def traffic_of_a_gather(seq_lens: Sequence[int], shape: Shape) -> Traffic:
    r"""What {py:func}`gather` and {py:func}`attend` move, for keys and values together.

    The pages are read once: as many tokens as there are. The rectangle is written, and read again
    by the product, with its filling.
    """
    # lab: begin task 3 "count what moves"
    per_token = 2 * shape.num_kv_heads * shape.head_size * shape.itemsize
    rectangle = len(seq_lens) * max(seq_lens)
    return Traffic((sum(seq_lens) + rectangle) * per_token, rectangle * per_token)
    # lab: end


def buckets(seq_lens: Sequence[int], waste: float) -> list[list[int]]:
    r"""Put requests of similar length together; the indices of each bucket, as few as possible.

    In a bucket no request is filled up by more than the share `waste` of the bucket's longest: with
    0.25 a request of 300 tokens may stand beside one of 400 and not beside one of 401. Buckets come
    with the longest first; within one, longer requests first, and equal ones in the order in which
    they were given. No requests, no buckets.
    """
    # lab: begin task 4 "fill up less"
    found: list[list[int]] = []
    for index in sorted(range(len(seq_lens)), key=lambda i: -seq_lens[i]):
        if found and seq_lens[index] >= (1 - waste) * seq_lens[found[-1][0]]:
            found[-1].append(index)
        else:
            found.append([index])
    return found
    # lab: end


def attend_in_buckets(
    query: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    block_table: np.ndarray,
    seq_lens: np.ndarray,
    scale: float,
    waste: float,
) -> np.ndarray:
    r"""What each query reads, in the order of the requests, gathered bucket by bucket."""
    # lab: begin task 5 "put it together"
    read = np.empty_like(query)
    for bucket in buckets(seq_lens.tolist(), waste):
        lengths = seq_lens[bucket]
        keys, values = (gather(cache, block_table[bucket], lengths) for cache in (k_cache, v_cache))
        read[bucket] = attend(query[bucket], keys, values, lengths, scale)
    return read
    # lab: end


def main() -> None:
    r"""Print what moves for sixteen requests, by kernel and by gather, in ever smaller buckets."""
    draw = np.random.default_rng(4)
    seq_lens = sorted(int(n) for n in np.exp(draw.uniform(np.log(64), np.log(4096), size=16)))
    shape = Shape(num_kv_heads=8, head_size=128, itemsize=2)
    print("lengths:", *seq_lens)
    kernel = sum(traffic_of_a_kernel(seq_lens, shape))
    print(f"\n{'':<26}{'buckets':>8}{'filling':>9}{'MiB a layer':>13}{'x the kernel':>14}")
    print(f"{'a kernel reads the table':<26}{'-':>8}{'-':>9}{kernel / 2**20:>13.1f}{1:>14.2f}")
    for waste in (1.0, 0.5, 0.25, 0.0):
        cut = [[seq_lens[i] for i in bucket] for bucket in buckets(seq_lens, waste)]
        moved = sum(sum(traffic_of_a_gather(lengths, shape)) for lengths in cut)
        slots = sum(len(lengths) * max(lengths) for lengths in cut)
        filling = f"{1 - sum(seq_lens) / slots:.0%}"
        told = f"gather, waste up to {waste:.0%}"
        print(f"{told:<26}{len(cut):>8}{filling:>9}{moved / 2**20:>13.1f}{moved / kernel:>14.2f}")


if __name__ == "__main__":
    main()
