r"""Lab 01: what one step of a scheduler owes to everybody, and to the engine beside it."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request as EngineRequest
from mini_vllm.core.scheduler import Scheduler as EngineScheduler
from mini_vllm.sampling_params import SamplingParams

from labkit.properties import examples

GAME = [(1, "a", 5, 3), (1, "b", 14, 3), (2, "c", 3, 3), (3, "d", 6, 3)]
TWO_SEATS = [(1, "a", 4, 3), (1, "b", 20, 3), (2, "c", 3, 3), (3, "d", 6, 3)]


def request(impl, name, num_tokens, num_computed_tokens=0):
    made = impl.Request(name, list(range(num_tokens)))
    made.num_computed_tokens = num_computed_tokens
    return made


def counters(requests):
    return [(r.request_id, r.num_tokens, r.num_computed_tokens) for r in requests]


# ---------------------------------------------------------------- task 1: those who run


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("budget", "grants", "left"),
    [
        (9, {"a": 1, "b": 6, "c": 1}, 1),
        (8, {"a": 1, "b": 6, "c": 1}, 0),
        (7, {"a": 1, "b": 6}, 0),
        (6, {"a": 1, "b": 5}, 0),
        (1, {"a": 1}, 0),
        (0, {}, 0),
    ],
)
def test_each_gets_what_it_lacks_while_there_is_something_left(impl, budget, grants, left):
    running = [request(impl, "a", 4, 3), request(impl, "b", 10, 4), request(impl, "c", 8, 7)]
    before = counters(running)
    plan = impl.Plan(budget)
    impl.serve_running(plan, running)
    assert list(plan.grants.items()) == list(grants.items())
    assert plan.left == left
    assert plan.new == [], "who runs already is nobody new"
    assert counters(running) == before, "planning moves no counter"


@pytest.mark.task(1)
def test_zero_for_one_is_not_zero_for_those_behind(impl):
    running = [request(impl, "a", 4, 4), request(impl, "b", 10, 9), request(impl, "c", 5, 5)]
    plan = impl.Plan(3)
    impl.serve_running(plan, running)
    assert plan.grants == {"b": 1}
    assert plan.left == 2


@pytest.mark.task(1)
def test_what_was_granted_before_stays(impl):
    plan = impl.Plan(4, {"x": 6})
    impl.serve_running(plan, [request(impl, "a", 9, 2)])
    assert plan.grants == {"x": 6, "a": 4}
    assert plan.left == 0


# ---------------------------------------------------------------- task 2: those who wait


def admitted(impl, budget, seats, *, running=(), waiting=(("a", 5), ("b", 14), ("c", 2))):
    plan = impl.Plan(budget)
    queue = deque(request(impl, name, count) for name, count in waiting)
    run = [request(impl, name, 3, 3) for name in running]
    everybody = [*run, *queue]
    before = counters(everybody)
    impl.admit_waiting(plan, queue, run, seats)
    assert counters(everybody) == before, "planning moves no counter"
    return plan, [r.request_id for r in run], [r.request_id for r in queue]


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("budget", "grants", "left"),
    [
        (30, {"a": 5, "b": 14, "c": 2}, 9),
        (21, {"a": 5, "b": 14, "c": 2}, 0),
        (20, {"a": 5, "b": 14, "c": 1}, 0),
        (19, {"a": 5, "b": 14}, 0),
        (6, {"a": 5, "b": 1}, 0),
        (5, {"a": 5}, 0),
        (3, {"a": 3}, 0),
        (0, {}, 0),
    ],
)
def test_the_queue_is_served_from_its_head(impl, budget, grants, left):
    plan, running, waiting = admitted(impl, budget, seats=8)
    assert list(plan.grants.items()) == list(grants.items())
    assert (plan.left, plan.new, running) == (left, list(grants), list(grants))
    assert waiting == ["a", "b", "c"][len(grants) :], "who gets nothing is not admitted"


@pytest.mark.task(2)
@pytest.mark.parametrize(("seats", "new"), [(5, "abc"), (4, "ab"), (3, "a"), (2, ""), (1, "")])
def test_nobody_is_admitted_without_a_seat(impl, seats, new):
    plan, running, waiting = admitted(impl, 30, seats, running=("x", "y"))
    assert plan.new == list(new)
    assert running == ["x", "y", *new], "newcomers stand behind those who run"
    assert waiting == list("abc")[len(new) :]
    assert list(plan.grants) == list(new)


@pytest.mark.task(2)
def test_a_small_one_does_not_overtake(impl):
    plan, _, waiting = admitted(impl, 4, 8, waiting=(("big", 40), ("small", 2)))
    assert plan.grants == {"big": 4}
    assert waiting == ["small"]


@pytest.mark.task(2)
def test_who_has_computed_something_already_needs_the_rest_alone(impl):
    plan, queue, running = impl.Plan(9), deque([request(impl, "a", 8, 5)]), []
    impl.admit_waiting(plan, queue, running, 2)
    assert plan.grants == {"a": 3}
    assert plan.left == 6


@pytest.mark.task(2)
def test_newcomers_are_added_to_what_was_granted_before(impl):
    plan, queue, running = impl.Plan(2, {"x": 6}), deque([request(impl, "a", 8)]), []
    impl.admit_waiting(plan, queue, running, 2)
    assert plan.grants == {"x": 6, "a": 2}


# ---------------------------------------------------------------- task 3: the orders


def planned(impl):
    requests = {
        "a": request(impl, "a", 6, 5),
        "idle": request(impl, "idle", 6, 2),
        "b": request(impl, "b", 9, 4),
        "c": request(impl, "c", 3),
    }
    return impl.Plan(2, {"b": 5, "a": 1, "c": 2}, ["c"]), requests


@pytest.mark.task(3)
def test_the_orders_say_how_many_tokens_and_from_where(impl):
    plan, requests = planned(impl)
    before = counters(requests.values())
    orders = impl.write_orders(plan, requests)
    assert list(orders.grants.items()) == [("b", 5), ("a", 1), ("c", 2)]
    assert list(orders.starts.items()) == [("b", 4), ("a", 5), ("c", 0)]
    assert orders.total == 8
    assert counters(requests.values()) == before
    assert (plan.left, plan.new) == (2, ["c"])


@pytest.mark.task(3)
def test_only_newcomers_bring_their_prompt(impl):
    plan, requests = planned(impl)
    assert impl.write_orders(plan, requests).prompts == {"c": [0, 1, 2]}
    plan.new.clear()
    assert impl.write_orders(plan, requests).prompts == {}


@pytest.mark.task(3)
def test_orders_are_a_message_and_do_not_change(impl):
    plan, requests = planned(impl)
    orders = impl.write_orders(plan, requests)
    plan.grants.clear()
    plan.new.append("a")
    requests["c"].prompt_token_ids.append(99)
    requests["a"].num_computed_tokens += 1
    assert orders.grants == {"b": 5, "a": 1, "c": 2}
    assert orders.prompts == {"c": [0, 1, 2]}
    assert orders.starts["a"] == 5


@pytest.mark.task(3)
def test_a_step_may_be_empty(impl):
    orders = impl.write_orders(impl.Plan(7), {})
    assert (orders.grants, orders.starts, orders.prompts, orders.total) == ({}, {}, {}, 0)


# ---------------------------------------------------------------- task 4: the counters


@pytest.mark.task(4)
def test_the_counter_moves_by_the_grant_and_who_catches_up_draws(impl):
    _, requests = planned(impl)
    orders = impl.Orders({"b": 5, "a": 1, "c": 2}, {"b": 4, "a": 5, "c": 0}, {}, 8)
    assert impl.count_as_computed(orders, requests) == {"a", "b"}
    assert {r.request_id: r.num_computed_tokens for r in requests.values()} == {
        "a": 6,
        "idle": 2,
        "b": 9,
        "c": 2,
    }
    assert [r.num_tokens for r in requests.values()] == [6, 6, 9, 3], "nothing is drawn yet"


@pytest.mark.task(4)
def test_a_piece_of_a_prompt_draws_nothing(impl):
    requests = {"a": request(impl, "a", 10)}
    draws = [
        impl.count_as_computed(impl.Orders({"a": 4}, {"a": start}, {}, 4), requests)
        for start in (0, 4)
    ]
    assert draws == [set(), set()]
    assert impl.count_as_computed(impl.Orders({"a": 2}, {"a": 8}, {}, 2), requests) == {"a"}


@pytest.mark.task(4)
def test_who_is_not_in_the_step_draws_nothing(impl):
    requests = {"caught-up": request(impl, "caught-up", 4, 4)}
    assert impl.count_as_computed(impl.Orders({}, {}, {}, 0), requests) == set()


# ---------------------------------------------------------------- all together


def engine_scheduler(budget, seats):
    r"""The engine's own, with so much memory that it never says no."""
    return EngineScheduler(
        SchedulerConfig(max_model_len=256, max_num_batched_tokens=budget, max_num_seqs=seats),
        CacheConfig(block_size=4, enable_prefix_caching=False),
        num_gpu_blocks=1000,
    )


