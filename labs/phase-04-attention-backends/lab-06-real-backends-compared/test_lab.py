r"""Lab 06: agreement, turns, refusals and floors. `test_comparison.py` has the rest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.neighbour import beside
from labkit.properties import examples

Machine = beside(__file__, "made_up_machine").Machine
RIGHT = np.array([[0.5, -4.0], [1.0, 0.25]], np.float32)


# ---------------------------------------------------------------- task 1: agree


@pytest.mark.task(1)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("share", "agrees"), [(0.0, True), (0.99, True), (1.01, False), (50, False)]
)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("place", [(1, 1), (0, 1)], ids=["a small one", "the largest"])
def test_the_tolerance_is_a_share_of_the_largest_number(impl, dtype, share, agrees, sign, place):
    oracle = RIGHT.astype(np.float64)
    found = oracle.copy()
    found[place] += sign * share * impl.TOLERANCES[dtype] * 4.0
    told = impl.disagreement(found, oracle, dtype)
    assert (told is None) == agrees, told
    assert agrees or told, "say what is wrong"


@pytest.mark.task(1)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_agrees_with_nothing(impl, bad):
    found = RIGHT.copy()
    found[0, 0] = bad
    assert impl.disagreement(found, RIGHT, "bfloat16")


@pytest.mark.task(1)
def test_a_result_has_the_shape_of_the_oracle_s(impl):
    ones = np.ones((2, 3))
    assert impl.disagreement(ones[:1], ones, "float32"), "one row was compared with two"
    assert impl.disagreement(ones[:, :, None], ones, "float32")
    assert impl.disagreement(0 * ones, 0 * ones, "float32") is None


@pytest.mark.task(1)
def test_short_types_are_compared_in_long_ones(impl):
    r"""In float16 itself, 60,000 less -60,000 is infinite, and small differences are gone."""
    loud = np.array([60000.0, 1.0], np.float16)
    assert impl.disagreement(loud, loud, "float16") is None
    told = impl.disagreement(-loud, loud, "float16")
    assert told is not None
    assert "inf" not in told


@pytest.mark.task(1)
def test_nobody_invents_a_tolerance(impl):
    with pytest.raises(ValueError, match="float8"):
        impl.disagreement(RIGHT, RIGHT, "float8")


# ---------------------------------------------------------------- task 2: turns


def turns(impl, rounds, warm_up=0, slower=1.0, **takes):
    made = Machine(slower)
    work = {name: made.work(name, *seconds) for name, seconds in takes.items()}
    found = impl.interleaved(work, rounds, warm_up=warm_up, clock=made.clock, wait=made.wait)
    return found, made.turns


@pytest.mark.task(2)
def test_everybody_has_a_turn_in_every_round_and_the_first_one_changes(impl):
    found, order = turns(impl, 4, a=[1.0], b=[1.0], c=[1.0])
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 4, "b": 4, "c": 4}
    assert order == list("abcbcacababc")


@pytest.mark.task(2)
def test_a_turn_ends_when_the_device_has_finished(impl):
    found, _ = turns(impl, 3, quick=[1.0], slow=[5.0])
    assert found["quick"] == pytest.approx([1.001] * 3), "the work of the other one, or none"
    assert found["slow"] == pytest.approx([5.001] * 3)


@pytest.mark.task(2)
def test_what_was_there_before_is_nobody_s_turn(impl):
    made = Machine()
    made.queue = 100.0
    work = {"a": made.work("a", 1.0)}
    found = impl.interleaved(work, 1, warm_up=0, clock=made.clock, wait=made.wait)
    assert found["a"] == pytest.approx([1.001])


@pytest.mark.task(2)
def test_warming_up_is_done_and_not_counted(impl):
    found, order = turns(impl, 3, warm_up=2, a=[50.0, 40.0, 1.0, 2.0, 3.0], b=[7.0])
    assert found["a"] == pytest.approx([1.001, 2.001, 3.001])
    assert (len(found["b"]), len(order)) == (3, 10)


@pytest.mark.task(2)
def test_a_machine_that_gets_slower_favours_nobody(impl, truth):
    found, _ = turns(impl, 20, slower=1.01, one=[1.0], other=[1.0])
    apart = np.median(found["other"]) / np.median(found["one"])
    assert abs(apart - 1) < 0.02, "both are equally fast"
    blocks = [1.01**turn for turn in range(40)]
    truth("blocks", round(100 * (np.median(blocks[20:]) / np.median(blocks[:20]) - 1)))


# ---------------------------------------------------------------- task 3: refuse


@pytest.mark.task(3)
def test_median_and_quartiles_of_turns_that_stay(impl):
    seconds = [10.0, 10.9, 9.9, 10.15, 10.2, 9.8, 10.05, 10.3, 10.1]
    found = impl.summarise(seconds)
    assert found.against is None
    assert tuple(found[:3]) == pytest.approx((10.1, 10.0, 10.2))
    assert impl.summarise([3.0] * 8, moved=0.0) == (3.0, 3.0, 3.0, None)


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("seconds", "word"),
    [
        ([1.0] * 7, "7"),
        ([1.0], "1"),
        ([1.0, 2.0] * 5, "scattered"),
        ([1.0] * 6 + [1.2] * 6, "scattered"),
        ([1.0, 1.0, 1.0, 1.3, 1.3, 1.3] * 3, "scattered"),
        ([1.0, 1.0, 1.0, 0.9, 1.0, 1.09, 1.09, 1.09, 1.3, 1.09], "drifted"),
        ([1.0, 1.04, 1.0, 0.9, 1.04, 1.0, 1.04, 1.0, 1.3, 1.04], None),
        ([1.0] * 4 + [5.0] + [1.0] * 5, None),
    ],
)
def test_what_moved_too_much_is_refused(impl, seconds, word):
    told = impl.summarise(seconds).against
    assert (told is None) == (word is None), told
    assert word is None or word in told


@pytest.mark.task(3)
@pytest.mark.parametrize(("step", "drifts"), [(0.012, False), (0.014, True), (-0.014, True)])
def test_a_drift_is_refused_though_the_middle_is_narrow(impl, step, drifts):
    r"""Each turn is a little slower, or quicker, than the one before."""
    seconds = [1.0 + step * turn for turn in range(8)]
    told = impl.summarise(seconds).against
    assert (told is not None) == drifts, told
    assert not drifts or "drifted" in told
    assert impl.summarise(seconds, moved=0.12).against is None


@pytest.mark.task(3)
def test_the_turn_in_the_middle_belongs_to_the_rest(impl):
    seconds = [1.0, 1.0, 1.0, 1.06, 1.06, 1.06, 1.06, 1.0, 1.0]
    told = impl.summarise(seconds).against
    assert told is not None
    assert "drifted" in told
    alone = [1.0, 1.0, 1.02, 1.08, 1.08, 1.07, 1.07, 1.07, 1.07]
    told = impl.summarise(alone).against
    assert told is not None, "the turn in the middle is in both halves"
    halves = [*[1.0, 1.0, 1.0, 1.0, 1.06, 1.06], *[1.04, 1.04, 1.04, 1.06, 1.06, 1.06]]
    assert impl.summarise(halves).against is None, "halves, not other parts"


@pytest.mark.task(3)
def test_the_limit_is_a_share_of_the_median(impl):
    slow = [100.0, 104.0, 100.0, 104.0, 100.0, 104.0, 100.0, 104.0]
    assert impl.summarise(slow).against is None
    assert "scattered" in impl.summarise(slow, moved=0.03).against
    assert impl.summarise([second / 1e6 for second in slow]).against is None


# ---------------------------------------------------------------- task 4: count


def by_hand(chunks, num_heads, num_kv_heads, size, number_bytes, window):
    r"""Every pair, one at a time."""
    numbers = pairs = 0
    for num_tokens, length in chunks:
        read = set()
        for query in range(length - num_tokens, length):
            own = [k for k in range(query + 1) if not window or query - k < window]
            read.update(own)
            pairs += len(own)
            numbers += 2 * num_heads * size  # the query and its result
            numbers += 4 * num_kv_heads * size  # its key and value, read and stored
        numbers += 2 * len(read) * num_kv_heads * size
    return numbers * number_bytes, pairs * num_heads * 4 * size


@pytest.mark.task(4)
@examples(60)
@given(
    chunks=st.lists(
        st.tuples(st.integers(1, 12), st.integers(0, 20)).map(lambda c: (c[0], sum(c))),
        min_size=1,
        max_size=3,
    ),
    heads=st.sampled_from([(1, 1), (6, 2), (8, 1)]),
    size=st.sampled_from([1, 16]),
    number_bytes=st.sampled_from([1, 2, 4]),
    window=st.integers(0, 30),
)
def test_the_least_of_a_step(impl, chunks, heads, size, number_bytes, window):
    shape = {"num_heads": heads[0], "num_kv_heads": heads[1], "size": size}
    found = impl.cost(chunks, **shape, number_bytes=number_bytes, window=window)
    assert tuple(found) == by_hand(chunks, *heads, size, number_bytes, window)


@pytest.mark.task(4)
def test_the_slower_side_is_the_floor(impl, truth):
    device = impl.Device(bandwidth=100.0, rate=1000.0)
    assert impl.floor(impl.Cost(200, 1000), device) == (2.0, "memory")
    assert impl.floor(impl.Cost(100, 3000), device) == (3.0, "arithmetic")
    assert impl.floor(impl.Cost(100, 1000), device) == (1.0, "memory")
    shape = {"num_heads": 32, "num_kv_heads": 8, "size": 128, "number_bytes": 2}
    large = impl.Device(bandwidth=3.35e12, rate=9.9e14)

    def bound(chunk):
        return impl.floor(impl.cost([chunk], **shape), large)[1]

    truth("bound", next(n for n in (128, 512, 2048, 8192) if bound((n, n)) == "arithmetic"))
    assert bound((1, 8192)) == "memory"
