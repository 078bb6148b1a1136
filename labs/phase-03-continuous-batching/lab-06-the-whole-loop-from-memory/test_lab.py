r"""Lab 06: the loop, one method at a time; `test_waiting.py` has those that wait.

`test_decisions.py` holds it to real vLLM's.
"""

from __future__ import annotations

import pytest
from mini_vllm.core.request import RequestStatus

from labkit.neighbour import beside

made_up = beside(__file__, "made_up_requests")
make, request, runs = made_up.make, made_up.request, made_up.runs
ids, fill = made_up.ids, made_up.fill


# ---------------------------------------------------------------- task 1: those that run


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("budget", "threshold", "granted"),
    [
        (16, 0, {"a": 1, "b": 12, "c": 1, "d": 2}),
        (8, 0, {"a": 1, "b": 7}),
        (13, 0, {"a": 1, "b": 12}),
        (14, 0, {"a": 1, "b": 12, "c": 1}),
        (16, 5, {"a": 1, "b": 5, "c": 1, "d": 5}),
        (16, 1, {"a": 1, "b": 1, "c": 1, "d": 1}),
        (16, 12, {"a": 1, "b": 12, "c": 1, "d": 2}),
        (64, 0, {"a": 1, "b": 12, "c": 1, "d": 9}),
    ],
)
def test_in_the_order_of_the_list_from_one_budget(impl, budget, threshold, granted):
    scheduler = make(impl, long_prefill_token_threshold=threshold)
    for name, prompt, answer, computed in (("a", 5, 3, 7), ("b", 20, 0, 8), ("c", 4, 1, 4)):
        runs(scheduler, request(name, prompt, answer), computed)
    runs(scheduler, request("d", 13), 4)
    step = impl.Step(budget)
    scheduler.ask_running(step)
    assert step.granted == granted
    assert list(step.granted) == list(granted)
    assert step.budget == budget - sum(granted.values())
    assert ids(step.running) == list(granted)
    assert (step.new, step.resumed, step.preempted) == ([], [], [])


@pytest.mark.task(1)
def test_it_is_told_which_blocks_are_fresh(impl):
    scheduler = make(impl)
    runs(scheduler, request("a", 5, 2), 6)
    runs(scheduler, request("b", 4, 1), 4)
    runs(scheduler, request("c", 20), 4)
    before = {name: scheduler.cache.get_block_ids(name) for name in "abc"}
    step = impl.Step(12)
    scheduler.ask_running(step)
    for name in "abc":
        assert before[name] + list(step.fresh[name]) == scheduler.cache.get_block_ids(name)
    assert [len(step.fresh[name]) for name in "abc"] == [0, 1, 3]


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("tokens", "computed", "granted"), [(16, 15, None), (16, 16, None), (16, 10, 5), (15, 14, 1)]
)
def test_the_models_limit_and_who_stands_behind_it(impl, tokens, computed, granted):
    scheduler = make(impl, max_model_len=16)
    runs(scheduler, request("a", 10, tokens - 10), computed)
    runs(scheduler, request("b", 4, 1), 4)
    step = impl.Step(16)
    scheduler.ask_running(step)
    assert step.granted == ({} if granted is None else {"a": granted}) | {"b": 1}
    assert step.budget == 16 - (granted or 0) - 1


@pytest.mark.task(1)
def test_who_has_caught_up_is_passed_over(impl):
    scheduler = make(impl)
    runs(scheduler, request("a", 4), 4)
    runs(scheduler, request("b", 4, 1), 4)
    step = impl.Step(16)
    scheduler.ask_running(step)
    assert step.granted == {"b": 1}
    assert step.budget == 15


def given_way(scheduler, place):
    r"""A `give_way` of the tests: the victim stands at a fixed place of the list."""

    def give_way(step):
        victim = scheduler.running.pop(place)
        scheduler.cache.free(victim)
        step.preempted.append(victim)
        had_tokens = victim.request_id in step.granted
        if had_tokens:
            step.budget += step.granted.pop(victim.request_id)
            step.running.remove(victim)
            del step.fresh[victim.request_id]
        return victim, had_tokens

    return give_way


@pytest.mark.task(1)
def test_as_many_give_way_as_it_takes(impl):
    scheduler = make(impl, 8)
    runs(scheduler, request("a", 20), 8)
    for name in "bcd":
        runs(scheduler, request(name, 8, 1), 8)
    scheduler.give_way = given_way(scheduler, -1)
    step = impl.Step(16)
    scheduler.ask_running(step)
    assert ids(step.preempted) == ["d", "c"]
    assert step.granted == {"a": 12, "b": 1}
    assert ids(scheduler.running) == ["a", "b"]


