r"""FlashAttention over pages, in Triton: a tile of query rows against tiles of keys.

A launch serves the chunks of several requests. Their queries stand one after the other, those of
request `r` from `starts[r]` up to `starts[r + 1]`. `lengths[r]` is the length of its text, whose
last tokens are the chunk, and row `r` of `tables` says in which blocks keys and values lie.
Positions count from the beginning of a text. A query reads the keys at its own position and before
it; with a window of `w`, only the last `w` of these, its own among them. `WINDOW` is 0 if there is
none.

Arrays are contiguous, and their shapes are

- caches: `[num_blocks, BLOCK, num_kv_heads, size]`,
- queries and outputs: `[num_tokens, num_heads, size]`,
- tables: `[num_requests, max_blocks]`. What stands behind a request's blocks is rubbish, and so is
  the block of a position that no query of the chunk reads.

Query head `h` reads the keys of head `h // group`. A program's tile has `ROWS` rows: row `i` is
token `i // group` of the tile and head `i % group` of the group, so that `ROWS // group` tokens fit
in; rows behind those are idle.

By itself this file runs on the simulator in `labs/labkit/triton_simulator.py`, in NumPy. With
`LAB_TRITON=1` in the environment the same kernels are Triton's.
"""

import math
import os
from typing import NamedTuple

if os.environ.get("LAB_TRITON"):
    import triton
    import triton.language as tl

    jit = triton.jit
else:
    from labkit.triton_simulator import jit, tl


@jit
def bounds(first, last, WINDOW: tl.constexpr, TILE: tl.constexpr):
    r"""Which tiles of keys the queries at positions `first` to `last`, both inside, must look at.

    Four numbers of tiles, `begin <= left <= right <= end`; tile `t` holds the keys from `t * TILE`
    on. In the tiles from `left` up to `right` every query reads every key, and in no other. Those
    from `begin` up to `left`, and from `right` up to `end`, need a mask: some query reads some key.
    Before `begin` and from `end` on nobody reads anything.
    """
    # TODO task 1: split the loop in three
    raise NotImplementedError("task 1: split the loop in three")


@jit
def load_tile(
    cache, row, places, wanted, head, num_kv_heads, size, BLOCK: tl.constexpr, SIZE: tl.constexpr
):
    r"""One head's numbers at any positions of a text, `[TILE, SIZE]`.

    `row` points to the request's row of the table, `places` are `TILE` positions, which may begin
    and end in the middle of a block. Where `wanted` is false, and in the places behind `size`, the
    tile is zero, and neither the table nor the cache is read for it.
    """
    # TODO task 2: load keys from wherever they lie
    raise NotImplementedError("task 2: load keys from wherever they lie")


@jit
def step(
    asked,
    keys,
    values,
    places,
    positions,
    scale,
    best,
    total,
    read,
    WINDOW: tl.constexpr,
    MASKED: tl.constexpr,
):
    r"""Take one tile of keys into the sums; returns the new `best`, `total` and `read`.

    `asked` is `[ROWS, SIZE]`, `keys` and `values` are `[TILE, SIZE]`, all of one type, which may be
    a short one. A score is `scale` times the product of query and key, and a weight is
    `2 ** score`. `positions` are those of the rows, `places` those of the keys; they decide who
    reads whom, and are looked at only where `MASKED` is true.

    Of the tiles before, `best` is the largest score, `[ROWS]`, `total` the sum of
    `2 ** (score - best)` and `read` the sum of `2 ** (score - best) * value`, `[ROWS, SIZE]`, in
    float32. A row that has read nothing has minus infinity, zero and zero, before this tile and
    perhaps after it.
    """
    # TODO task 3: take a tile into the sums
    raise NotImplementedError("task 3: take a tile into the sums")


