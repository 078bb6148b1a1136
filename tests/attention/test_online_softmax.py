"""Parts of a softmax, put together: exact for any cut and any order."""

from __future__ import annotations

import functools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.attention.online_softmax import SoftmaxLot

lots = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def problem(lengths, seed, size=1.0, hidden=0.0):
    rng = torch.Generator().manual_seed(seed)
    n = sum(lengths)
    scores = torch.randn(3, n, generator=rng, dtype=torch.float64) * size
    scores[torch.rand(3, n, generator=rng) < hidden] = float("-inf")
    values = torch.randn(n, 4, generator=rng, dtype=torch.float64)
    return scores, values


def parts(scores, values, lengths):
    empty = SoftmaxLot.empty(values.new_zeros(3, 4))
    at = 0
    for length in lengths:
        piece = slice(at, at + length)
        yield SoftmaxLot.of(scores[:, piece], values[piece]) if length else empty
        at += length


def whole(scores, values):
    weights = torch.nan_to_num(scores.softmax(-1), nan=0.0)
    return weights @ values


@given(lengths=lots, seed=st.integers(0, 999), size=st.sampled_from([1.0, 100.0, 2000.0]))
@settings(max_examples=60, deadline=None)
def test_any_cut_gives_the_same(lengths, seed, size):
    scores, values = problem([*lengths, 1], seed, size)
    merged = functools.reduce(SoftmaxLot.merge, parts(scores, values, [*lengths, 1]))
    torch.testing.assert_close(merged.result(), whole(scores, values), atol=1e-12, rtol=1e-12)


@given(lengths=lots, seed=st.integers(0, 999), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_and_any_grouping_give_the_same(lengths, seed, data):
    scores, values = problem([*lengths, 1], seed, size=30.0, hidden=0.5)
    pieces = data.draw(st.permutations(list(parts(scores, values, [*lengths, 1]))))
    while len(pieces) > 1:
        i = data.draw(st.integers(0, len(pieces) - 2))
        pieces[i : i + 2] = [pieces[i].merge(pieces[i + 1])]
    result = pieces[0].result()
    assert result.isfinite().all()
    torch.testing.assert_close(result, whole(scores, values), atol=1e-12, rtol=1e-12)


@given(lengths=lots, seed=st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_nothing_changes_nothing(lengths, seed):
    scores, values = problem([*lengths, 1], seed)
    lot = SoftmaxLot.of(scores, values)
    empty = SoftmaxLot.empty(values.new_zeros(3, 4))
    for merged in (lot.merge(empty), empty.merge(lot)):
        assert torch.equal(merged.total, lot.total)
        assert torch.equal(merged.weighted, lot.weighted)


def test_nobody_saw_anything():
    empty = SoftmaxLot.empty(torch.ones(3, 4))
    hidden = SoftmaxLot.of(torch.full((3, 2), float("-inf")), torch.ones(2, 4))
    for lot in (empty, hidden, empty.merge(hidden), hidden.merge(hidden)):
        assert torch.equal(lot.result(), torch.zeros(3, 4))


def test_in_float32_scores_that_overflow_an_exponential():
    scores, values = (t.float() for t in problem([64], 1, size=500.0))
    assert torch.exp(scores).isinf().any()
    merged = functools.reduce(SoftmaxLot.merge, parts(scores, values, [16] * 4))
    expected = whole(scores.double(), values.double())
    torch.testing.assert_close(merged.result().double(), expected, atol=1e-5, rtol=1e-5)