def play(engine, arrivals):
    r"""Run the engine's scheduler; yields its orders before each step's result comes in."""
    step = 0
    while step < max(arrival[0] for arrival in arrivals) or engine.has_unfinished_requests():
        step += 1
        for due, name, length, answer in arrivals:
            if due == step:
                params = SamplingParams(max_tokens=answer, ignore_eos=True)
                engine.add_request(EngineRequest(name, list(range(length)), params, step))
        orders = engine.schedule()
        yield step, orders
        names = list(orders.num_scheduled_tokens)
        drawn = [
            [7] if engine.requests[n].num_computed_tokens == engine.requests[n].num_tokens else []
            for n in names
        ]
        index = {name: i for i, name in enumerate(names)}
        engine.update_from_output(orders, ModelRunnerOutput(names, index, drawn))


def compare(impl, budget, seats, arrivals):
    r"""Both schedulers on one list of arrivals: the same step, in every step."""
    mine, theirs = impl.Scheduler(budget, seats), engine_scheduler(budget, seats)
    for step, expected in play(theirs, arrivals):
        for due, name, length, answer in arrivals:
            if due == step:
                mine.add_request(impl.Request(name, list(range(length)), answer))
        orders = mine.schedule()
        granted = list(expected.num_scheduled_tokens.items())
        assert list(orders.grants.items()) == granted, f"step {step}"
        assert orders.total == expected.total_num_scheduled_tokens <= budget
        news = expected.scheduled_new_reqs
        assert orders.prompts == {new.req_id: new.prompt_token_ids for new in news}, f"step {step}"
        old = expected.scheduled_cached_reqs
        starts = dict(zip(old.req_ids, old.num_computed_tokens))
        assert orders.starts == starts | {new.req_id: new.num_computed_tokens for new in news}
        assert counters(mine.running) == counters(theirs.running), f"step {step}"
        assert counters(mine.waiting) == counters(theirs.waiting), f"step {step}"
        mine.update()
    assert not mine.requests