@jit
def walk(
    begin,
    end,
    lowest,
    last,
    asked,
    k_cache,
    v_cache,
    row,
    positions,
    head,
    num_kv_heads,
    size,
    scale,
    best,
    total,
    read,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
    TILE: tl.constexpr,
    SIZE: tl.constexpr,
    MASKED: tl.constexpr,
):
    r"""Take the tiles of keys from `begin` up to `end` into the sums, all masked or none.

    Loads no key before position `lowest` and none behind `last`, whatever tile it stands in. The
    rest is as in {py:func}`load_tile` and {py:func}`step`.
    """
    # TODO task 4: attend with a tile of rows
    raise NotImplementedError("task 4: attend with a tile of rows")


@jit
def prefill_kernel(
    query,
    k_cache,
    v_cache,
    tables,
    starts,
    lengths,
    out,
    scale,
    max_blocks,
    num_kv_heads,
    group,
    size,
    WINDOW: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    SIZE: tl.constexpr,
):
    r"""What the queries of the chunks read.

    Program `(i, k, r)` computes, for head `k` of keys, tile `i` of the chunk of request `r`, and
    leaves at once if the chunk is over before that tile. It goes over the tiles of keys that
    {py:func}`bounds` names, with {py:func}`step` told whether to mask, and loads no key that lies
    behind the tile's last token or that the window of its first token has left behind.

    `scale` is what {py:func}`step` wants. `TILE` need not be a multiple of `BLOCK`, nor the other
    way round. Rows that are idle, or behind the end of the chunk, are neither loaded nor stored.
    """
    # TODO task 4: attend with a tile of rows
    raise NotImplementedError("task 4: attend with a tile of rows")


def power_of_two(number):
    r"""The smallest power of two that is not smaller."""
    return 1 << (number - 1).bit_length()


def prefill(
    query,
    k_cache,
    v_cache,
    tables,
    starts,
    lengths,
    out,
    scale,
    longest,
    *,
    window=0,
    rows=64,
    tile=64,
):
    r"""Launch {py:func}`prefill_kernel` for all chunks; `longest` is the length of the longest one.

    A key's weight is to be $e$ to the power of `scale` times query times key. `rows` and `tile` are
    powers of two. A program needs room for a token's whole group, and a product of tiles sums over
    16 numbers or more: where `rows` or the head is too small for that, the tile is made larger.
    """
    # TODO task 5: launch it
    raise NotImplementedError("task 5: launch it")


class Traffic(NamedTuple):
    r"""Bytes of queries, keys, values, results and scores; tables and lengths are not counted.

    `least`: each number that is needed is read once, and each result written once, as with a cache
    that forgets nothing. `asked`: what the programs of your kernel load and store, all together.
    `with_scores`: as `least`, and besides that the scores are written, read by a softmax, written
    as weights and read again, each for every pair of a query and a key of the text, in the type of
    the rest.
    """

    least: int
    asked: int
    with_scores: int


def traffic(
    num_tokens, length, *, num_heads, num_kv_heads, size, number_bytes, rows, window=0
) -> Traffic:
    r"""What one chunk of `num_tokens`, the end of a text of `length`, moves.

    `rows` is the height of the kernel's tile, at least a group. Counted without a loop over
    single tokens.
    """
    # TODO task 6: count the bytes
    raise NotImplementedError("task 6: count the bytes")


def main() -> None:
    r"""Print how many bytes a prompt moves, for tiles of several heights."""
    heads = {"num_heads": 32, "num_kv_heads": 8, "size": 128, "number_bytes": 2}
    print("one layer of a prompt, 32 query heads, 8 of keys, 128 numbers of 2 bytes each, in MiB")
    print(f"{'tokens':>8}{'rows':>6}{'least':>9}{'asked':>9}{'with scores':>13}")
    for num_tokens in (512, 4096, 32768):
        for rows in (16, 64, 128):
            found = traffic(num_tokens, num_tokens, rows=rows, **heads)
            least, asked, scores = (round(count / 2**20) for count in found)
            print(f"{num_tokens:>8,}{rows:>6}{least:>9,}{asked:>9,}{scores:>13,}")


if __name__ == "__main__":
    main()
