r"""Lab 01: a batch of decodes, gathered, with NaN wherever nobody may read."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

NOT_A_BLOCK = 10**6


class Batch(NamedTuple):
    r"""Requests in a cache in which everything else is NaN; the table goes on with rubbish."""

    query: np.ndarray
    texts: list[np.ndarray]  # per request [2, seq_len, num_kv_heads, size]
    k_cache: np.ndarray
    v_cache: np.ndarray
    table: np.ndarray
    seq_lens: np.ndarray


def batch(lengths, *, block_size=4, heads=(4, 2), size=3, seed=0, loud=1.0):
    draw = np.random.default_rng([seed, *lengths])
    query = loud * draw.normal(size=(len(lengths), heads[0], size))
    texts = [draw.normal(size=(2, n, heads[1], size)) for n in lengths]
    counts = [-(-n // block_size) for n in lengths]
    order = 1 + draw.permutation(sum(counts) + 2)
    table = np.full((len(lengths), max(counts) + 2), NOT_A_BLOCK)
    caches = np.full((2, sum(counts) + 3, block_size, heads[1], size), np.nan)
    taken = 0
    for row, (text, count) in enumerate(zip(texts, counts)):
        table[row, :count] = order[taken : taken + count]
        taken += count
        for position in range(text.shape[1]):
            block = table[row, position // block_size]
            caches[:, block, position % block_size] = text[:, position]
    return Batch(query, texts, *caches, table, np.array(lengths))


def dense(query, text, scale):
    r"""One query over one text, from the definition, one head at a time."""
    keys, values = text
    out = np.empty_like(query)
    for head in range(len(query)):
        kv = head * keys.shape[1] // len(query)
        scores = scale * (keys[:, kv] @ query[head])
        weights = np.exp(scores - scores.max())
        out[head] = weights @ values[:, kv] / weights.sum()
    return out


def rectangle(texts, half):
    r"""What a gather makes of keys (0) or values (1)."""
    longest = max(text.shape[1] for text in texts)
    out = np.zeros((len(texts), longest, *texts[0].shape[2:]))
    for row, text in enumerate(texts):
        out[row, : text.shape[1]] = text[half]
    return out


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


LENGTHS = [[1], [4], [5], [7, 7], [3, 8, 1], [12, 1, 9, 4]]


# ---------------------------------------------------------------- task 1: gather


@pytest.mark.task(1)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("block_size", [1, 4, 16])
def test_tokens_lie_side_by_side_and_zeros_behind(impl, lengths, block_size):
    b = batch(lengths, block_size=block_size)
    for half, cache in enumerate((b.k_cache, b.v_cache)):
        found = impl.gather(cache, b.table, b.seq_lens)
        np.testing.assert_array_equal(found, rectangle(b.texts, half))


@pytest.mark.task(1)
def test_the_rectangle_is_as_long_as_the_longest_request_and_not_as_its_row(impl, truth):
    b = batch([100, 100, 100, 1000], block_size=16)
    found = impl.gather(b.k_cache, b.table, b.seq_lens)
    truth("rectangle", found.shape[0] * found.shape[1])
    assert found.shape[:2] == (4, 1000)


@pytest.mark.task(1)
def test_the_cache_is_left_as_it_was(impl):
    b = batch([3, 6])
    kept = b.k_cache.copy()
    found = impl.gather(b.k_cache, b.table, b.seq_lens)
    found[:] = 7.0
    np.testing.assert_array_equal(b.k_cache, kept)


# ---------------------------------------------------------------- task 2: attend


@pytest.mark.task(2)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("heads", [(1, 1), (4, 2), (6, 2), (4, 4), (8, 1)], ids=str)
def test_each_query_reads_its_own_text(impl, lengths, heads):
    b = batch(lengths, heads=heads)
    keys, values = (rectangle(b.texts, half) for half in (0, 1))
    found = impl.attend(b.query, keys, values, b.seq_lens, 0.7)
    assert found.shape == b.query.shape
    for row, text in enumerate(b.texts):
        close(found[row], dense(b.query[row], text, 0.7))


@pytest.mark.task(2)
def test_large_scores_do_not_overflow(impl):
    b = batch([3, 8], loud=4000.0)
    keys, values = (rectangle(b.texts, half) for half in (0, 1))
    found = impl.attend(b.query, keys, values, b.seq_lens, 1.0)
    for row, text in enumerate(b.texts):
        close(found[row], dense(b.query[row], text, 1.0))


@pytest.mark.task(2)
def test_zeros_behind_the_end_are_no_tokens(impl, truth):
    r"""A key of zeros has score 0, which is more than most: it must have no weight all the same."""
    b = batch([1, 50], seed=1)
    text = b.texts[0]
    text[0] = -9.0 * np.sign(b.query[0].reshape(2, 2, 3).sum(axis=1))
    keys, values = (rectangle(b.texts, half) for half in (0, 1))
    found = impl.attend(b.query, keys, values, b.seq_lens, 1.0)
    truth("nan", "yes" if np.isnan(0.0 * np.nan + 1.0) else "no")
    close(found[0], dense(b.query[0], text, 1.0))


class Counted(np.ndarray):
    r"""Keys that notice when somebody makes more numbers of them than there are."""

    most = 0

    def __array_finalize__(self, source):
        # A view of the same memory makes nothing; a copy of them all does, and so does a repeat.
        if source is not None and not np.may_share_memory(np.asarray(self), np.asarray(source)):
            Counted.most = max(Counted.most, self.size)


@pytest.mark.task(2)
def test_keys_are_not_repeated_for_each_query_head(impl):
    b = batch([64, 64], heads=(16, 2), size=8)
    keys, values = (rectangle(b.texts, half) for half in (0, 1))
    Counted.most = 0
    impl.attend(b.query, keys.view(Counted), values.view(Counted), b.seq_lens, 1.0)
    assert Counted.most <= keys.size, "keys or values were copied once for each query head"


# ---------------------------------------------------------------- task 3: count


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("lengths", "kernel", "gather"),
    [
        ([1], (12, 0), (24, 12)),
        ([10], (120, 0), (240, 120)),
        ([10, 10], (240, 0), (480, 240)),
        ([1, 10], (132, 0), (372, 240)),
        ([3, 8, 1], (144, 0), (432, 288)),
    ],
)
def test_bytes_of_a_small_layer(impl, lengths, kernel, gather):
    shape = impl.Shape(num_kv_heads=1, head_size=3, itemsize=2)
    assert impl.traffic_of_a_kernel(lengths, shape) == kernel
    assert impl.traffic_of_a_gather(lengths, shape) == gather


@pytest.mark.task(3)
def test_every_part_of_the_shape_counts(impl):
    for function in (impl.traffic_of_a_kernel, impl.traffic_of_a_gather):
        base = sum(function([5, 7], impl.Shape(2, 4, 2)))
        for larger in (impl.Shape(6, 4, 2), impl.Shape(2, 12, 2), impl.Shape(2, 4, 6)):
            assert sum(function([5, 7], larger)) == 3 * base


@pytest.mark.task(3)
def test_how_many_times_as_much(impl, truth):
    shape, lengths = impl.Shape(8, 128, 2), [1024] * 16
    kernel, gather = (
        sum(function(lengths, shape))
        for function in (impl.traffic_of_a_kernel, impl.traffic_of_a_gather)
    )
    truth("three-times", gather // kernel)
    assert gather == 3 * kernel


# ---------------------------------------------------------------- task 4: buckets


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("lengths", "waste", "found"),
    [
        ([], 0.5, []),
        ([9], 0.0, [[0]]),
        ([300, 400], 0.25, [[1, 0]]),
        ([300, 401], 0.25, [[1], [0]]),
        ([5, 5, 5], 0.0, [[0, 1, 2]]),
        ([4, 5, 4], 0.0, [[1], [0, 2]]),
        ([8, 6, 5, 4, 3], 0.5, [[0, 1, 2, 3], [4]]),
        ([8, 6, 5, 4, 3], 0.25, [[0, 1], [2, 3], [4]]),
        ([1, 1000], 1.0, [[1, 0]]),
    ],
    ids=str,
)
def test_who_stands_beside_whom(impl, lengths, waste, found):
    assert [list(bucket) for bucket in impl.buckets(lengths, waste)] == found


@pytest.mark.task(4)
def test_one_long_request_costs_one_bucket(impl, truth):
    found = impl.buckets([100, 100, 100, 1000], 0.25)
    truth("buckets", len(found))
    assert [list(bucket) for bucket in found] == [[3], [0, 1, 2]]


def fewest(lengths, waste):
    r"""How few buckets are possible, found by trying all sets of longest ones."""
    distinct = sorted(set(lengths), reverse=True)
    for count in range(1, len(distinct) + 1):
        for longest in combinations(distinct, count):
            if all(any((1 - waste) * top <= n <= top for top in longest) for n in lengths):
                return count
    return 0


@pytest.mark.task(4)
@examples(60)
@given(
    lengths=st.lists(st.integers(1, 64), max_size=8),
    waste=st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]),
)
def test_all_are_seated_within_the_waste_and_in_as_few_as_possible(impl, lengths, waste):
    found = [list(bucket) for bucket in impl.buckets(lengths, waste)]
    assert sorted(index for bucket in found for index in bucket) == list(range(len(lengths)))
    for bucket in found:
        longest = max(lengths[i] for i in bucket)
        assert all(longest - lengths[i] <= waste * longest for i in bucket)
    assert len(found) == fewest(lengths, waste)


# ---------------------------------------------------------------- task 5: together


def given_parts(impl):
    r"""What `attend_in_buckets` may call, without yours."""

    def gather(cache, block_table, seq_lens):
        block_size = cache.shape[1]
        out = np.zeros((len(seq_lens), max(seq_lens), *cache.shape[2:]))
        for row, length in enumerate(seq_lens):
            for p in range(length):
                out[row, p] = cache[block_table[row, p // block_size], p % block_size]
        return out

    def attend(query, keys, values, seq_lens, scale):
        return np.stack(
            [dense(q, (k[:n], v[:n]), scale) for q, k, v, n in zip(query, keys, values, seq_lens)]
        )

    impl.gather, impl.attend = gather, attend
    impl.buckets = lambda lengths, waste: [[i] for i in np.argsort(lengths)[::-1]]


def check(impl, lengths, waste, **shape):
    b = batch(lengths, **shape)
    found = impl.attend_in_buckets(
        *(b.query, b.k_cache, b.v_cache, b.table, b.seq_lens, 0.7, waste)
    )
    assert found.shape == b.query.shape
    for row, text in enumerate(b.texts):
        close(found[row], dense(b.query[row], text, 0.7))


@pytest.mark.task(5)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_results_come_back_in_the_order_of_the_requests(impl, lengths):
    given_parts(impl)
    check(impl, lengths, 0.25)


@pytest.mark.task(5)
def test_each_bucket_has_a_rectangle_of_its_own(impl):
    given_parts(impl)
    shapes, buckets, gather = [], [[3], [1, 2], [0]], impl.gather
    impl.buckets = lambda lengths, waste: buckets if waste == 0.125 else [[0, 1, 2, 3]]

    def watched(*arguments):
        found = gather(*arguments)
        shapes.append(found.shape[:2])
        return found

    impl.gather = watched
    check(impl, [2, 6, 7, 9], 0.125)
    assert sorted(set(shapes)) == [(1, 2), (1, 9), (2, 7)]


@pytest.mark.task(1, 2, 4, 5)
@examples(40)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    waste=st.sampled_from([0.0, 0.25, 1.0]),
    block_size=st.sampled_from([1, 3, 16]),
    heads=st.sampled_from([(1, 1), (4, 2), (6, 2)]),
)
def test_any_batch_reads_what_it_would_read_densely(impl, lengths, waste, block_size, heads):
    check(impl, lengths, waste, block_size=block_size, heads=heads)
