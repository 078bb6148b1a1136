r"""Lab 06: who is let in. `test_lab.py` has the other methods."""

from __future__ import annotations

import pytest
from mini_vllm.core.request import RequestStatus

from labkit.neighbour import beside

made_up = beside(__file__, "made_up_requests")
make, request, runs = made_up.make, made_up.request, made_up.runs
ids, fill = made_up.ids, made_up.fill


# ---------------------------------------------------------------- task 3: admission


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("settings", "budget", "granted"),
    [
        ({}, 40, {"a": 10, "b": 7, "c": 12}),
        ({}, 12, {"a": 10, "b": 2}),
        ({}, 17, {"a": 10, "b": 7}),
        ({}, 10, {"a": 10}),
        ({}, 1, {"a": 1}),
        ({}, 0, {}),
        ({"max_num_seqs": 3}, 40, {"a": 10, "b": 7}),
        ({"max_num_seqs": 1}, 40, {}),
        ({"long_prefill_token_threshold": 4}, 10, {"a": 4, "b": 4, "c": 2}),
        ({"long_prefill_token_threshold": 1}, 10, {"a": 1, "b": 1, "c": 1}),
        ({"long_prefill_token_threshold": 10}, 40, {"a": 10, "b": 7, "c": 10}),
        ({"enable_chunked_prefill": False, "max_num_batched_tokens": 64}, 16, {"a": 10}),
        ({"enable_chunked_prefill": False, "max_num_batched_tokens": 64}, 17, {"a": 10, "b": 7}),
        ({"enable_chunked_prefill": False, "max_num_batched_tokens": 64}, 9, {}),
        (
            {
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": 64,
                "long_prefill_token_threshold": 6,
            },
            12,
            {"a": 6, "b": 6},
        ),
    ],
)
def test_in_the_queues_order_until_one_cannot(impl, settings, budget, granted):
    scheduler = make(impl, **settings)
    runs(scheduler, request("r", 4, 1), 5)
    for name, prompt in (("a", 10), ("b", 7), ("c", 12)):
        scheduler.add(request(name, prompt))
    step = impl.Step(budget)
    scheduler.ask_waiting(step)
    assert step.granted == granted
    assert list(step.granted) == list(granted)
    assert ids(step.new) == list(granted)
    assert ids(scheduler.running) == ["r", *granted]
    assert ids(scheduler.waiting) == [name for name in "abc" if name not in granted]
    assert step.budget == budget - sum(granted.values())
    assert all(one.status == RequestStatus.RUNNING for one in scheduler.running)
    assert all(one.num_computed_tokens == 0 for one in step.new)
    assert (step.running, step.resumed, step.fresh) == ([], [], {})


@pytest.mark.task(3)
def test_the_pool_has_just_proved_too_small(impl):
    scheduler = make(impl)
    scheduler.add(request("a", 4))
    step = impl.Step(16, preempted=[request("v", 4)])
    scheduler.ask_waiting(step)
    assert step.granted == {}
    assert ids(scheduler.waiting) == ["a"]


@pytest.mark.task(3)
@pytest.mark.parametrize(("reserve", "granted"), [(True, {}), (False, {"a": 8, "b": 3})])
def test_room_for_all_of_it_or_for_this_chunk(impl, reserve, granted):
    scheduler = make(impl, scheduler_reserve_full_isl=reserve, long_prefill_token_threshold=8)
    scheduler.add(request("a", 20))
    scheduler.add(request("b", 3))
    fill(scheduler, free=4)
    step = impl.Step(16)
    scheduler.ask_waiting(step)
    assert step.granted == granted, "b would fit either way, and overtakes nobody"


@pytest.mark.task(3)
def test_who_does_not_fit_stays_as_it_is(impl):
    scheduler = make(impl)
    waits = request("a", 20)
    scheduler.add(waits)
    fill(scheduler, free=4)
    scheduler.ask_waiting(impl.Step(16))
    assert (waits.status, waits.num_computed_tokens) == (RequestStatus.WAITING, 0)
    assert scheduler.running == []
    assert scheduler.cache.get_block_ids("a") == []
    assert scheduler.cache.block_pool.get_num_free_blocks() == 4


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("length", "budget", "hit", "granted"),
    [(12, 16, 8, 4), (13, 16, 12, 1), (20, 16, 12, 8), (20, 5, 12, 5), (4, 16, 0, 4)],
)
def test_what_is_cached_is_not_asked_for(impl, length, budget, hit, granted):
    scheduler = make(impl, long_prefill_token_threshold=8)
    before = request("a", 12)
    scheduler.add(before)
    scheduler.cache.allocate_slots(before, 12)
    table = scheduler.cache.get_block_ids("a")
    scheduler.cache.free(before)
    scheduler.waiting.pop_request()
    again = request("also", length)
    scheduler.add(again)
    step = impl.Step(budget)
    scheduler.ask_waiting(step)
    assert again.num_computed_tokens == hit
    assert step.granted == {"also": granted}
    assert step.budget == budget - granted
    assert scheduler.cache.get_block_ids("also")[: hit // 4] == table[: hit // 4]


@pytest.mark.task(3)
def test_who_comes_back_reads_its_answer_too(impl):
    scheduler = make(impl)
    back = request("a", 6, 3)
    scheduler.add(back)
    back.status, back.num_preemptions = RequestStatus.PREEMPTED, 1
    scheduler.add(request("b", 2))
    step = impl.Step(16)
    scheduler.ask_waiting(step)
    assert step.granted == {"a": 9, "b": 2}
    assert ids(step.resumed) == ["a"]
    assert ids(step.new) == ["b"]
    assert back.status == RequestStatus.RUNNING