@pytest.mark.task(1)
def test_who_gives_way_itself_ends_the_loop(impl):
    scheduler = make(impl, 6)
    runs(scheduler, request("a", 8), 6)
    runs(scheduler, request("b", 8, 1), 8)
    runs(scheduler, request("c", 7, 1), 7)
    scheduler.give_way = given_way(scheduler, 1)
    step = impl.Step(16)
    fill(scheduler)
    scheduler.ask_running(step)
    assert ids(step.preempted) == ["b"]
    assert step.granted == {"a": 2}, "c stood behind it, and is not asked in this step"
    assert "b" not in step.fresh
    assert step.budget == 14


@pytest.mark.task(1)
def test_nobody_is_skipped_when_somebody_before_gave_way(impl):
    scheduler = make(impl)
    for name, tokens in (("a", 8), ("b", 8), ("c", 7), ("d", 7)):
        runs(scheduler, request(name, tokens, 1), tokens - (name == "a"))
    scheduler.give_way = given_way(scheduler, 0)
    step = impl.Step(11)
    fill(scheduler, free=1)
    scheduler.ask_running(step)
    assert ids(step.preempted) == ["a"]
    assert step.granted == {"b": 1, "c": 1, "d": 1}


# ---------------------------------------------------------------- task 2: giving way


def crowd(impl, policy):
    scheduler = make(impl, policy=policy)
    for name, priority, arrival in (("a", 1, 3.0), ("b", 2, 1.0), ("c", 2, 5.0), ("d", 2, 5.0)):
        runs(scheduler, request(name, 9, 2, priority, arrival=arrival), 10)
    runs(scheduler, request("e", 9, 2, 0, arrival=9.0), 10)
    scheduler.add(request("w", 5, arrival=10.0))
    return scheduler


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("policy", "order", "waits"),
    [("fcfs", "edcba", "abcdew"), ("priority", "cdbae", "ewabcd")],
)
def test_who_gives_way_and_where_they_wait(impl, policy, order, waits):
    scheduler = crowd(impl, policy)
    step = impl.Step(9)
    for place, name in enumerate(order):
        victim, had_tokens = scheduler.give_way(step)
        assert victim.request_id == name
        assert had_tokens is False
        assert len(scheduler.running) == 4 - place
        assert victim not in scheduler.running
    assert "".join(ids(step.preempted)) == order
    assert "".join(ids(scheduler.waiting)) == waits
    assert step.budget == 9


@pytest.mark.task(2)
def test_a_victim_keeps_its_tokens_and_nothing_else(impl):
    scheduler = crowd(impl, "fcfs")
    free = scheduler.cache.block_pool.get_num_free_blocks()
    victim, _ = scheduler.give_way(impl.Step(9))
    assert victim.num_computed_tokens == 0
    assert victim.num_tokens == 11
    assert victim.status == RequestStatus.PREEMPTED
    assert victim.num_preemptions == 1
    assert scheduler.cache.get_block_ids("e") == []
    assert scheduler.cache.block_pool.get_num_free_blocks() == free + 3
    assert scheduler.requests["e"] is victim
    victim.num_preemptions = 4
    scheduler.waiting.pop_request()
    scheduler.running.append(victim)
    assert scheduler.give_way(impl.Step(9))[0].num_preemptions == 5


@pytest.mark.task(2)
def test_tokens_of_this_step_return_to_the_budget(impl):
    scheduler = crowd(impl, "priority")
    a, b, c = scheduler.running[:3]
    step = impl.Step(3, {"a": 1, "b": 1, "c": 4}, [a, b, c], fresh={"a": [], "b": [], "c": [7]})
    assert scheduler.give_way(step) == (c, True)
    assert step.budget == 7
    assert step.granted == {"a": 1, "b": 1}
    assert step.running == [a, b]
    assert step.fresh == {"a": [], "b": []}
    assert step.preempted == [c]


@pytest.mark.task(1, 2)
@pytest.mark.parametrize(
    ("policy", "granted", "gone"),
    [("fcfs", {"b": 1, "a": 5}, ["d"]), ("priority", {"a": 5, "d": 1}, ["b"])],
)
def test_policy_decides_who_pays(impl, truth, policy, granted, gone):
    scheduler = make(impl, 6, policy=policy)
    runs(scheduler, request("b", 6, 1, priority=1), 6)
    runs(scheduler, request("a", 8, 1, arrival=1.0), 4)
    runs(scheduler, request("d", 5, 1, arrival=2.0), 5)
    fill(scheduler)
    step = impl.Step(8)
    scheduler.ask_running(step)
    if policy == "priority":
        truth("refund", 8 - step.granted["a"])
    assert step.granted == granted
    assert step.budget == 8 - sum(granted.values())
    assert ids(step.preempted) == gone


# ---------------------------------------------------------------- task 4: the orders


