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
    # lab: begin task 1 "split the loop in three"
    begin = first * 0
    left = first * 0
    if WINDOW > 0:
        begin = tl.maximum(first - WINDOW + 1, 0) // TILE
        left = tl.cdiv(tl.maximum(last - WINDOW + 1, 0), TILE)
    right = tl.maximum((first + 1) // TILE, left)
    return begin, left, right, last // TILE + 1
    # lab: end


@jit
def load_tile(
    cache, row, places, wanted, head, num_kv_heads, size, BLOCK: tl.constexpr, SIZE: tl.constexpr
):
    r"""One head's numbers at any positions of a text, `[TILE, SIZE]`.

    `row` points to the request's row of the table, `places` are `TILE` positions, which may begin
    and end in the middle of a block. Where `wanted` is false, and in the places behind `size`, the
    tile is zero, and neither the table nor the cache is read for it.
    """
    # lab: begin task 2 "load keys from wherever they lie"
    block = tl.load(row + places // BLOCK, mask=wanted, other=0)
    vectors = ((block * BLOCK + places % BLOCK) * num_kv_heads + head) * size
    numbers = tl.arange(0, SIZE)
    mask = wanted[:, None] & (numbers < size)[None, :]
    return tl.load(cache + vectors[:, None] + numbers[None, :], mask=mask, other=0.0)
    # lab: end


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
    # lab: begin task 3 "take a tile into the sums"
    scores = tl.dot(asked, tl.trans(keys)) * scale
    if MASKED:
        seen = places[None, :] <= positions[:, None]
        if WINDOW > 0:
            seen = seen & (places[None, :] > positions[:, None] - WINDOW)
        scores = tl.where(seen, scores, float("-inf"))
    new_best = tl.maximum(best, tl.max(scores, axis=1))
    base = tl.where(new_best == float("-inf"), 0.0, new_best)
    shrink = tl.exp2(best - base)
    weights = tl.exp2(scores - base[:, None])
    tile = tl.dot(tl.cast(weights, values.dtype), values)
    return new_best, total * shrink + tl.sum(weights, axis=1), read * shrink[:, None] + tile
    # lab: end


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
    # lab: begin task 4 "attend with a tile of rows"
    for tile in range(begin, end):
        places = tile * TILE + tl.arange(0, TILE)
        wanted = (places >= lowest) & (places <= last)
        keys = load_tile(k_cache, row, places, wanted, head, num_kv_heads, size, BLOCK, SIZE)
        values = load_tile(v_cache, row, places, wanted, head, num_kv_heads, size, BLOCK, SIZE)
        best, total, read = step(
            asked, keys, values, places, positions, scale, best, total, read, WINDOW, MASKED
        )
    return best, total, read
    # lab: end


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
    # lab: begin task 4 "attend with a tile of rows"
    head, request = tl.program_id(1), tl.program_id(2)
    tokens = ROWS // group
    begin_token = tl.program_id(0) * tokens
    start = tl.load(starts + request)
    count = tl.load(starts + request + 1) - start
    if begin_token >= count:
        return
    context = tl.load(lengths + request) - count
    first = context + begin_token
    last = context + tl.minimum(begin_token + tokens, count) - 1

    rows = tl.arange(0, ROWS)
    positions = first + rows // group
    numbers = tl.arange(0, SIZE)
    live = positions <= last
    mask = live[:, None] & (numbers < size)[None, :]
    vectors = ((start + begin_token + rows // group) * num_kv_heads + head) * group + rows % group
    own = vectors[:, None] * size + numbers[None, :]
    asked = tl.load(query + own, mask=mask, other=0.0)

    lowest = first * 0
    if WINDOW > 0:
        lowest = tl.maximum(first - WINDOW + 1, 0)
    row = tables + request * max_blocks
    best = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    read = tl.zeros([ROWS, SIZE], tl.float32)
    begin, left, right, end = bounds(first, last, WINDOW, TILE)
    best, total, read = walk(
        *(begin, left, lowest, last, asked, k_cache, v_cache, row, positions, head),
        *(num_kv_heads, size, scale, best, total, read, WINDOW, BLOCK, TILE, SIZE, True),
    )
    best, total, read = walk(
        *(left, right, lowest, last, asked, k_cache, v_cache, row, positions, head),
        *(num_kv_heads, size, scale, best, total, read, WINDOW, BLOCK, TILE, SIZE, False),
    )
    best, total, read = walk(
        *(right, end, lowest, last, asked, k_cache, v_cache, row, positions, head),
        *(num_kv_heads, size, scale, best, total, read, WINDOW, BLOCK, TILE, SIZE, True),
    )
    tl.store(out + own, tl.cast(read / total[:, None], asked.dtype), mask=mask)
    # lab: end


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
    # lab: begin task 5 "launch it"
    num_heads, size = query.shape[1:]
    block_size, num_kv_heads = k_cache.shape[1:3]
    group = num_heads // num_kv_heads
    rows = max(rows, power_of_two(group))
    grid = (-(-longest // (rows // group)), num_kv_heads, len(lengths))
    prefill_kernel[grid](
        *(query, k_cache, v_cache, tables, starts, lengths, out),
        *(scale * math.log2(math.e), tables.shape[1], num_kv_heads, group, size),
        WINDOW=window,
        BLOCK=block_size,
        ROWS=rows,
        TILE=tile,
        SIZE=max(16, power_of_two(size)),
    )
    # lab: end


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
    # lab: begin task 6 "count the bytes"
    tokens = rows // (num_heads // num_kv_heads)
    context = length - num_tokens

    def reached(begin, end):
        lowest = max(0, context + begin - window + 1) if window else 0
        return context + end - lowest

    tiles = [(begin, min(begin + tokens, num_tokens)) for begin in range(0, num_tokens, tokens)]
    once = reached(0, num_tokens)
    again = sum(reached(*tile) for tile in tiles)
    position = 2 * num_kv_heads * size * number_bytes
    own = 2 * num_tokens * num_heads * size * number_bytes
    scores = 4 * num_tokens * length * num_heads * number_bytes
    return Traffic(own + once * position, own + again * position, own + once * position + scores)
    # lab: end


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
