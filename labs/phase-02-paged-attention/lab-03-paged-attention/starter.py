r"""Attention over a cache that lies in blocks, in NumPy.

The cache of one layer is two arrays, `[num_blocks, block_size, num_kv_heads, head_size]`. Seen as
one long row of slots, block `b` is the slots from `b * block_size` on. A request's tokens lie in
the blocks that its *table* names, in the order of its positions; behind them a table holds whatever
was there before.

A text of `seq_len` tokens is attended to by queries that are its last tokens. There are as many
*query heads* as a multiple of the heads of keys and values: query head `h` reads head
`h // (num_heads // num_kv_heads)`, so neighbours share.

Slots that nobody has written may hold anything, `NaN` among it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: The slot of a token that is not there: a batch is filled up to a fixed size with such tokens.
PAD_SLOT = -1


def slot_mapping(
    block_table: np.ndarray, rows: np.ndarray, positions: np.ndarray, block_size: int
) -> np.ndarray:
    r"""The slot of each token, `[num_tokens]`.

    `block_table` is `[num_requests, max_blocks]`. Token `i` belongs to the request in row `rows[i]`
    and stands at `positions[i]` of its text. Where the row is negative the token is padding, and
    its slot is {py:data}`PAD_SLOT`, whatever its position says.
    """
    # TODO task 1: find the slot of a token
    raise NotImplementedError("task 1: find the slot of a token")


def write_kv(
    keys: np.ndarray,
    values: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    slots: np.ndarray,
) -> None:
    r"""Put the keys and values of a step into their slots, in place; padding goes nowhere.

    `keys` and `values` are `[num_tokens, num_kv_heads, head_size]`, `slots` is `[num_tokens]`.
    """
    # TODO task 2: write keys and values
    raise NotImplementedError("task 2: write keys and values")


def attend_one(
    query: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    blocks: np.ndarray,
    seq_len: int,
    scale: float,
) -> np.ndarray:
    r"""What the last token of a text reads, `[num_heads, head_size]`.

    `query` is `[num_heads, head_size]`, `blocks` the request's row of the table. The weight of a
    token is the softmax, over the whole text, of `scale` times query times key.
    """
    # TODO task 3: let one query read its blocks
    raise NotImplementedError("task 3: let one query read its blocks")


def attend_chunk(
    query: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    blocks: np.ndarray,
    seq_len: int,
    scale: float,
) -> np.ndarray:
    r"""What the last `num_tokens` tokens of a text read, `[num_tokens, num_heads, head_size]`.

    `query` is `[num_tokens, num_heads, head_size]`. Each token reads itself and all before it, and
    nothing behind it. Keys and values of the chunk's own tokens are in the cache already.
    """
    # TODO task 4: let a chunk of queries read theirs
    raise NotImplementedError("task 4: let a chunk of queries read theirs")


def attend_blocks(
    query: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    blocks: np.ndarray,
    seq_len: int,
    scale: float,
) -> tuple[np.ndarray, np.ndarray]:
    r"""The same as {py:func}`attend_one`, reading one block of the cache at a time.

    Never looks at more than one block at once, and needs no room that grows with the text. Returns
    what the query read, `[num_heads, head_size]`, and for each head the logarithm of the sum of
    `exp(score)` over the text, `[num_heads]`: what {py:func}`merge` needs. Scores may be large, so
    no `exp` may be taken of a score itself.
    """
    # TODO task 5: read one block at a time
    raise NotImplementedError("task 5: read one block at a time")


def merge(reads: Sequence[np.ndarray], logs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    r"""Put together what one query read from several parts of a text.

    Part `i` was read alone: `reads[i]` is `[num_heads, head_size]`, `logs[i]` is `[num_heads]`, as
    {py:func}`attend_blocks` returns them. Returns the same two for the whole text.
    """
    # TODO task 6: merge two halves
    raise NotImplementedError("task 6: merge two halves")


def attend_batch(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    k_cache: np.ndarray,
    v_cache: np.ndarray,
    block_table: np.ndarray,
    query_start: np.ndarray,
    seq_lens: np.ndarray,
    scale: float,
) -> np.ndarray:
    r"""One layer's attention for a step: chunks of prompts and single tokens side by side.

    `query`, `keys` and `values` hold the tokens of all requests, one request after the other:
    those of request `r` are rows `query_start[r]` to `query_start[r + 1]`, and they are the last
    of its `seq_lens[r]` tokens. Rows behind `query_start[-1]` are padding: nothing of them is
    written, and what comes back in their place is zero. Returns an array like `query`.

    All keys and values of the step are written before any query reads, because two requests that
    were admitted together may share blocks that one of them is filling.
    """
    # TODO task 7: run a layer for a whole batch
    raise NotImplementedError("task 7: run a layer for a whole batch")


def main() -> None:
    r"""Print where the tokens of a step go: two decodes, a chunk of a prompt, and padding."""
    block_table = np.array([[6, 2, 8], [3, 9, 0], [4, 1, 0]])
    rows = np.array([0, 1, 2, 2, 2, 2, -1, -1])
    positions = np.array([9, 4, 3, 4, 5, 6, 0, 0])
    slots = slot_mapping(block_table, rows, positions, block_size=4)
    for name, row in zip("ABC", block_table):
        print(f"table of {name}: {' '.join(map(str, row))}")
    print(f"\n{'token':>6}{'request':>9}{'position':>10}{'block':>7}{'place':>7}{'slot':>6}")
    for token, (row, position, slot) in enumerate(zip(rows, positions, slots)):
        where = "ABC"[row] if row >= 0 else "-"
        block, place = (slot // 4, slot % 4) if row >= 0 else ("-", "-")
        print(f"{token:>6}{where:>9}{position:>10}{block:>7}{place:>7}{slot:>6}")
    draw = np.random.default_rng(0)
    caches = np.full((2, 10, 4, 2, 8), np.nan)
    query, keys, values = (draw.normal(size=(8, heads, 8)) for heads in (6, 2, 2))
    caches[:, [6, 2, 8, 3, 4]] = draw.normal(size=(2, 5, 4, 2, 8))
    starts, lengths = np.array([0, 1, 2, 6]), np.array([10, 5, 7])
    read = attend_batch(query, keys, values, *caches, block_table, starts, lengths, 8**-0.5)
    whole = attend_blocks(query[0], *caches, block_table[0], 10, 8**-0.5)[0]
    print("\nA by blocks reads what A reads at once:", np.allclose(read[0], whole, rtol=1e-12))
    print("no garbage in what was read:           ", not np.isnan(read).any())


if __name__ == "__main__":
    main()
