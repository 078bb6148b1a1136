r"""Chunks of several requests in a cache, and what they read by the definition of attention."""

from __future__ import annotations

import numpy as np

NOT_A_BLOCK = 10**6


def sees(query, key, window):
    return key <= query and (not window or query - key < window)


def bounds_by_definition(first, last, window, tile):
    r"""Look at every pair of every tile."""
    queries = range(first, last + 1)
    kinds = []
    for begin in range(0, last + 1 + 2 * tile, tile):
        pairs = [sees(q, k, window) for q in queries for k in range(begin, begin + tile)]
        kinds.append("all" if all(pairs) else "some" if any(pairs) else "none")
    touched = [number for number, kind in enumerate(kinds) if kind != "none"]
    full = [number for number, kind in enumerate(kinds) if kind == "all"]
    return touched[0], touched[-1] + 1, full


class Batch:
    r"""Chunks of requests over a cache in which everything that nobody reads is NaN or no block."""

    def __init__(self, chunks, *, block=4, heads=(4, 2), size=3, window=0, dtype=np.float32):
        draw = np.random.default_rng([block, size, window, *map(sum, chunks)])
        counts = [-(-length // block) for _, length in chunks]
        order = draw.permutation(sum(counts) + 1)
        self.tables = np.full((len(chunks), max(counts) + 2), NOT_A_BLOCK)
        self.caches = np.full((2, len(order), block, heads[1], size), np.nan, dtype)
        self.starts = np.cumsum([0, *(tokens for tokens, _ in chunks)])
        self.lengths = np.array([length for _, length in chunks])
        self.query = draw.normal(size=(self.starts[-1], heads[0], size)).astype(dtype)
        self.window, self.longest, self.texts = window, max(t for t, _ in chunks), []
        for row, (tokens, length) in enumerate(chunks):
            self.texts.append(draw.normal(size=(2, length, heads[1], size)).astype(dtype))
            lowest = max(0, length - tokens - window + 1) if window else 0
            for place in range(lowest, length):
                where = order[sum(counts[:row]) + place // block]
                self.tables[row, place // block] = where
                self.caches[:, where, place % block] = self.texts[row][:, place]

    def launch(self, impl, scale, *, rows, tile):
        r"""Launch the kernel itself; `scale` is in base 2."""
        num_heads, size = self.query.shape[1:]
        block, num_kv_heads = self.caches.shape[2:4]
        group = num_heads // num_kv_heads
        out = np.full_like(self.query, np.nan)
        arrays = (self.query, *self.caches, self.tables, self.starts, self.lengths, out)
        grid = (-(-self.longest // (rows // group)), num_kv_heads, len(self.lengths))
        impl.prefill_kernel[grid](
            *(*arrays, scale, self.tables.shape[1], num_kv_heads, group, size),
            WINDOW=self.window,
            BLOCK=block,
            ROWS=rows,
            TILE=tile,
            SIZE=max(16, impl.power_of_two(size)),
        )
        return out

    def dense(self, scale):
        r"""What every query reads, from the definition; `scale` is in base 2."""
        out, group = np.empty(self.query.shape), self.query.shape[1] // self.caches.shape[3]
        for row, (keys, values) in enumerate(self.texts):
            tokens = self.starts[row + 1] - self.starts[row]
            for place in range(tokens):
                position = self.lengths[row] - tokens + place
                own = [k for k in range(len(keys)) if sees(position, k, self.window)]
                for head, asked in enumerate(self.query[self.starts[row] + place]):
                    at = head // group
                    scores = scale * keys[own, at].astype(float) @ asked
                    weights = np.exp2(scores - scores.max())
                    read = weights @ values[own, at] / weights.sum()
                    out[self.starts[row] + place, head] = read
        return out
