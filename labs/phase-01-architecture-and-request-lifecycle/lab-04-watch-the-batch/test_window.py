r"""Lab 04: a window into an object, and what it leaves behind. `test_lab.py` looks through it."""

from __future__ import annotations

import pytest
from hypothesis import given

from labkit.properties import examples
from labkit.workloads import workloads

# ---------------------------------------------------------------- task 1: look through a seam


@pytest.fixture(name="Counter")
def a_class_of_its_own():
    r"""A class for this test alone: a window may have been put into the class by mistake."""

    class Counter:
        r"""Something to watch: a method with arguments, a result, and a temper."""

        def __init__(self):
            self.total = 0

        def add(self, amount, *, twice=False):
            if amount < 0:
                raise ValueError("no")
            self.total += amount * (2 if twice else 1)
            return [self.total]

    return Counter


@pytest.mark.task(1)
def test_everything_is_seen_and_passes_through_as_it_is(impl, Counter):
    counter, seen = Counter(), []
    with impl.watched(counter, "add", seen.append):
        first = counter.add(3)
        second = counter.add(4, twice=True)
    assert (first, second, counter.total) == ([3], [11], 11)
    assert seen[0] is first
    assert seen[1] is second


@pytest.mark.task(1)
def test_when_it_closes_the_object_is_as_it_was(impl, Counter):
    counter, seen = Counter(), []
    before = dict(vars(counter))
    with impl.watched(counter, "add", seen.append):
        pass
    assert vars(counter) == before
    assert counter.add(1) == [1]
    assert seen == []


@pytest.mark.task(1)
def test_it_closes_after_an_exception_too(impl, Counter):
    counter = Counter()
    window = impl.watched(counter, "add", lambda result: None)
    with pytest.raises(RuntimeError, match="in the block"), window:
        raise RuntimeError("in the block")
    assert "add" not in vars(counter)


@pytest.mark.task(1)
def test_an_exception_of_the_watched_passes_and_nothing_is_seen(impl, Counter):
    counter, seen = Counter(), []
    with impl.watched(counter, "add", seen.append):
        with pytest.raises(ValueError, match="no"):
            counter.add(-1)
        counter.add(2)
    assert seen == [[2]]


@pytest.mark.task(1)
def test_two_may_watch_and_each_takes_only_its_own_window_away(impl, Counter):
    counter, outer, inner = Counter(), [], []
    with impl.watched(counter, "add", outer.append):
        with impl.watched(counter, "add", inner.append):
            counter.add(1)
        counter.add(1)
    counter.add(1)
    assert (outer, inner) == ([[1], [2]], [[1]])
    assert "add" not in vars(counter)


@pytest.mark.task(1)
def test_others_of_its_class_are_not_watched(impl, Counter):
    counter, other, seen = Counter(), Counter(), []
    with impl.watched(counter, "add", seen.append):
        other.add(5)
    assert seen == []


@pytest.mark.task(1)
def test_what_was_there_before_comes_back(impl, Counter):
    counter = Counter()
    counter.add = mine = lambda amount: "mine"
    with impl.watched(counter, "add", lambda result: None):
        assert counter.add(1) == "mine"
    assert counter.add is mine


@pytest.mark.task(1)
@examples(25)
@given(workload=workloads())
def test_a_watched_engine_does_what_it_would_have_done(impl, workload):
    alone, watched = workload.engine(), workload.engine()
    with impl.watched(watched.scheduler, "schedule", lambda orders: None):
        outputs = workload.play(watched, watched.step)
    assert outputs == workload.play(alone, alone.step)
