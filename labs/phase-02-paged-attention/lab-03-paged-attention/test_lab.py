r"""Lab 03: paged attention beside dense attention, with NaN wherever nobody may read.

`test_slots.py` has tasks 1 and 2.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

NOT_A_BLOCK = 10**6


def dense(query, keys, values, scale):
    r"""Attention of the last tokens of one text, from the definition, one number at a time."""
    num_tokens, num_heads, _ = query.shape
    seq_len, num_kv_heads, _ = keys.shape
    out = np.zeros_like(query)
    for place in range(num_tokens):
        seen = seq_len - num_tokens + place + 1
        for head in range(num_heads):
            kv = head * num_kv_heads // num_heads
            scores = scale * (keys[:seen, kv] @ query[place, head])
            weights = np.exp(scores - scores.max())
            out[place, head] = weights @ values[:seen, kv] / weights.sum()
    return out


class Text(NamedTuple):
    r"""One request: its text's keys and values, where they lie, and the queries that ask."""

    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    k_cache: np.ndarray
    v_cache: np.ndarray
    blocks: np.ndarray

    @property
    def cached(self):
        return self.k_cache, self.v_cache, self.blocks


def text(seq_len, num_tokens=1, *, block_size=4, heads=(4, 2), size=3, seed=0, loud=1.0):
    r"""A text in a cache in which everything else is NaN, and a table that goes on with rubbish."""
    draw = np.random.default_rng([seed, seq_len, num_tokens])
    query = loud * draw.normal(size=(num_tokens, heads[0], size))
    keys, values = draw.normal(size=(2, seq_len, heads[1], size))
    num_blocks = -(-seq_len // block_size)
    blocks = draw.permutation(num_blocks + 3)[:num_blocks]
    caches = np.full((2, num_blocks + 3, block_size, heads[1], size), np.nan)
    for position in range(seq_len):
        where = blocks[position // block_size], position % block_size
        caches[0][where], caches[1][where] = keys[position], values[position]
    return Text(query, keys, values, *caches, np.append(blocks, [NOT_A_BLOCK] * 2))


SHAPES = [
    # seq_len, block_size, heads
    (1, 4, (4, 2)),
    (4, 4, (4, 2)),
    (5, 4, (4, 2)),
    (11, 4, (6, 2)),
    (7, 1, (2, 2)),
    (9, 16, (4, 1)),
    (32, 16, (3, 3)),
]


# ---------------------------------------------------------------- task 3: one query


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.task(3)
@pytest.mark.parametrize(("seq_len", "block_size", "heads"), SHAPES)
def test_one_query_reads_what_it_would_read_densely(impl, seq_len, block_size, heads):
    t = text(seq_len, block_size=block_size, heads=heads)
    found = impl.attend_one(t.query[0], *t.cached, seq_len, 0.7)
    close(found, dense(t.query, t.keys, t.values, 0.7)[0])


@pytest.mark.task(3)
def test_large_scores_do_not_overflow(impl):
    t = text(11, loud=4000.0)
    close(impl.attend_one(t.query[0], *t.cached, 11, 1.0), dense(*t[:3], 1.0)[0])


@pytest.mark.task(3)
def test_neighbouring_heads_share(impl, truth):
    t = text(6, heads=(8, 2))
    before = impl.attend_one(t.query[0], *t.cached, 6, 0.5)
    t.v_cache[:, :, 1] += 1.0
    after = impl.attend_one(t.query[0], *t.cached, 6, 0.5)
    moved = [not np.allclose(one, other) for one, other in zip(before, after)]
    truth("kv-head", int(moved[3]))
    assert moved == [False] * 4 + [True] * 4


@pytest.mark.task(3)
def test_the_rest_of_the_last_block_is_nobodys(impl, truth):
    t = text(37, block_size=16)
    assert not np.isnan(impl.attend_one(t.query[0], *t.cached, 37, 0.5)).any()
    mine = t.k_cache[t.blocks[:3], :, 0, 0]
    truth("unread", int(np.isnan(mine).sum()))


@pytest.mark.task(3)
def test_what_stands_behind_in_the_table_is_not_followed(impl, truth):
    t = text(8)
    kept = impl.attend_one(t.query[0], *t.cached, 8, 0.5)
    stale = np.append(t.blocks[:2], 1)
    same = np.array_equal(impl.attend_one(t.query[0], *t.cached[:2], stale, 8, 0.5), kept)
    truth("stale", "no" if same else "yes")
    assert same


# ---------------------------------------------------------------- task 4: a chunk


@pytest.mark.task(4)
@pytest.mark.parametrize(("seq_len", "block_size", "heads"), SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_chunk_reads_what_it_would_read_densely(impl, seq_len, block_size, heads, share):
    num_tokens = max(1, round(seq_len * share))
    t = text(seq_len, num_tokens, block_size=block_size, heads=heads)
    found = impl.attend_chunk(t.query, *t.cached, seq_len, 0.7)
    assert found.shape == t.query.shape
    close(found, dense(t.query, t.keys, t.values, 0.7))


@pytest.mark.task(4)
def test_large_scores_do_not_overflow_in_a_chunk(impl):
    t = text(11, 5, loud=4000.0)
    close(impl.attend_chunk(t.query, *t.cached, 11, 1.0), dense(*t[:3], 1.0))


@pytest.mark.task(4)
def test_nobody_sees_what_comes_after(impl, truth):
    t = text(20, 6)
    before = impl.attend_chunk(t.query, *t.cached, 20, 0.5)
    seen = np.zeros((6, 20), dtype=bool)
    for position in range(20):
        v_cache = t.v_cache.copy()
        v_cache[t.blocks[position // 4], position % 4] += 1.0
        after = impl.attend_chunk(t.query, t.k_cache, v_cache, t.blocks, 20, 0.5)
        seen[:, position] = np.abs(after - before).max(axis=(1, 2)) > 0
    truth("first-sees", int(seen[0].sum()))
    assert seen.sum(axis=1).tolist() == [15, 16, 17, 18, 19, 20]
    assert all(row[: row.sum()].all() for row in seen)


# ---------------------------------------------------------------- task 5: one block at a time


class Watched(np.ndarray):
    r"""A cache that notes how many numbers are read at once; a view alone reads nothing."""

    def __array_finalize__(self, source):
        self.reads = getattr(source, "reads", None)

    def noted(self, found):
        plain = np.asarray(found)
        self.reads.append(plain.size)
        return plain

    def __getitem__(self, key):
        found = super().__getitem__(key)
        same = np.may_share_memory(np.asarray(found), np.asarray(self))
        return found if same else self.noted(found)

    def __array_function__(self, function, types, arguments, named):
        if function is np.take:
            return self.noted(np.take(np.asarray(self), *arguments[1:], **named))
        plain = [self.noted(a) if isinstance(a, Watched) else a for a in arguments]
        return function(*plain, **named)

    def __array_ufunc__(self, function, method, *arguments, **named):
        plain = [self.noted(a) if isinstance(a, Watched) else a for a in arguments]
        return getattr(function, method)(*plain, **named)


def watched(cache, reads):
    view = cache.view(Watched)
    view.reads = reads
    return view


@pytest.mark.task(5)
@pytest.mark.parametrize(("seq_len", "block_size", "heads"), SHAPES)
def test_block_by_block_is_the_same(impl, seq_len, block_size, heads):
    t = text(seq_len, block_size=block_size, heads=heads)
    found, logs = impl.attend_blocks(t.query[0], *t.cached, seq_len, 0.7)
    close(found, dense(t.query, t.keys, t.values, 0.7)[0])
    shared = np.repeat(t.keys, heads[0] // heads[1], axis=1)
    close(logs, np.log(np.exp(0.7 * np.einsum("hd,thd->ht", t.query[0], shared)).sum(axis=1)))


@pytest.mark.task(5)
@pytest.mark.parametrize("seed", range(4))
def test_the_largest_score_may_come_in_any_block(impl, seed):
    t = text(23, loud=4000.0, seed=seed)
    found, logs = impl.attend_blocks(t.query[0], *t.cached, 23, 1.0)
    close(found, dense(*t[:3], 1.0)[0])
    assert np.isfinite(logs).all()


@pytest.mark.task(5)
def test_no_more_than_one_block_is_looked_at_once(impl):
    t, reads = text(23), []
    caches = [watched(cache, reads) for cache in t.cached[:2]]
    impl.attend_blocks(t.query[0], *caches, t.blocks, 23, 1.0)
    assert sum(reads) >= 2 * 23 * 2 * 3, "the text was not read from the cache"
    assert max(reads) <= t.k_cache[0].size, "more than one block was read at once"


# ---------------------------------------------------------------- task 6: merge


def part(keys, values, query, scale):
    r"""One part of a text alone, and the logarithm of its sum; heads are not shared here."""
    scores = scale * np.einsum("hd,thd->ht", query, keys)
    best = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - best)
    read = np.einsum("ht,thd->hd", weights, values) / weights.sum(axis=1, keepdims=True)
    return read, best[:, 0] + np.log(weights.sum(axis=1))


@pytest.mark.task(6)
@pytest.mark.parametrize("loud", [1.0, 4000.0])
@pytest.mark.parametrize("cuts", [(5,), (1,), (10,), (3, 4), (2, 5, 9)])
def test_parts_make_a_whole(impl, cuts, loud):
    t = text(11, heads=(3, 3), loud=loud)
    edges = [0, *cuts, 11]
    parts = [
        part(t.keys[first:last], t.values[first:last], t.query[0], 0.7)
        for first, last in pairwise(edges)
    ]
    reads, logs = zip(*parts)
    found, log = impl.merge(reads, logs)
    wanted, wanted_log = part(t.keys, t.values, t.query[0], 0.7)
    close(found, wanted)
    close(log, wanted_log)


@pytest.mark.task(5, 6)
def test_two_workers_share_a_text(impl):
    t = text(23)
    k_cache, v_cache, blocks = t.cached
    halves = [
        impl.attend_blocks(t.query[0], k_cache, v_cache, blocks[:3], 12, 0.7),
        impl.attend_blocks(t.query[0], k_cache, v_cache, blocks[3:], 11, 0.7),
    ]
    found, _ = impl.merge(*zip(*halves))
    close(found, dense(*t[:3], 0.7)[0])


# ---------------------------------------------------------------- task 7: a batch


def given_parts(impl):
    r"""Everything that `attend_batch` may call, without yours."""

    def slots(block_table, rows, positions, block_size):
        return np.array(
            [
                block_table[r, p // block_size] * block_size + p % block_size if r >= 0 else -1
                for r, p in zip(rows, positions)
            ],
            dtype=np.int64,
        )

    def write(keys, values, k_cache, v_cache, places):
        for token, slot in enumerate(places):
            if slot >= 0:
                where = slot // k_cache.shape[1], slot % k_cache.shape[1]
                k_cache[where], v_cache[where] = keys[token], values[token]

    def chunk(query, k_cache, v_cache, blocks, seq_len, scale):
        places = slots(blocks[None], [0] * seq_len, range(seq_len), k_cache.shape[1])
        keys, values = (c.reshape(-1, *c.shape[2:])[places] for c in (k_cache, v_cache))
        return dense(query, keys, values, scale)

    def one(query, *rest):
        return chunk(query[None], *rest)[0]

    impl.slot_mapping, impl.write_kv = slots, write
    impl.attend_chunk, impl.attend_one = chunk, one


def run_batch(impl, lengths, *, block_size=4, heads=(4, 2), size=3, padding=2, seed=0):
    r"""Requests of (tokens in this step, tokens in all); the rest of each text is cached."""
    draw = np.random.default_rng(seed)
    texts = [draw.normal(size=(2, total, heads[1], size)) for _, total in lengths]
    counts = [-(-total // block_size) for _, total in lengths]
    order = draw.permutation(sum(counts) + 1)
    table = np.full((len(lengths), max(counts) + 1), order[-1])
    caches = np.full((2, sum(counts) + 1, block_size, heads[1], size), np.nan)
    taken = 0
    for row, ((num_tokens, total), count) in enumerate(zip(lengths, counts)):
        table[row, :count] = order[taken : taken + count]
        taken += count
        for position in range(total - num_tokens):
            block = table[row, position // block_size]
            caches[:, block, position % block_size] = texts[row][:, position]
    starts = np.cumsum([0, *(num_tokens for num_tokens, _ in lengths)])
    query = draw.normal(size=(starts[-1] + padding, heads[0], size))
    news = np.full((2, starts[-1] + padding, heads[1], size), 7.0)
    for row, (num_tokens, total) in enumerate(lengths):
        news[:, starts[row] : starts[row + 1]] = texts[row][:, total - num_tokens :]
    totals = np.array([total for _, total in lengths])
    nobodys = caches[:, order[-1]].copy()
    found = impl.attend_batch(query, *news, *caches, table, starts, totals, 0.7)
    assert np.array_equal(caches[:, order[-1]], nobodys, equal_nan=True), "padding was written"
    assert found.shape == query.shape
    assert not found[starts[-1] :].any(), "padding reads nothing"
    for row, (keys, values) in enumerate(texts):
        own = slice(starts[row], starts[row + 1])
        close(found[own], dense(query[own], keys, values, 0.7))


@pytest.mark.task(7)
@pytest.mark.parametrize(
    "lengths",
    [[(1, 6)], [(5, 5)], [(1, 9), (1, 3), (1, 1)], [(1, 9), (4, 10), (6, 6)], [(3, 8), (1, 5)]],
)
@pytest.mark.parametrize("padding", [0, 3])
def test_chunks_and_decodes_share_a_step(impl, lengths, padding):
    given_parts(impl)
    run_batch(impl, lengths, padding=padding)


@pytest.mark.task(7)
def test_all_is_written_before_anything_is_read(impl):
    r"""Two equal prompts, admitted together: the second shares the block that the first fills."""
    given_parts(impl)
    draw = np.random.default_rng(3)
    keys, values = draw.normal(size=(2, 6, 1, 2))
    query = draw.normal(size=(4, 1, 2))
    caches = np.full((2, 4, 4, 1, 2), np.nan)
    # "late" stands first in the batch and reads block 1, which "early" fills in this very step.
    table = np.array([[1, 2], [1, 3]])
    news = [np.concatenate([array[4:5], array[1:4]]) for array in (keys, values)]
    caches[0, 1, 0], caches[1, 1, 0] = keys[0], values[0]
    found = impl.attend_batch(
        query, *news, *caches, table, np.array([0, 1, 4]), np.array([5, 4]), 0.7
    )
    close(found[:1], dense(query[:1], keys[:5], values[:5], 0.7))
    close(found[1:], dense(query[1:], keys[:4], values[:4], 0.7))


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 4, 7)
@examples(40)
@given(
    lengths=st.lists(
        st.integers(1, 12).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
        min_size=1,
        max_size=4,
    ),
    block_size=st.sampled_from([1, 3, 4, 16]),
    heads=st.sampled_from([(1, 1), (4, 2), (6, 2), (4, 1)]),
)
def test_any_batch_reads_what_it_would_read_densely(impl, lengths, block_size, heads):
    run_batch(impl, lengths, block_size=block_size, heads=heads)
