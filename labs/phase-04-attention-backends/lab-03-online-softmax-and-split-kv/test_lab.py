r"""Lab 03: parts of a text and what they add up to, exactly where numbers allow it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

HEADS, SIZE = 2, 3


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def small(tokens, seed=0, heads=HEADS, size=SIZE):
    r"""Whole scores and values, so small that every sum is exact in 53 bits."""
    draw = np.random.default_rng([seed, tokens])
    return (
        draw.integers(-8, 9, size=(heads, tokens)).astype(float),
        draw.integers(-8, 9, size=(tokens, heads, size)).astype(float),
    )


def by_definition(impl, scores, values):
    r"""A part, one head at a time."""
    part = impl.nothing(*values.shape[1:])
    for head, row in enumerate(scores):
        seen = ~np.isneginf(row)
        if seen.any():
            weights = np.exp2(row[seen] - row[seen].max())
            part.best[head] = row[seen].max()
            part.total[head] = weights.sum()
            part.read[head] = weights @ values[seen, head]
    return part


def same(one, other):
    r"""Bit for bit."""
    for name, left, right in zip(one._fields, one, other):
        np.testing.assert_array_equal(left, right, err_msg=name)


# ---------------------------------------------------------------- task 1: a tile


@pytest.mark.task(1)
@pytest.mark.parametrize("tokens", [1, 2, 7, 33])
def test_a_tile_is_read_as_the_definition_says(impl, tokens):
    scores, values = small(tokens)
    same(impl.part_of(scores, values), by_definition(impl, scores, values))


@pytest.mark.task(1)
@pytest.mark.parametrize("shift", [4000.0, -4000.0])
def test_scores_may_be_of_any_size(impl, shift):
    scores, values = small(9)
    with np.errstate(over="raise", invalid="raise"):
        found = impl.part_of(scores + shift, values)
    same(found, by_definition(impl, scores + shift, values))
    assert (found.total >= 1).all(), "the largest score has weight 1"


@pytest.mark.task(1)
def test_hidden_keys_have_no_weight(impl):
    scores, values = small(8)
    scores[:, 2:5] = scores[1, :] = -np.inf
    with np.errstate(invalid="raise"):
        found = impl.part_of(scores, values)
    same(found, by_definition(impl, scores, values))
    assert found.total[1] == 0
    assert not found.read[1].any()


@pytest.mark.task(1)
def test_no_keys_are_a_part_too(impl):
    same(impl.part_of(*small(0)), impl.nothing(HEADS, SIZE))


# ---------------------------------------------------------------- task 2: sums


def parts(impl, cuts, seed=0, shift=0.0):
    r"""A text of whole numbers, its parts between the cuts, and the part of all."""
    scores, values = small(cuts[-1], seed)
    # A few keys far above the others, in any of the parts.
    scores[:, :: max(1, cuts[-1] // 3)] += shift
    pieces = [
        by_definition(impl, scores[:, first:last], values[first:last])
        for first, last in pairwise([0, *cuts])
    ]
    return pieces, by_definition(impl, scores, values)


@pytest.mark.task(2)
@pytest.mark.parametrize("cuts", [(1, 2), (3, 10), (9, 10), (0, 5), (5, 5)], ids=str)
def test_two_parts_are_the_part_of_both_bit_for_bit(impl, cuts):
    (one, other), whole = parts(impl, cuts)
    same(impl.add(one, other), whole)


@pytest.mark.task(2)
@examples(60)
@given(
    cuts=st.lists(st.integers(0, 12), min_size=3, max_size=3).map(sorted),
    seed=st.integers(0, 99),
)
def test_the_order_of_adding_does_not_matter_by_a_bit(impl, cuts, seed):
    if cuts[-1] == 0:
        return
    (a, b, c), whole = parts(impl, cuts, seed)
    same(impl.add(impl.add(a, b), c), whole)
    same(impl.add(a, impl.add(b, c)), whole)
    same(impl.add(impl.add(c, a), b), whole)


@pytest.mark.task(2)
def test_nothing_changes_nothing(impl, truth):
    (part, _), _ = parts(impl, (7, 8))
    none = impl.nothing(HEADS, SIZE)
    with np.errstate(invalid="raise"):
        same(impl.add(part, none), part)
        same(impl.add(none, part), part)
        twice = impl.add(none, none)
    same(twice, none)
    truth("hidden", {True: "minus infinity"}.get(bool(np.isneginf(twice.best).all()), "NaN"))


@pytest.mark.task(2)
@pytest.mark.parametrize("which", [0, 1])
def test_one_part_may_outweigh_the_other_by_any_factor(impl, which):
    pieces, _ = parts(impl, (4, 9))
    pieces[which] = pieces[which]._replace(best=pieces[which].best + 5000.0)
    with np.errstate(over="raise", invalid="raise"):
        same(impl.add(*pieces), pieces[which])


@pytest.mark.task(2)
def test_parts_are_not_modified(impl):
    (one, other), _ = parts(impl, (4, 9))
    kept = [array.copy() for array in (*one, *other)]
    impl.add(one, other)
    for array, before in zip((*one, *other), kept):
        np.testing.assert_array_equal(array, before)


# ---------------------------------------------------------------- task 3: finish


@pytest.mark.task(3)
@pytest.mark.parametrize("shift", [0.0, 4000.0, -4000.0])
def test_the_average_and_the_logarithm(impl, shift):
    scores, values = small(9)
    for tokens in (9, 1):
        some, theirs = scores[:, :tokens], values[:tokens]
        average, log = impl.finish(by_definition(impl, some + shift, theirs))
        weights = np.exp2(some)
        close(average, np.einsum("ht,thd->hd", weights, theirs) / weights.sum(axis=1)[:, None])
        close(log, np.log2(weights.sum(axis=1)) + shift)


@pytest.mark.task(3)
def test_of_no_keys_nothing_is_read(impl):
    part = by_definition(impl, *small(5))
    part.best[1], part.total[1], part.read[1] = -np.inf, 0.0, 0.0
    with np.errstate(all="raise"):
        average, log = impl.finish(part)
    assert not average[1].any()
    assert np.isneginf(log[1])
    close(average[0], part.read[0] / part.total[0])


# ---------------------------------------------------------------- task 4: cuts


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("seq_len", "count", "block_size", "found"),
    [
        (64, 1, 16, [(0, 64)]),
        (64, 2, 16, [(0, 32), (32, 64)]),
        (65, 2, 16, [(0, 48), (48, 65)]),
        (64, 3, 16, [(0, 32), (32, 64)]),
        (10, 8, 16, [(0, 10)]),
        (33, 8, 16, [(0, 16), (16, 32), (32, 33)]),
        (7, 3, 1, [(0, 3), (3, 6), (6, 7)]),
        (9, 4, 1, [(0, 3), (3, 6), (6, 9)]),
    ],
)
def test_whole_blocks_and_nobody_has_none(impl, seq_len, count, block_size, found):
    cuts = impl.segments(seq_len, count, block_size)
    assert [(cut.start, cut.stop) for cut in cuts] == found


@pytest.mark.task(4)
@examples(60)
@given(
    seq_len=st.integers(1, 200), count=st.integers(1, 40), block_size=st.sampled_from([1, 3, 16])
)
def test_every_token_is_in_one_segment(impl, seq_len, count, block_size):
    cuts = impl.segments(seq_len, count, block_size)
    assert [p for cut in cuts for p in cut] == list(range(seq_len))
    assert 1 <= len(cuts) <= count
    sizes = [len(cut) for cut in cuts]
    num_blocks = -(-seq_len // block_size)
    assert set(sizes[:-1]) <= {-(-num_blocks // count) * block_size}
    assert 0 < sizes[-1] <= sizes[0] <= -(-num_blocks // count) * block_size


# ---------------------------------------------------------------- task 5: segments


def given_parts(impl):
    r"""What `attend_split` may call, without yours."""

    def add(one, other):
        best = np.maximum(one.best, other.best)
        base = np.where(np.isneginf(best), 0.0, best)
        left, right = np.exp2(one.best - base), np.exp2(other.best - base)
        return impl.Part(
            best,
            left * one.total + right * other.total,
            left[:, None] * one.read + right[:, None] * other.read,
        )

    impl.part_of = lambda scores, values: by_definition(impl, scores, values)
    impl.add = add
    impl.finish = lambda part: (part.read / part.total[:, None], part.best + np.log2(part.total))


def text(tokens, seed=0):
    draw = np.random.default_rng([seed, tokens])
    shapes = ((HEADS, SIZE), (tokens, HEADS, SIZE), (tokens, HEADS, SIZE))
    return [draw.integers(-1, 2, size=shape).astype(float) for shape in shapes]


def densely(query, keys, values, scale):
    scores = scale * np.einsum("hd,thd->ht", query, keys)
    weights = np.exp2(scores - scores.max(axis=1, keepdims=True))
    return np.einsum("ht,thd->hd", weights, values) / weights.sum(axis=1)[:, None]


@pytest.mark.task(5)
@pytest.mark.parametrize("tile", [1, 4, 100])
@pytest.mark.parametrize(
    "cuts", [[(0, 37)], [(0, 16), (16, 32), (32, 37)], [(0, 1), (1, 37)], [(30, 37), (0, 30)]]
)
def test_segments_read_what_one_reads_bit_for_bit(impl, truth, cuts, tile):
    given_parts(impl)
    query, keys, values = text(37)
    ranges = [range(*cut) for cut in cuts]
    found = impl.attend_split(query, keys, values, 1.0, ranges, tile)
    whole = densely(query, keys, values, 1.0)
    truth("bit-for-bit", "yes" if np.array_equal(found, whole) else "no")
    np.testing.assert_array_equal(found, whole)
    close(
        impl.attend_split(query, keys, values, 0.37, ranges, tile),
        densely(query, keys, values, 0.37),
    )


@pytest.mark.task(5)
def test_nobody_holds_more_than_a_tile(impl):
    given_parts(impl)
    seen, part_of = [], impl.part_of

    def watched(scores, values):
        seen.append(scores.shape[1])
        return part_of(scores, values)

    impl.part_of = watched
    impl.attend_split(*text(37), 1.0, [range(20), range(20, 37)], 8)
    assert seen == [8, 8, 4, 8, 8, 1]


@pytest.mark.task(5)
def test_an_empty_range_reads_nothing(impl):
    given_parts(impl)
    arguments = text(9)
    found = impl.attend_split(*arguments, 1.0, [range(0), range(9)], 4)
    np.testing.assert_array_equal(found, densely(*arguments, 1.0))


# ---------------------------------------------------------------- task 6: how many


def given_segments(impl):
    def segments(seq_len, count, block_size):
        num_blocks = (seq_len + block_size - 1) // block_size
        size = (num_blocks + count - 1) // count * block_size
        return [range(b, min(b + size, seq_len)) for b in range(0, seq_len, size)]

    impl.segments = segments


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("seq_len", "count", "programs", "took"),
    [
        (64, 1, 1, 1 + 4 * 120),  # four blocks, a tenth of the bandwidth
        (64, 1, 10, 1 + 4 * 120),
        (64, 1, 11, 1 + 8 * 120),  # a second wave
        (64, 2, 1, 1 + 2 * 120 + 1 + 2 * 3 / 4),
        (64, 4, 1, 1 + 1 * 120 + 1 + 4 * 3 / 4),
        (64, 3, 1, 1 + 2 * 120 + 1 + 2 * 3 / 4),  # two blocks each are two segments
        (50, 2, 10, 1 + 2 * 2 * 120 + 1 + 20 * 3 / 4),
        (50, 8, 1, 1 + 120 + 1 + 4 * 3 / 4),
        (10, 8, 3, 1 + 120),
    ],
)
def test_waves_of_programs_and_a_second_kernel(impl, seq_len, count, programs, took):
    given_segments(impl)
    device = impl.Device(processors=10, bytes_per_second=4.0, start=1.0)
    found = impl.seconds(seq_len, count, programs, 16, 48, device)
    assert found == pytest.approx(took)


@pytest.mark.task(6)
def test_a_wave_that_is_nearly_empty(impl, truth):
    given_segments(impl)
    device = impl.Device(processors=132, bytes_per_second=3.35e12, start=0.0)

    def took(requests, processors=132):
        one = device._replace(processors=processors, bytes_per_second=processors * 2.5e10)
        return impl.seconds(32768, 1, 8 * requests, 16, 8192, one)

    truth("one-more", round(took(17) / took(16)))
    truth("busy", 8 if took(1, 8) == took(1) != took(1, 7) else 132)
    assert took(17) == pytest.approx(2 * took(16))
    assert took(1, 8) == pytest.approx(took(1))


@pytest.mark.task(6)
@examples(40)
@given(
    seq_len=st.integers(1, 400),
    programs=st.integers(1, 40),
    processors=st.integers(1, 20),
    start=st.sampled_from([0.0, 1.0, 50.0]),
)
def test_nothing_is_quicker_and_nothing_smaller_as_quick(
    impl, seq_len, programs, processors, start
):
    given_segments(impl)
    shape = (programs, 16, 48, impl.Device(processors, 4.0, start))
    all_counts = range(1, -(-seq_len // 16) + 1)
    times = {n: impl.seconds(seq_len, n, *shape) for n in all_counts}
    best = min(times.values())
    assert impl.best_count(seq_len, *shape) == next(n for n in all_counts if times[n] == best)


@pytest.mark.task(6)
def test_a_full_device_needs_no_cutting(impl):
    given_segments(impl)
    device = impl.Device(processors=8, bytes_per_second=4.0, start=1.0)
    assert impl.best_count(1024, 8, 16, 16, device) == 1
    assert impl.best_count(1024, 1, 16, 16, device) == 8
    assert impl.best_count(16, 1, 16, 16, device) == 1


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5)
@examples(40)
@given(
    tokens=st.integers(1, 50),
    count=st.integers(1, 12),
    block_size=st.sampled_from([1, 4, 16]),
    tile=st.integers(1, 20),
)
def test_any_cut_reads_the_same_bit_for_bit(impl, tokens, count, block_size, tile):
    arguments = text(tokens)
    cuts = impl.segments(tokens, count, block_size)
    found = impl.attend_split(*arguments, 1.0, cuts, tile)
    np.testing.assert_array_equal(found, densely(*arguments, 1.0))
