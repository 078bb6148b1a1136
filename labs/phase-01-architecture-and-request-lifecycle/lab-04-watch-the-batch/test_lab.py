r"""Lab 04: what a right window into the engine shows, whoever built it.

`test_window.py` has the window itself, task 1.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.observe.probe import Probe
from mini_vllm.sampling_params import SamplingParams

from labkit.engines import request, scripted_engine
from labkit.properties import examples
from labkit.workloads import workloads

# ---------------------------------------------------------------- task 2: who sits in the step


def in_the_engine(req_id, status, num_prompt_tokens, answer, computed):
    made = Request(req_id, list(range(num_prompt_tokens)), SamplingParams())
    made.append_output_token_ids(answer)
    made.status, made.num_computed_tokens = status, computed
    return made


def orders_for(**num_scheduled_tokens):
    orders = SchedulerOutput.make_empty()
    orders.num_scheduled_tokens = num_scheduled_tokens
    orders.total_num_scheduled_tokens = sum(num_scheduled_tokens.values())
    return orders


@pytest.mark.task(2)
def test_seats_say_what_was_wanted_and_what_was_got(impl):
    requests = {
        made.request_id: made
        for made in [
            in_the_engine("decodes", RequestStatus.RUNNING, 4, [7, 7], computed=6),
            in_the_engine("begins", RequestStatus.RUNNING, 20, [], computed=5),
            in_the_engine("goes-on", RequestStatus.RUNNING, 20, [], computed=13),
            in_the_engine("passed-over", RequestStatus.RUNNING, 4, [7], computed=4),
            in_the_engine("cached", RequestStatus.RUNNING, 20, [], computed=19),
            in_the_engine("waits", RequestStatus.WAITING, 9, [], computed=0),
            in_the_engine("stepped-back", RequestStatus.PREEMPTED, 4, [7, 7], computed=0),
        ]
    }
    got = {"decodes": 1, "begins": 5, "goes-on": 8, "cached": 3}
    before = {name: (r.num_computed_tokens, r.status) for name, r in requests.items()}
    assert list(impl.seats_of(orders_for(**got), requests)) == [
        ("decodes", "RUNNING", 1, 1, 6, 2),
        ("begins", "RUNNING", 20, 5, 5, 0),
        ("goes-on", "RUNNING", 15, 8, 13, 0),
        ("passed-over", "RUNNING", 1, 0, 4, 1),
        ("cached", "RUNNING", 4, 3, 19, 0),
        ("waits", "WAITING", 9, 0, 0, 0),
        ("stepped-back", "PREEMPTED", 6, 0, 0, 2),
    ]
    assert {n: (r.num_computed_tokens, r.status) for n, r in requests.items()} == before


@pytest.mark.task(2)
def test_an_empty_engine_has_no_seats(impl):
    assert list(impl.seats_of(orders_for(), {})) == []


def probed(impl, workload):
    r"""The seats of every step as the project's own probe sees them, and the engine's outputs."""
    engine = workload.engine()
    with Probe(engine) as probe:
        outputs = workload.play(engine, engine.step)
    steps = [
        [
            impl.Seat(
                row.req_id,
                "PREEMPTED" if row.preempted or row.status == "PREEMPTED" else running_or(row),
                row.num_tokens_before - (row.num_computed_tokens - row.num_scheduled_tokens),
                row.num_scheduled_tokens,
                row.num_computed_tokens,
                row.num_tokens_before - row.num_prompt_tokens,
            )
            for row in record.requests.values()
        ]
        for record in probe.records
    ]
    return steps, outputs


def running_or(row):
    r"""The probe notes a status before planning and after the step; a seat has the one between."""
    ran = row.num_scheduled_tokens or row.status_before == "RUNNING"
    return "RUNNING" if ran else row.status_before


@pytest.mark.task(2)
@examples(40)
@given(workload=workloads())
def test_the_seats_are_those_that_a_probe_sees(impl, workload):
    expected, _ = probed(impl, workload)
    engine, steps = workload.engine(), []
    plan = engine.scheduler.schedule

    def planned():
        orders = plan()
        steps.append(list(impl.seats_of(orders, engine.scheduler.requests)))
        return orders

    engine.scheduler.schedule = planned
    workload.play(engine, engine.step)
    assert steps == expected


# ---------------------------------------------------------------- task 3: what the budget did


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("wanted", "got", "num_output_tokens", "word"),
    [
        (1, 1, 3, "decode"),
        (1, 1, 0, "whole"),
        (40, 13, 0, "chunk"),
        (14, 13, 0, "chunk"),
        (13, 13, 0, "whole"),
        (2, 1, 0, "chunk"),
        (7, 7, 3, "whole"),
        (7, 6, 3, "chunk"),
        (2, 1, 3, "chunk"),
        (40, 0, 0, "deferred"),
        (1, 0, 3, "deferred"),
    ],
)
def test_what_the_budget_did(impl, wanted, got, num_output_tokens, word):
    seat = impl.Seat("r", "RUNNING", wanted, got, 50, num_output_tokens)
    assert impl.verdict(seat) == word


# ---------------------------------------------------------------- task 4: who came and went


def sitting(impl, **statuses):
    return [impl.Seat(req_id, status, 1, 1, 1, 1) for req_id, status in statuses.items()]


@pytest.mark.task(4)
def test_who_came_and_went(impl):
    steps = [
        sitting(impl, a="RUNNING", b="WAITING"),
        sitting(impl, a="RUNNING", b="RUNNING", c="WAITING"),
        sitting(impl, a="RUNNING", b="PREEMPTED", c="WAITING"),
        sitting(impl, b="RUNNING"),
        sitting(impl, d="RUNNING"),
        sitting(impl),
    ]
    assert [tuple(map(set, movement)) for movement in impl.movements(steps)] == [
        ({"a"}, set(), set()),
        ({"b"}, set(), set()),
        (set(), set(), {"b"}),
        ({"b"}, {"a", "c"}, set()),
        ({"d"}, {"b"}, set()),
        (set(), {"d"}, set()),
    ]


@pytest.mark.task(4)
def test_waiting_on_is_no_movement(impl):
    steps = [sitting(impl, a="WAITING", b="PREEMPTED"), sitting(impl, a="WAITING", b="PREEMPTED")]
    assert impl.movements(steps) == [(set(), set(), set())] * 2


@pytest.mark.task(4)
def test_no_steps_no_movements(impl):
    assert list(impl.movements([])) == []


@pytest.mark.task(4)
@examples(40)
@given(workload=workloads())
def test_everybody_leaves_once_and_joins_once_more_than_stepping_back(impl, workload):
    steps, _ = probed(impl, workload)
    found = impl.movements(steps)
    for index in range(len(workload.arrivals)):
        name = f"r{index}"
        joined = sum(name in movement.joined for movement in found)
        preempted = sum(name in movement.preempted for movement in found)
        assert joined == preempted + 1
        assert sum(name in movement.left for movement in found) == 1


# ---------------------------------------------------------------- task 5: the books


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("seats", "expected"),
    [
        ([], (0, 0, 0)),
        ([(9, 9), (1, 10), (1, 11), (1, 12)], (12, 0, 0)),
        ([(4, 4), (4, 8), (1, 9)], (9, 0, 0)),
        ([(0, 0), (0, 0), (9, 9)], (9, 0, 0)),
        ([(5, 13), (1, 14)], (6, 8, 0)),
        ([(9, 9), (1, 10), (0, 0), (0, 0), (11, 11)], (21, 0, 10)),
        ([(9, 9), (1, 10), (0, 0), (3, 11), (1, 12)], (14, 8, 10)),
        ([(5, 13), (0, 0), (2, 14), (0, 0), (7, 15)], (14, 28, 27)),
        ([(4, 4), (0, 4), (1, 5)], (5, 0, 0)),
    ],
)
def test_the_books_of_one_request(impl, seats, expected):
    other = impl.Seat("other", "RUNNING", 1, 1, 3, 1)
    steps = [[other, impl.Seat("r", "", 1, got, computed, 0), other] for got, computed in seats]
    assert impl.account([[other], *steps, [other]], "r") == expected


@pytest.mark.task(5)
@examples(60)
@given(workload=workloads())
def test_the_books_balance(impl, workload):
    r"""What is computed is the prompt and the answer but its last token, and what was lost."""
    steps, _ = probed(impl, workload)
    accounts = {f"r{i}": impl.account(steps, f"r{i}") for i in range(len(workload.arrivals))}
    for arrival, (through, cached, lost) in zip(workload.arrivals, accounts.values()):
        needed = arrival.num_prompt_tokens + arrival.max_tokens - 1
        assert through + cached - lost == needed
        assert cached == 0 or workload.sizes["prefix_caching"]
    total = sum(account.through_the_model for account in accounts.values())
    assert total == sum(seat.got for step in steps for seat in step)


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5)
def test_a_long_prompt_among_three_decodes(impl, truth):
    engine = scripted_engine(budget=16)
    for name in "abc":
        engine.add_request(request(name, range(ord(name), ord(name) + 5), max_tokens=12))
    with impl.Watch(engine.scheduler) as watch:
        engine.step()
        engine.add_request(request("long", range(500, 540), max_tokens=3))
        while engine.scheduler.has_requests():
            engine.step()
    crowded = [
        step
        for step in watch.steps
        if any(seat.req_id == "long" and seat.num_output_tokens == 0 for seat in step)
    ]
    verdicts = [[impl.verdict(seat) for seat in step] for step in crowded]
    truth("share", next(seat.got for seat in crowded[0] if seat.req_id == "long"))
    truth("missed", sum(seat.got == 0 for step in crowded for seat in step))
    truth("crowded-steps", len(crowded))
    assert verdicts == [["decode"] * 3 + ["chunk"]] * 3 + [["decode"] * 3 + ["whole"]]
    assert [sum(seat.got for seat in step) for step in crowded] == [16, 16, 16, 4]
    joined = [sorted(movement.joined) for movement in impl.movements(watch.steps)]
    assert joined[:3] == [["a", "b", "c"], ["long"], []]
    assert impl.account(watch.steps, "long") == (42, 0, 0)


@pytest.mark.task(1, 2, 5)
def test_the_last_token_never_goes_through_the_model(impl, truth):
    engine = scripted_engine(budget=16)
    engine.add_request(request("a", range(9), max_tokens=4))
    with impl.Watch(engine.scheduler) as watch:
        while engine.scheduler.has_requests():
            engine.step()
    truth("through-the-model", sum(seat.got for step in watch.steps for seat in step))
    assert impl.account(watch.steps, "a") == (12, 0, 0)


@pytest.mark.task(1, 2, 4, 5)
@examples(30)
@given(workload=workloads())
def test_your_window_shows_what_a_probe_sees(impl, workload):
    engine = workload.engine()
    with impl.Watch(engine.scheduler) as watch:
        workload.play(engine, engine.step)
    steps, _ = probed(impl, workload)
    assert watch.steps == steps
    assert "schedule" not in vars(engine.scheduler)


@pytest.mark.model
@pytest.mark.task(1, 2)
def test_a_real_model_makes_no_other_batches(impl):
    from labkit.real_model import real_engine

    def watch(engine):
        for index, num_prompt_tokens in enumerate([5, 30, 17]):
            prompt = range(1, num_prompt_tokens + 1)
            engine.add_request(request(f"r{index}", prompt, max_tokens=6))
        with impl.Watch(engine.scheduler) as watch:
            while engine.scheduler.has_requests():
                engine.step()
        return watch.steps

    assert watch(real_engine(budget=12).engine_core) == watch(scripted_engine(budget=12))