@pytest.mark.task(4)
def test_orders_say_where_and_then_the_counters_move(impl):
    scheduler = make(impl)
    a, b = runs(scheduler, request("a", 5, 3), 7), runs(scheduler, request("b", 9, 2), 8)
    c, d = runs(scheduler, request("c", 6), 4), runs(scheduler, request("d", 9), 0)
    still, victim = runs(scheduler, request("s", 4), 4), request("v", 3)
    scheduler.cache.allocate_slots(d, 4)
    scheduler.finished = {"x", "y"}
    granted = {"a": 1, "b": 3, "c": 2, "d": 4}
    fresh = {"a": [], "b": [30]}
    step = impl.Step(0, dict(granted), [a, b], [d], [c], fresh, [victim])
    orders = scheduler.write_orders(step)
    assert orders.granted == granted
    assert list(orders.granted) == list("abcd")
    assert orders.starts == {"a": 7, "b": 8, "c": 4, "d": 0}
    tables = {name: scheduler.cache.get_block_ids(name) for name in "cd"}
    assert {name: list(found) for name, found in orders.blocks.items()} == fresh | tables
    assert (orders.new, orders.resumed, orders.preempted) == (["d"], ["c"], ["v"])
    assert set(orders.finished) == {"x", "y"}
    assert [one.num_computed_tokens for one in (a, b, c, d, still)] == [8, 11, 6, 4, 4]


@pytest.mark.task(4)
def test_an_end_is_reported_once(impl):
    scheduler = make(impl)
    scheduler.finished.add("x")
    orders = scheduler.write_orders(impl.Step(16))
    scheduler.finished.add("z")
    assert set(orders.finished) == {"x"}
    assert set(scheduler.write_orders(impl.Step(16)).finished) == {"z"}
    assert set(scheduler.write_orders(impl.Step(16)).finished) == set()


# ---------------------------------------------------------------- task 5: what was drawn


@pytest.mark.task(5)
def test_news_of_those_that_drew(impl):
    scheduler = make(impl)
    ended = []
    scheduler.end = ended.append
    wants = {"a": 2, "b": 9, "c": 9, "d": 9, "e": 9}
    for name, tokens in wants.items():
        runs(scheduler, request(name, 5, 1, max_tokens=tokens), 6)
    gone = scheduler.requests.pop("d")
    orders = impl.Orders(dict.fromkeys("bacde", 1), {}, {}, [], [], [], set())
    news = scheduler.update(orders, {"a": 70, "d": 71, "c": 2, "b": 72})
    assert [tuple(one) for one in news] == [("b", 72, None), ("a", 70, "length"), ("c", 2, "stop")]
    assert ids(ended) == ["a", "c"]
    answers = {name: list(one.output_token_ids)[1:] for name, one in scheduler.requests.items()}
    assert answers == {"a": [70], "b": [72], "c": [2], "e": []}
    assert gone.num_output_tokens == 1


@pytest.mark.task(5)
@pytest.mark.parametrize(("tokens", "reason"), [(14, None), (15, "length")])
def test_the_models_limit_ends_an_answer(impl, tokens, reason):
    scheduler = make(impl, max_model_len=16)
    ended = []
    scheduler.end = ended.append
    runs(scheduler, request("a", 5, tokens - 5), tokens - 1)
    orders = impl.Orders({"a": 1}, {}, {}, [], [], [], set())
    assert [tuple(one) for one in scheduler.update(orders, {"a": 9})] == [("a", 9, reason)]
    assert len(ended) == (reason is not None)


# ---------------------------------------------------------------- task 6: letting go


@pytest.mark.task(6)
@pytest.mark.parametrize("policy", ["fcfs", "priority"])
@pytest.mark.parametrize("name", list("abcvwx"))
def test_nothing_is_left_of_it(impl, policy, name):
    scheduler = make(impl, policy=policy)
    for runner in "abc":
        runs(scheduler, request(runner, 9), 8)
    for waits in "vwx":
        scheduler.add(request(waits, 9))
    leaves = scheduler.requests[name]
    scheduler.finished.add("before")
    leaves.status = RequestStatus.FINISHED_ABORTED
    scheduler.end(leaves)
    assert ids(scheduler.running) == [one for one in "abc" if one != name]
    assert ids(scheduler.waiting) == [one for one in "vwx" if one != name]
    assert sorted(scheduler.requests) == [one for one in "abcvwx" if one != name]
    assert scheduler.finished == {"before", name}
    assert scheduler.cache.get_block_ids(name) == []
    held = 2 * sum(one != name for one in "abc")
    assert scheduler.cache.block_pool.get_num_free_blocks() == 41 - held


@pytest.mark.task(6)
def test_to_hang_up_twice_is_no_news(impl):
    scheduler = make(impl)
    runs(scheduler, request("a", 9), 8)
    scheduler.abort("a")
    scheduler.abort("a")
    scheduler.abort("never heard of")
    assert scheduler.finished == {"a"}
    assert scheduler.requests == {}
