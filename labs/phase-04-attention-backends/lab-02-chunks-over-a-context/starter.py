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
    # TODO task 1: say who reads whom
    raise NotImplementedError("task 1: say who reads whom")


def kind_of_tile(queries: tuple[int, int], keys: tuple[int, int], window: int | None = None) -> int:
    r"""{py:data}`SKIP`, {py:data}`MASK` or {py:data}`FULL`, for a tile of positions.

    Each pair is the first and the last position of its side, both inside. A kernel asks this of
    each tile, so it is answered from the four numbers, without looking at the pairs between.
    """
    # TODO task 2: sort the tiles
    raise NotImplementedError("task 2: sort the tiles")


def blocks_to_read(
    num_tokens: int, seq_len: int, block_size: int, window: int | None = None
) -> range:
    r"""The numbers of the blocks, within the text, that some query of the chunk reads.

    A range: what lies before it was left behind by the window, and may belong to somebody else by
    now.
    """
    # TODO task 3: find the blocks that are read
    raise NotImplementedError("task 3: find the blocks that are read")


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
    # TODO task 4: attend tile by tile
    raise NotImplementedError("task 4: attend tile by tile")


def pairs(chunks: Sequence[int], context: int = 0) -> int:
    r"""How many pairs of query and key are read, for chunks one after the other.

    `context` tokens are in the cache before the first chunk. Counted, without a loop over tokens.
    """
    # TODO task 5: count the work
    raise NotImplementedError("task 5: count the work")


def pairs_in_tiles(num_tokens: int, seq_len: int, tile: int, block_size: int) -> int:
    r"""How many pairs a kernel computes for one chunk: all of each tile that it does not skip.

    Tiles of `tile` queries and `block_size` keys, whole ones also at the edges, since a tile's size
    is fixed when the kernel is compiled. No window.
    """
    # TODO task 5: count the work
    raise NotImplementedError("task 5: count the work")


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
    # TODO task 6: read context and chunk apart
    raise NotImplementedError("task 6: read context and chunk apart")


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