@pytest.mark.task(1, 2, 3, 4)
@pytest.mark.parametrize("seats", [1, 2, 3, 8])
@pytest.mark.parametrize("budget", [8, 10, 64])
def test_the_game_is_played_as_the_engine_plays_it(impl, budget, seats):
    compare(impl, budget, seats, GAME)


@pytest.mark.task(1, 2, 3, 4)
def test_what_you_predicted(impl, truth):
    theirs, granted, counted = engine_scheduler(12, 2), {}, {}
    for step, orders in play(theirs, TWO_SEATS):
        granted[step] = dict(orders.num_scheduled_tokens)
        counted[step] = {n: r.num_computed_tokens for n, r in theirs.requests.items()}
    truth("second-in-step-1", granted[1]["b"])
    truth("counter-before-the-model", counted[1]["b"])
    first = {name: min(s for s in granted if name in granted[s]) for name in "abcd"}
    truth("small-one-waits", first["c"])
    truth("seat-comes-free", first["d"])
    compare(impl, 12, 2, TWO_SEATS)


@pytest.mark.task(1, 2, 3, 4)
@examples(80)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 30), st.integers(1, 6)),
        min_size=1,
        max_size=7,
    ),
    seats=st.integers(1, 4),
    more=st.integers(0, 12),
)
def test_your_step_is_the_engines_step(impl, arrivals, seats, more):
    named = [(due, str(n), *rest) for n, (due, *rest) in enumerate(arrivals)]
    compare(impl, seats + more, seats, named)


@pytest.mark.task(1, 2, 3, 4)
def test_the_printed_game_is_the_one_in_the_readme(impl, capsys):
    impl.main()
    picture = Path(__file__).with_name("steps.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().out == picture
