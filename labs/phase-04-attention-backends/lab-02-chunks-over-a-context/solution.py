r"""Causal attention of a chunk over a text that is already in the cache, tile by tile.

A *chunk* is the last `num_tokens` tokens of a text of `seq_len`. What stands before it is the
*context*; its keys and values, and the chunk's own, are in the cache. Position counts from the
beginning of the text. A query reads the keys at its own position and before it, and with a *window*
of `w` only the last `w` of them, its own among these.

A kernel works on *tiles*: some queries times some keys. A tile in which no query reads any key need
not be computed, and one in which all read all needs no mask. Heads are independent here, as many of
keys as of queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: What a kernel does with a tile.
SKIP, MASK, FULL = 0, 1, 2


def visible(num_tokens: int, seq_len: int, window: int | None = None) -> np.ndarray:
    r"""Who reads whom: `[num_tokens, seq_len]`, true where the query reads the key."""
    # lab: begin task 1 "say who reads whom"
    queries = np.arange(seq_len - num_tokens, seq_len)[:, None]
    keys = np.arange(seq_len)
    seen = keys <= queries
    return seen if window is None else seen & (keys > queries - window)
    # lab: end


def kind_of_tile(queries: tuple[int, int], keys: tuple[int, int], window: int | None = None) -> int:
    r"""{py:data}`SKIP`, {py:data}`MASK` or {py:data}`FULL`, for a tile of positions.

    Each pair is the first and the last position of its side, both inside. A kernel asks this of
    each tile, so it is answered from the four numbers, without looking at the pairs between.
    """
    # lab: begin task 2 "sort the tiles"
    (first_query, last_query), (first_key, last_key) = queries, keys
    reach = last_query if window is None else window - 1
    nobody = first_key > last_query or last_key < first_query - reach
    everybody = last_key <= first_query and first_key >= last_query - reach
    return SKIP if nobody else FULL if everybody else MASK
    # lab: end


def blocks_to_read(
    num_tokens: int, seq_len: int, block_size: int, window: int | None = None
) -> range:
    r"""The numbers of the blocks, within the text, that some query of the chunk reads.

    A range: what lies before it was left behind by the window, and may belong to somebody else by
    now.
    """
    # lab: begin task 3 "find the blocks that are read"
    first = 0 if window is None else max(0, seq_len - num_tokens - (window - 1))
    return range(first // block_size, -(-seq_len // block_size))
    # lab: end


def attend_tiles(
    query: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    blocks: np.ndarray,
    seq_len: int,
    scale: float,
    tile: int,
    window: int | None = None,
) -> np.ndarray:
    r"""What the chunk's queries read, `[num_tokens, num_heads, head_size]`.

    `query` is `[num_tokens, num_heads, head_size]`, the caches are `[num_blocks, block_size,
    num_heads, head_size]`, `blocks` is the request's row of the table. Goes over `tile` queries at
    a time and one block of keys at a time, and does not touch the cache for a tile that is to be
    skipped: its id may be stale, and so may be every slot behind the end of the text. Each query
    keeps a running maximum and two sums, as in phase 02.
    """
    # lab: begin task 4 "attend tile by tile"
    num_tokens, num_heads, head_size = query.shape
    block_size = k_cache.shape[1]
    context = seq_len - num_tokens
    out = np.empty_like(query)
    for begin in range(0, num_tokens, tile):
        own = slice(begin, min(begin + tile, num_tokens))
        rows = np.arange(own.start, own.stop) + context
        best = np.full((num_heads, len(rows)), -np.inf)
        total = np.zeros((num_heads, len(rows)))
        read = np.zeros((num_heads, len(rows), head_size))
        for number in range(-(-seq_len // block_size)):
            first = number * block_size
            columns = np.arange(first, min(first + block_size, seq_len))
            kind = kind_of_tile((rows[0], rows[-1]), (columns[0], columns[-1]), window)
            if kind == SKIP:
                continue
            places = slice(0, len(columns))
            keys, values = k_cache[blocks[number], places], v_cache[blocks[number], places]
            scores = scale * np.einsum("qhd,khd->hqk", query[own], keys)
            if kind == MASK:
                seen = columns <= rows[:, None]
                if window is not None:
                    seen &= columns > rows[:, None] - window
                scores = np.where(seen, scores, -np.inf)
            new_best = np.maximum(best, scores.max(axis=-1))
            # A query that has read nothing yet has no maximum: minus infinity less itself is NaN.
            base = np.where(np.isneginf(new_best), 0.0, new_best)
            weights = np.exp(scores - base[..., None])
            shrink = np.exp(best - base)
            total = total * shrink + weights.sum(axis=-1)
            read = read * shrink[..., None] + np.einsum("hqk,khd->hqd", weights, values)
            best = new_best
        out[own] = (read / total[..., None]).transpose(1, 0, 2)
    return out
    # lab: end


def pairs(chunks: Sequence[int], context: int = 0) -> int:
    r"""How many pairs of query and key are read, for chunks one after the other.

    `context` tokens are in the cache before the first chunk. Counted, without a loop over tokens.
    """
    # lab: begin task 5 "count the work"
    total = 0
    for num_tokens in chunks:
        total += num_tokens * context + num_tokens * (num_tokens + 1) // 2
        context += num_tokens
    return total
    # lab: end


def pairs_in_tiles(num_tokens: int, seq_len: int, tile: int, block_size: int) -> int:
    r"""How many pairs a kernel computes for one chunk: all of each tile that it does not skip.

    Tiles of `tile` queries and `block_size` keys, whole ones also at the edges, since a tile's size
    is fixed when the kernel is compiled. No window.
    """
    # lab: begin task 5 "count the work"
    context = seq_len - num_tokens
    total = 0
    for begin in range(0, num_tokens, tile):
        last = context + min(begin + tile, num_tokens) - 1
        total += (last // block_size + 1) * tile * block_size
    return total
    # lab: end


def attend_in_two_parts(
    query: np.ndarray,
    context: tuple[np.ndarray, np.ndarray],
    chunk: tuple[np.ndarray, np.ndarray],
    scale: float,
) -> np.ndarray:
    r"""The same chunk, read as two: the context without any mask, the chunk with a causal one.

    `context` and `chunk` are keys and values, each `[tokens, num_heads, head_size]`; the chunk has
    as many as there are queries, and the context may be empty. The two results are merged by the
    logarithms of their sums. Two parts of a text can so be read by two different kernels.
    """
    # lab: begin task 6 "read context and chunk apart"
    reads, logs = [], []
    for (keys, values), causal in ((context, False), (chunk, True)):
        scores = scale * np.einsum("qhd,khd->qhk", query, keys)
        if causal:
            seen = visible(len(query), len(keys))
            scores = np.where(seen[:, None], scores, -np.inf)
        best = scores.max(axis=-1, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isneginf(best), 0.0, best)[..., None])
        total = weights.sum(axis=-1)
        # Nothing read: any average will do, as its weight is zero.
        share = weights / np.where(total == 0, 1.0, total)[..., None]
        reads.append(np.einsum("qhk,khd->qhd", share, values))
        with np.errstate(divide="ignore"):
            logs.append(best + np.log(total))
    best = np.maximum(*logs)
    parts = [np.exp(log - best) for log in logs]
    both = sum(part[..., None] * read for part, read in zip(parts, reads))
    return both / sum(parts)[..., None]
    # lab: end


def main() -> None:
    r"""Print the tiles of a chunk over a context, without and with a window."""
    num_tokens, seq_len, tile, block_size = 24, 56, 8, 8
    context = seq_len - num_tokens
    marks = {SKIP: ".", MASK: "/", FULL: "#"}
    for window in (None, 20):
        told = "no window" if window is None else f"a window of {window}"
        print(f"{num_tokens} tokens after {context}, {told}")
        for begin in range(0, num_tokens, tile):
            rows = context + begin, context + begin + tile - 1
            kinds = [
                kind_of_tile(rows, (first, first + block_size - 1), window)
                for first in range(0, seq_len, block_size)
            ]
            row = " ".join(marks[kind] for kind in kinds)
            print(f"  queries {rows[0]:>2} to {rows[1]:>2}   {row}")
        print()
    print("# no mask   / mask   . skipped; a column is a block of", block_size, "keys\n")
    print(f"{'a prompt of 4096 in chunks of':<31}{'pairs read':>11}{'pairs computed':>16}")
    for size in (4096, 512, 64, 16, 1):
        chunks = [size] * (4096 // size)
        ends = range(size, 4097, size)
        computed = sum(pairs_in_tiles(size, end, tile=64, block_size=16) for end in ends)
        print(f"{size:<31}{pairs(chunks):>11,}{computed:>16,}")


if __name__ == "__main__":
    main()
