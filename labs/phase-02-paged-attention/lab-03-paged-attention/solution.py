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
    # lab: begin task 1 "find the slot of a token"
    blocks = block_table[rows, np.where(rows < 0, 0, positions) // block_size]
    return np.where(rows < 0, PAD_SLOT, blocks * block_size + positions % block_size)
    # lab: end


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
    # lab: begin task 2 "write keys and values"
    real = slots != PAD_SLOT
    blocks, places = np.divmod(slots[real], k_cache.shape[1])
    k_cache[blocks, places] = keys[real]
    v_cache[blocks, places] = values[real]
    # lab: end


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
    # lab: begin task 3 "let one query read its blocks"
    block_size, num_kv_heads, head_size = k_cache.shape[1:]
    used = blocks[: -(-seq_len // block_size)]
    # [blocks, block_size, heads, size] -> [seq_len, heads, size]: only what holds this text
    keys = k_cache[used].reshape(-1, num_kv_heads, head_size)[:seq_len]
    values = v_cache[used].reshape(-1, num_kv_heads, head_size)[:seq_len]
    grouped = query.reshape(num_kv_heads, -1, head_size)
    scores = scale * np.einsum("kgd,tkd->kgt", grouped, keys)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("kgt,tkd->kgd", weights, values).reshape(query.shape)
    # lab: end


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
    # lab: begin task 4 "let a chunk of queries read theirs"
    block_size, num_kv_heads, head_size = k_cache.shape[1:]
    used = blocks[: -(-seq_len // block_size)]
    keys = k_cache[used].reshape(-1, num_kv_heads, head_size)[:seq_len]
    values = v_cache[used].reshape(-1, num_kv_heads, head_size)[:seq_len]
    num_tokens = len(query)
    grouped = query.reshape(num_tokens, num_kv_heads, -1, head_size)
    scores = scale * np.einsum("qkgd,tkd->kgqt", grouped, keys)
    # The first query stands behind seq_len - num_tokens others.
    own_positions = np.arange(seq_len - num_tokens, seq_len)
    hidden = np.arange(seq_len) > own_positions[:, None]
    scores = np.where(hidden, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("kgqt,tkd->qkgd", weights, values).reshape(query.shape)
    # lab: end


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
    # lab: begin task 5 "read one block at a time"
    block_size, num_kv_heads, head_size = k_cache.shape[1:]
    grouped = query.reshape(num_kv_heads, -1, head_size)
    best = np.full(grouped.shape[:2], -np.inf)
    total = np.zeros(grouped.shape[:2])
    read = np.zeros(grouped.shape)
    for start in range(0, seq_len, block_size):
        block, count = blocks[start // block_size], min(block_size, seq_len - start)
        scores = scale * np.einsum("kgd,tkd->kgt", grouped, k_cache[block, :count])
        new_best = np.maximum(best, scores.max(axis=-1))
        weights = np.exp(scores - new_best[..., None])
        # What was summed under the old maximum counts for less under the new one.
        shrink = np.exp(best - new_best)
        total = total * shrink + weights.sum(axis=-1)
        read = read * shrink[..., None] + np.einsum("kgt,tkd->kgd", weights, v_cache[block, :count])
        best = new_best
    return (read / total[..., None]).reshape(query.shape), (best + np.log(total)).reshape(-1)
    # lab: end


def merge(reads: Sequence[np.ndarray], logs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    r"""Put together what one query read from several parts of a text.

    Part `i` was read alone: `reads[i]` is `[num_heads, head_size]`, `logs[i]` is `[num_heads]`, as
    {py:func}`attend_blocks` returns them. Returns the same two for the whole text.
    """
    # lab: begin task 6 "merge two halves"
    stacked = np.stack(logs)
    best = stacked.max(axis=0)
    weights = np.exp(stacked - best)
    total = weights.sum(axis=0)
    read = (np.stack(reads) * (weights / total)[..., None]).sum(axis=0)
    return read, best + np.log(total)
    # lab: end


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
    # lab: begin task 7 "run a layer for a whole batch"
    counts = np.diff(query_start)
    rows = np.full(len(query), -1)
    positions = np.zeros(len(query), dtype=np.int64)
    for row, (first, count, seq_len) in enumerate(zip(query_start, counts, seq_lens)):
        rows[first : first + count] = row
        positions[first : first + count] = np.arange(seq_len - count, seq_len)
    write_kv(
        *(keys, values, k_cache, v_cache),
        slot_mapping(block_table, rows, positions, k_cache.shape[1]),
    )
    read = np.zeros_like(query)
    for row, (first, count, seq_len) in enumerate(zip(query_start, counts, seq_lens)):
        own = slice(first, first + count)
        read[own] = attend_chunk(query[own], k_cache, v_cache, block_table[row], seq_len, scale)
    return read
    # lab: end


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
