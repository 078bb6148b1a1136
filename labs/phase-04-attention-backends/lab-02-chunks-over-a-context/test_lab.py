r"""Lab 02: chunks beside attention from its definition, with NaN wherever nobody may read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

NOT_A_BLOCK = 10**6
WINDOWS = [None, 1, 2, 5, 16, 100]


def seen_by_definition(num_tokens, seq_len, window):
    context = seq_len - num_tokens
    return np.array(
        [
            [key <= query and (window is None or query - key < window) for key in range(seq_len)]
            for query in range(context, seq_len)
        ]
    ).reshape(num_tokens, seq_len)


def dense(query, keys, values, scale, window=None):
    r"""The chunk's attention, one number at a time."""
    seen = seen_by_definition(len(query), len(keys), window)
    out = np.empty_like(query)
    for place in range(len(query)):
        own = seen[place]
        for head in range(query.shape[1]):
            scores = scale * (keys[own, head] @ query[place, head])
            weights = np.exp(scores - scores.max())
            out[place, head] = weights @ values[own, head] / weights.sum()
    return out


class Text(NamedTuple):
    query: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    k_cache: np.ndarray
    v_cache: np.ndarray
    blocks: np.ndarray


def text(num_tokens, seq_len, *, block_size=4, window=None, heads=2, size=3, seed=0, loud=1.0):
    r"""A chunk and its cache; blocks that the window has left behind are no blocks any more."""
    draw = np.random.default_rng([seed, num_tokens, seq_len])
    query = loud * draw.normal(size=(num_tokens, heads, size))
    keys, values = draw.normal(size=(2, seq_len, heads, size))
    count = -(-seq_len // block_size)
    blocks = draw.permutation(count + 2)[:count]
    caches = np.full((2, count + 2, block_size, heads, size), np.nan)
    for position in range(seq_len):
        where = blocks[position // block_size], position % block_size
        caches[0][where], caches[1][where] = keys[position], values[position]
    read = seen_by_definition(num_tokens, seq_len, window).any(axis=0)
    gone = [n for n in range(count) if not read[n * block_size : (n + 1) * block_size].any()]
    blocks = np.append(blocks, [NOT_A_BLOCK] * 2)
    blocks[gone] = NOT_A_BLOCK
    return Text(query, keys, values, *caches, blocks)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


SIZES = [(1, 1), (3, 3), (1, 9), (4, 9), (5, 17), (16, 33)]


# ---------------------------------------------------------------- task 1: who reads whom


@pytest.mark.task(1)
@pytest.mark.parametrize(("num_tokens", "seq_len"), SIZES)
@pytest.mark.parametrize("window", WINDOWS)
def test_each_reads_itself_and_those_before(impl, num_tokens, seq_len, window):
    found = impl.visible(num_tokens, seq_len, window)
    np.testing.assert_array_equal(found, seen_by_definition(num_tokens, seq_len, window))


@pytest.mark.task(1)
def test_a_window_of_one_is_oneself(impl):
    found = impl.visible(3, 5, 1)
    assert np.argwhere(found).tolist() == [[0, 2], [1, 3], [2, 4]]


# ---------------------------------------------------------------- task 2: tiles


def kind_by_definition(impl, queries, keys, window):
    seen = [
        key <= query and (window is None or query - key < window)
        for query in range(queries[0], queries[1] + 1)
        for key in range(keys[0], keys[1] + 1)
    ]
    return impl.FULL if all(seen) else impl.MASK if any(seen) else impl.SKIP


@pytest.mark.task(2)
@pytest.mark.parametrize("window", [None, 1, 3, 4, 5, 8, 9])
def test_a_tile_is_what_its_pairs_are(impl, window):
    for first_query in range(8):
        for rows in (1, 4):
            for first_key in range(14):
                for columns in (1, 4):
                    tile = (
                        (first_query, first_query + rows - 1),
                        (first_key, first_key + columns - 1),
                    )
                    found = impl.kind_of_tile(*tile, window)
                    assert found == kind_by_definition(impl, *tile, window), tile


@pytest.mark.task(2)
@examples(60)
@given(
    first=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    more=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    window=st.none() | st.integers(1, 50),
)
def test_any_tile_is_what_its_pairs_are(impl, first, more, window):
    tile = (first[0], first[0] + more[0]), (first[1], first[1] + more[1])
    assert impl.kind_of_tile(*tile, window) == kind_by_definition(impl, *tile, window)


@pytest.mark.task(2)
def test_only_the_diagonal_needs_a_mask(impl, truth):
    kinds = [
        impl.kind_of_tile((q, q + 15), (k, k + 15))
        for q in range(0, 64, 16)
        for k in range(0, 64, 16)
    ]
    truth("masked", kinds.count(impl.MASK))
    assert (kinds.count(impl.MASK), kinds.count(impl.FULL), kinds.count(impl.SKIP)) == (4, 6, 6)


@pytest.mark.task(2)
def test_a_tile_of_a_million_is_no_slower(impl):
    assert impl.kind_of_tile((10**9, 10**10), (0, 10**8)) == impl.FULL
    assert impl.kind_of_tile((10**9, 10**10), (0, 10**8), 10**8) == impl.SKIP


# ---------------------------------------------------------------- task 3: blocks


@pytest.mark.task(3)
@pytest.mark.parametrize(("num_tokens", "seq_len"), SIZES)
@pytest.mark.parametrize("block_size", [1, 4, 16])
@pytest.mark.parametrize("window", WINDOWS)
def test_just_the_blocks_that_somebody_reads(impl, num_tokens, seq_len, block_size, window):
    read = np.flatnonzero(seen_by_definition(num_tokens, seq_len, window).any(axis=0))
    wanted = sorted({int(position) // block_size for position in read})
    assert list(impl.blocks_to_read(num_tokens, seq_len, block_size, window)) == wanted


@pytest.mark.task(3)
def test_a_window_may_touch_one_block_more_than_it_fills(impl, truth):
    found = impl.blocks_to_read(1, 1000, 16, 128)
    truth("window-blocks", len(found))
    assert found == range(54, 63)


# ---------------------------------------------------------------- task 4: tile by tile


def given_kinds(impl):
    r"""What `attend_tiles` may call, without yours."""
    impl.kind_of_tile = lambda queries, keys, window=None: kind_by_definition(
        impl, queries, keys, window
    )


@pytest.mark.task(4)
@pytest.mark.parametrize(("num_tokens", "seq_len"), SIZES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("tile", [1, 3, 16])
def test_a_chunk_reads_what_it_would_read_densely(impl, num_tokens, seq_len, window, tile):
    given_kinds(impl)
    t = text(num_tokens, seq_len, window=window)
    found = impl.attend_tiles(t.query, *t[3:], seq_len, 0.7, tile, window)
    assert found.shape == t.query.shape
    close(found, dense(t.query, t.keys, t.values, 0.7, window))


@pytest.mark.task(4)
@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("seed", range(3))
def test_large_scores_do_not_overflow(impl, window, seed):
    given_kinds(impl)
    t = text(7, 19, window=window, loud=4000.0, seed=seed)
    found = impl.attend_tiles(t.query, *t[3:], 19, 1.0, 4, window)
    close(found, dense(t.query, t.keys, t.values, 1.0, window))


@pytest.mark.task(4)
def test_a_window_narrower_than_a_tile_leaves_rows_that_have_read_nothing_yet(impl):
    r"""The last query of a tile reads nothing in the first block that the tile has to look at."""
    given_kinds(impl)
    t = text(8, 16, window=2, block_size=4)
    with np.errstate(all="raise"):
        found = impl.attend_tiles(t.query, *t[3:], 16, 0.7, 8, 2)
    close(found, dense(t.query, t.keys, t.values, 0.7, 2))


# ---------------------------------------------------------------- task 5: work


@pytest.mark.task(5)
@pytest.mark.parametrize("chunks", [[], [1], [7], [3, 4], [1, 1, 1], [5, 0, 2]], ids=str)
@pytest.mark.parametrize("context", [0, 1, 6])
def test_pairs_are_counted_as_they_are_read(impl, chunks, context):
    count, before = 0, context
    for num_tokens in chunks:
        before += num_tokens
        count += int(seen_by_definition(num_tokens, before, None).sum())
    assert impl.pairs(chunks, context) == count


@pytest.mark.task(5)
def test_cutting_a_prompt_costs_no_pair(impl, truth):
    whole, cut = impl.pairs([4096]), impl.pairs([64] * 64)
    truth("chunked-pairs", cut // whole)
    assert whole == cut == 4096 * 4097 // 2
    assert impl.pairs([10**9]) == 10**9 * (10**9 + 1) // 2


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("num_tokens", "seq_len", "tile", "block_size", "count"),
    [
        (1, 1, 1, 1, 1),
        (1, 1, 8, 4, 32),
        (1, 4, 8, 4, 32),
        (1, 5, 8, 4, 64),
        (8, 8, 8, 4, 64),
        (8, 8, 4, 4, 16 + 32),
        (6, 10, 4, 4, 32 + 48),
        (16, 16, 4, 2, 16 + 32 + 48 + 64),
    ],
)
def test_a_tile_is_computed_whole(impl, num_tokens, seq_len, tile, block_size, count):
    assert impl.pairs_in_tiles(num_tokens, seq_len, tile, block_size) == count


@pytest.mark.task(5)
def test_a_decode_in_a_tall_tile(impl, truth):
    computed = impl.pairs_in_tiles(1, 1024, 64, 16)
    truth("one-row", round(100 * (1 - 1024 / computed), 1))
    assert computed == 64 * 1024


# ---------------------------------------------------------------- task 6: two parts


@pytest.mark.task(6)
@pytest.mark.parametrize(("num_tokens", "seq_len"), SIZES)
@pytest.mark.parametrize("loud", [1.0, 4000.0])
def test_two_parts_are_the_whole(impl, num_tokens, seq_len, loud):
    impl.visible = lambda n, s, window=None: seen_by_definition(n, s, window)
    t, cut = text(num_tokens, seq_len, loud=loud), seq_len - num_tokens
    context, chunk = (t.keys[:cut], t.values[:cut]), (t.keys[cut:], t.values[cut:])
    found = impl.attend_in_two_parts(t.query, context, chunk, 0.7)
    close(found, dense(t.query, t.keys, t.values, 0.7))


@pytest.mark.task(6)
@pytest.mark.parametrize("louder", ["context", "chunk"])
def test_one_part_may_outweigh_the_other_by_any_factor(impl, louder):
    impl.visible = lambda n, s, window=None: seen_by_definition(n, s, window)
    t = text(2, 6)
    t.query[:], t.keys[:] = 1.0, 0.0
    t.keys[: 4 if louder == "context" else 0] = 500.0
    t.keys[4 if louder == "chunk" else 6 :] = 500.0
    context, chunk = (t.keys[:4], t.values[:4]), (t.keys[4:], t.values[4:])
    with np.errstate(over="raise", invalid="raise"):
        found = impl.attend_in_two_parts(t.query, context, chunk, 1.0)
    close(found, dense(t.query, t.keys, t.values, 1.0))


# ---------------------------------------------------------------- all together


@pytest.mark.task(2, 4)
@examples(40)
@given(
    cut=st.integers(1, 20).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
    block_size=st.sampled_from([1, 3, 4, 16]),
    tile=st.integers(1, 9),
    window=st.none() | st.integers(1, 24),
)
def test_any_chunk_reads_what_it_would_read_densely(impl, cut, block_size, tile, window):
    num_tokens, seq_len = cut
    t = text(num_tokens, seq_len, block_size=block_size, window=window)
    found = impl.attend_tiles(t.query, *t[3:], seq_len, 0.7, tile, window)
    close(found, dense(t.query, t.keys, t.values, 0.7, window))
