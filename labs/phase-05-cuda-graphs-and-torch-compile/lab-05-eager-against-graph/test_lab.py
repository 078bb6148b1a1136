r"""Lab 05: a measurement on a stand-in whose times are known, and one on a real device."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples

MICRO = 1e-6


# ---------------------------------------------------------------- task 1: timed


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("launch", "work", "times", "took"),
    [
        (5, 700, 20, 700 + 5 / 20),  # the device is the slower; the first launch is not hidden
        (1400, 600, 20, 1400 + 600 / 20),  # the host is; the last work is not hidden
        (5, 700, 1, 705),
        (10, 0, 4, 10),
    ],
)
def test_from_an_idle_device_to_an_idle_device(impl, launch, work, times, took):
    made = impl.StandIn()
    call = made.call(launch * MICRO, work * MICRO)
    assert impl.timed(call, made.clock, made, times) == pytest.approx(took * MICRO)


@pytest.mark.task(1)
def test_what_was_launched_before_does_not_count(impl, truth):
    made = impl.StandIn()
    before, call = made.call(0, 1.0), made.call(5 * MICRO, 700 * MICRO)
    before()
    begin = made.clock()
    for _ in range(20):
        call()
    truth("no-wait", round((made.clock() - begin) / 20 / MICRO))
    found = impl.timed(call, made.clock, made, 20)
    truth("really", round(found / MICRO))
    assert found == pytest.approx(700.25 * MICRO), "a second of somebody else's work is in it"


@pytest.mark.task(1)
def test_the_clock_is_read_twice(impl):
    made = impl.StandIn()
    read = []

    def clock():
        read.append(made.now)
        return made.now

    impl.timed(made.call(1.0, 0.0), clock, made, 7)
    assert read == [0.0, 7.0], "a clock costs time as well: once before and once after"


# ---------------------------------------------------------------- task 2: order


@pytest.mark.task(2)
@examples(40)
@given(st.integers(1, 5), st.integers(0, 9))
def test_every_name_once_a_round_and_at_the_same_mean_place(impl, names, rounds):
    names = list("abcde"[:names])
    found = [list(turn) for turn in impl.order(names, rounds)]
    assert len(found) == rounds
    assert all(sorted(turn) == names for turn in found)
    for first, second in zip(found[::2], found[1::2]):
        places = {first.index(name) + second.index(name) for name in names}
        assert len(places) == 1, f"{first} and {second}: somebody is always earlier"


# ---------------------------------------------------------------- task 3: measure


@pytest.mark.task(3)
def test_warm_first_and_then_in_turns(impl):
    made, turns = [], [["a", "b"], ["b", "a"], ["b", "a"]]
    impl.order = lambda names, rounds: turns[:rounds] if list(names) == ["a", "b"] else []

    def timed(call, clock, device, times):
        made.append(f"time {times}")
        call()
        return float(len(made))

    impl.timed = timed
    calls = {"a": lambda: made.append("a"), "b": lambda: made.append("b")}
    found = impl.measure(calls, None, None, impl.Plan(rounds=3, times=4, warmup=2))
    warm, counted = made[:4], made[4:]
    assert sorted(warm) == ["a", "a", "b", "b"], "two calls of each, untimed"
    assert counted == [part for name in "abbaba" for part in ("time 4", name)]
    assert found == {"a": [6.0, 12.0, 16.0], "b": [8.0, 10.0, 14.0]}


@pytest.mark.task(1, 2, 3)
def test_a_cold_start_does_not_count(impl):
    made = impl.StandIn(slow=1000.0)
    calls = {"one": made.call(1.0, 2.0), "two": made.call(3.0, 1.0)}
    found = impl.measure(calls, made.clock, made, impl.Plan(rounds=4, times=2, warmup=3))
    assert found == {"one": pytest.approx([2.5] * 4), "two": pytest.approx([3.5] * 4)}


# ---------------------------------------------------------------- task 4: objections


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("sample", "limits", "found"),
    [
        ([10.0] * 4, (4, 0.0, 0.0), []),
        ([10.0] * 3, (4, 0.0, 0.0), [("count", 3, 4)]),
        ([-1.0, 9.0], (4, 0.0, 0.0), [("count", 2, 4)]),
        ([1.0, 9.0, 0.0, 50.0], (4, 0.0, 0.0), [("positive", 0.0, 0)]),
        ([1.0, -2.0, 9.0, 0.0], (4, 0.0, 0.0), [("positive", -2.0, 0)]),
        # quartiles 8, 10 and 12; medians of the halves 10 and 10
        ([8.0, 12.0, 10.0, 8.0, 12.0], (4, 0.4, 0.0), []),
        ([8.0, 12.0, 10.0, 8.0, 12.0], (4, 0.3, 0.0), [("spread", 0.4, 0.3)]),
        # quartiles 9, 10 and 11, though the mean is 20
        ([8.0, 9.0, 10.0, 11.0, 62.0], (4, 0.15, 9.0), [("spread", 0.2, 0.15)]),
        # one value far away: neither says anything
        ([10.0, 10.0, 10.0, 900.0, 10.0, 10.0, 10.0, 10.0], (8, 0.0, 0.0), []),
        # 9 and 10 in the halves, 9.5 in the middle; quartiles 9 and 10
        ([9.0] * 5 + [10.0] * 5, (4, 0.5, 0.1), [("drift", 1 / 9.5, 0.1)]),
        ([10.0] * 5 + [9.0] * 5, (4, 0.5, 0.1), [("drift", 1 / 9.5, 0.1)]),
        ([9.0] * 5 + [10.0] * 5, (4, 0.5, 0.11), []),
        (
            [9.0] * 5 + [10.0] * 5,
            (4, 0.1, 0.1),
            [("spread", 1 / 9.5, 0.1), ("drift", 1 / 9.5, 0.1)],
        ),
        # an odd number: the 99 in the middle is in neither half
        ([8.0, 10.0, 99.0, 10.0, 12.0], (4, 9.0, 0.15), [("drift", 0.2, 0.15)]),
    ],
    ids=str,
)
def test_everything_that_speaks_against_a_sample(impl, sample, limits, found):
    said = impl.objections(sample, impl.Limits(*limits))
    assert sorted(word for word, _, _ in said) == sorted(word for word, _, _ in found)
    for word, value, limit in said:
        wanted = next(other for other in found if other[0] == word)
        assert (value, limit) == pytest.approx(wanted[1:])


# ---------------------------------------------------------------- task 5: ratios


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("eager", "graph", "found"),
    [
        ([], [], []),
        ([3.0], [2.0], [1.5]),
        ([8.0, 3.0, 9.0], [4.0, 2.0, 1.0], [1.5, 2.0, 9.0]),
        ([2.0, 20.0, 200.0], [1.0, 10.0, 100.0], [2.0, 2.0, 2.0]),  # the machine, not the calls
    ],
    ids=str,
)
def test_pairs_of_one_round(impl, eager, graph, found):
    assert list(impl.ratios(eager, graph)) == pytest.approx(found)


@pytest.mark.task(5)
def test_without_pairs_there_is_no_ratio(impl):
    with pytest.raises(impl.Refused):
        impl.ratios([1.0, 2.0], [1.0])


# ---------------------------------------------------------------- task 6: bounds


def chance_of_lying(count, number):
    r"""That the median lies below value `number` of `count`: of all throws of coins, how many."""
    throws = list(product((0, 1), repeat=count))
    return sum(sum(throw) <= number for throw in throws) / len(throws)


@pytest.mark.task(6)
@pytest.mark.parametrize("risk", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("count", range(1, 12))
def test_all_throws_of_the_coins(impl, count, risk):
    values = [float(10 + number) for number in range(count)]
    fitting = [k for k in range(count) if chance_of_lying(count, k) <= risk / 2]
    if not fitting:
        with pytest.raises(impl.Refused):
            impl.bounds(values, risk)
        return
    low, high = impl.bounds(values, risk)
    assert (low - 10, high - 10) == (max(fitting), count - 1 - max(fitting))


@pytest.mark.task(6)
def test_how_many_rounds_it_takes(impl, truth):
    def refused(count):
        try:
            impl.bounds([1.0] * count)
        except impl.Refused:
            return True
        return False

    truth("fewest", next(count for count in range(1, 20) if not refused(count)))
    assert refused(5), "all five on one side: once in 32, on either side once in 16"
    assert not refused(6)
    assert impl.bounds([float(n) for n in range(40)]) == (13.0, 26.0)


# ---------------------------------------------------------------- task 7: the report


def given_parts(impl, samples, against=()):
    impl.measure = lambda calls, clock, device, plan: samples
    impl.objections = lambda sample, limits: [
        impl.Objection(word, 2.0, 1.0) for word, name in against if sample is samples[name]
    ]
    impl.ratios = lambda eager, graph: sorted(slow / fast for slow, fast in zip(eager, graph))
    impl.bounds = lambda ascending, risk=0.05: (ascending[0], ascending[-1])


def reported(impl, made, eager, graph):
    calls = {"eager": eager, "graph": graph}
    return impl.report(
        *(calls, made.spoil, made.read, made.clock, made, impl.Plan(), impl.Limits())
    )


@pytest.mark.task(7)
def test_what_a_report_says(impl):
    samples = {"eager": [30.0, 40.0, 90.0], "graph": [10.0, 20.0, 15.0]}
    given_parts(impl, samples)
    made = impl.StandIn()
    found = reported(impl, made, made.call(1, 1), made.call(1, 1))
    assert found.medians == {"eager": 40.0, "graph": 15.0}
    assert (found.speedup, found.low, found.high) == (3.0, 2.0, 6.0)
    assert found.samples == samples


@pytest.mark.task(7)
def test_other_results_are_not_measured(impl):
    given_parts(impl, {"eager": [1.0], "graph": [1.0]})
    measured = []
    impl.measure = lambda *arguments: measured.append(1)
    made = impl.StandIn()
    with pytest.raises(impl.Refused, match=r"(?s)(?=.*eager)(?=.*graph)"):
        reported(impl, made, made.call(1, 1, result=2.0), made.call(1, 1, result=3.0))
    assert not measured, "what computes something else has no time"


@pytest.mark.task(7)
def test_results_are_compared_number_by_number_though_they_lie_in_one_place(impl):
    given_parts(impl, {"eager": [1.0], "graph": [1.0]})
    made, place = impl.StandIn(), [0.0, 0.0]

    def writes(*numbers):
        return lambda: place.__setitem__(slice(None), numbers)

    calls = {"eager": writes(1.0, 2.0), "graph": writes(2.0, 1.0)}
    spoil, read = writes(float("nan"), float("nan")), lambda: place
    with pytest.raises(impl.Refused):
        impl.report(calls, spoil, read, made.clock, made, impl.Plan(), impl.Limits())


@pytest.mark.task(7)
@pytest.mark.parametrize("which", ["eager", "graph", "both"])
def test_a_call_that_computes_nothing_is_found_out(impl, truth, which):
    given_parts(impl, {"eager": [1.0], "graph": [1.0]})
    made = impl.StandIn()
    work = made.call(1, 1)
    work()
    if which == "graph":
        truth("stale", "the same" if made.read() == [1.0] else "not the same")
    calls = {"eager": work, "graph": work}
    calls = {name: call if which not in (name, "both") else int for name, call in calls.items()}
    with pytest.raises(impl.Refused):
        reported(impl, made, calls["eager"], calls["graph"])


@pytest.mark.task(7)
def test_results_are_read_when_the_device_is_done(impl):
    given_parts(impl, {"eager": [1.0], "graph": [1.0]})
    made = impl.StandIn()
    done = made.output = [0.0]

    class Late:
        r"""A device whose results are there when somebody has waited for it."""

        def synchronize(self):
            done[0] = pending.pop() if pending else done[0]

    pending = []
    call = lambda: pending.append(7.0)  # noqa: E731
    arguments = made.clock, Late(), impl.Plan(), impl.Limits()
    spoil = lambda: done.__setitem__(0, float("nan"))  # noqa: E731
    impl.report({"eager": call, "graph": call}, spoil, lambda: done, *arguments)
    assert done == [7.0]


@pytest.mark.task(7)
@pytest.mark.parametrize(
    "against",
    [
        [("spread", "eager")],
        [("drift", "graph")],
        [("spread", "eager"), ("drift", "graph"), ("spread", "graph")],
    ],
    ids=str,
)
def test_all_objections_to_all_samples(impl, against):
    given_parts(impl, {"eager": [1.0, 2.0], "graph": [3.0, 4.0]}, against)
    made = impl.StandIn()
    with pytest.raises(impl.Refused) as refusal:
        reported(impl, made, made.call(1, 1), made.call(1, 1))
    text = str(refusal.value)
    for word, name in against:
        assert word in text
        assert name in text
    for word in {"spread", "drift"} - {word for word, _ in against}:
        assert word not in text, f"nobody has said {word}"


@pytest.mark.task(1, 2, 3, 4, 5, 6, 7)
def test_known_times_are_found(impl):
    made = impl.StandIn(noise=0.05)
    calls = made.call(1400 * MICRO, 600 * MICRO), made.call(5 * MICRO, 700 * MICRO)
    found = reported(impl, made, *calls)
    truth = (1400 + 600 / 20) / (700 + 5 / 20)
    assert found.low <= found.speedup <= found.high
    assert found.speedup == pytest.approx(truth, rel=0.02)
    assert statistics.median(found.samples["graph"]) == found.medians["graph"]
    made = impl.StandIn(noise=0.05, drift=0.1)
    with pytest.raises(impl.Refused, match="drift"):
        reported(impl, made, made.call(1400 * MICRO, 0), made.call(5 * MICRO, 700 * MICRO))


# ---------------------------------------------------------------- for real


@pytest.mark.gpu
@pytest.mark.task(1, 2, 3, 4, 5, 6, 7)
def test_on_a_device(impl):
    r"""A small model's step is faster as a graph; and eager is as fast as eager."""
    script = str(Path(__file__).with_name("on_device.py"))
    process = subprocess.run(
        [sys.executable, script, impl.__file__, "cuda"], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr[-2000:]
    print(process.stdout)
    results = json.loads(process.stdout)["results"]
    small, *_ = [found for found in results if found["against"] == "graph"]
    assert "refused" not in small, small["refused"]
    assert small["low"] > 1
    for found in results:
        if found["against"] == "again" and "refused" not in found:
            assert found["speedup"] == pytest.approx(1, abs=0.05)
