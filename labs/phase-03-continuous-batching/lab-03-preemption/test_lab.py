r"""Lab 03: what a preemption takes, what it leaves, and what the engine does in the same place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import RequestStatus
from mini_vllm.core.request_queue import create_request_queue
from mini_vllm.core.scheduler import Scheduler as EngineScheduler

from labkit.properties import examples

SIZE = 4


def memory_of(blocks, caching=True, block_size=SIZE):
    r"""A pool with so many blocks to hand out."""
    return KVCacheManager(blocks + 1, block_size, max_model_len=128, enable_caching=caching)


def request(impl, memory, name, num_tokens=6, *, priority=0, arrival=0.0, answer=8, family=None):
    start = 100 * (ord(name[0]) if family is None else family)
    prompt = range(start, start + num_tokens)
    return impl.make_request(name, prompt, answer, memory, priority=priority, arrival_time=arrival)


def running_request(impl, memory, name, num_tokens=6, **options):
    r"""A request that has read its prompt, and holds the blocks for it."""
    made = request(impl, memory, name, num_tokens, **options)
    assert memory.allocate_slots(made, num_tokens) is not None
    made.status, made.num_computed_tokens = RequestStatus.RUNNING, num_tokens
    return made


def names(requests):
    return "".join(one.request_id for one in requests)


def free_blocks(memory):
    return memory.block_pool.get_num_free_blocks()


# ---------------------------------------------------------------- task 1: the victim


def some(impl, *ranks):
    memory = memory_of(40)
    return [
        request(impl, memory, name, priority=priority, arrival=arrival)
        for name, (priority, arrival) in zip("abcdef", ranks)
    ]


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("ranks", "fcfs", "priority"),
    [
        ([(0, 1), (5, 2), (0, 3)], "c", "b"),
        ([(5, 1), (0, 2), (1, 3)], "c", "a"),
        ([(1, 9), (1, 2), (1, 3)], "c", "a"),
        ([(1, 1), (1, 2), (1, 3)], "c", "c"),
        ([(2, 3), (2, 8), (0, 9)], "c", "b"),
        ([(2, 3), (2, 3), (0, 9)], "c", "a"),
        ([(-1, 7)], "a", "a"),
    ],
)
def test_the_last_admitted_or_the_least_urgent(impl, ranks, fcfs, priority):
    running = some(impl, *ranks)
    before = names(running)
    assert impl.choose_victim(running, "fcfs").request_id == fcfs
    assert impl.choose_victim(running, "priority").request_id == priority
    assert names(running) == before, "choosing takes nobody away"


# ---------------------------------------------------------------- task 2: back to the queue


@pytest.mark.task(2)
def test_it_keeps_its_tokens_and_nothing_else(impl):
    memory, waiting = memory_of(6), create_request_queue("fcfs")
    victim, other = (running_request(impl, memory, name) for name in "vo")
    victim.append_output_token_ids([7, 8])
    impl.give_back(victim, waiting, memory)
    assert victim.status == RequestStatus.PREEMPTED
    assert victim.num_computed_tokens == 0
    assert victim.num_preemptions == 1
    assert list(victim.output_token_ids) == [7, 8]
    assert memory.get_block_ids("v") == []
    assert free_blocks(memory) == 4, "two blocks are the other one's"
    assert other.status == RequestStatus.RUNNING
    assert names(waiting) == "v"


@pytest.mark.task(2)
@pytest.mark.parametrize(("policy", "order"), [("fcfs", "vxy"), ("priority", "xvy")])
def test_who_waited_once_does_not_stand_last_again(impl, policy, order):
    memory, waiting = memory_of(20), create_request_queue(policy)
    for name, priority in (("x", 1), ("y", 6)):
        waiting.add_request(request(impl, memory, name, priority=priority))
    victim = running_request(impl, memory, "v", priority=3)
    impl.give_back(victim, waiting, memory)
    assert names(waiting) == order


@pytest.mark.task(2)
def test_every_preemption_is_counted(impl):
    memory = memory_of(20)
    victim = running_request(impl, memory, "v")
    victim.num_preemptions = 3
    impl.give_back(victim, create_request_queue("fcfs"), memory)
    assert victim.num_preemptions == 4


# ---------------------------------------------------------------- task 3: out of the step


@pytest.mark.task(3)
def test_its_tokens_go_back_to_the_budget(impl):
    victim = request(impl, memory_of(20), "v")
    step = impl.Step(5, {"a": 1, "v": 3, "b": 2})
    assert impl.take_out(victim, step) is True
    assert step.left == 8
    assert list(step.grants.items()) == [("a", 1), ("b", 2)]
    assert names(step.preempted) == "v"


@pytest.mark.task(3)
def test_who_was_not_in_the_step_changes_no_sum(impl):
    memory = memory_of(20)
    step = impl.Step(5, {"a": 1})
    assert impl.take_out(request(impl, memory, "v"), step) is False
    assert impl.take_out(request(impl, memory, "w"), step) is False
    assert (step.left, step.grants) == (5, {"a": 1})
    assert names(step.preempted) == "vw"


# ---------------------------------------------------------------- task 4: room


class Refusing:
    r"""A memory that says no a number of times, and writes down what it was asked for."""

    def __init__(self, refusals, answer=("block",)):
        self.refusals, self.answer, self.asked = refusals, answer, []

    def allocate_slots(self, request, num_new_tokens):
        self.asked.append((request.request_id, num_new_tokens))
        self.refusals -= 1
        return None if self.refusals >= 0 else self.answer


def victims(impl, asker, script):
    r"""What `preempt_one` gives, one after the other: a capital letter was in the step."""
    memory = memory_of(40)
    made = {name: request(impl, memory, name) for name in script.lower()}
    made[asker.request_id] = asker
    rest = iter(script)

    def preempt_one():
        name = next(rest, None)
        assert name is not None, "there was nobody left to preempt"
        return made[name.lower()], name.isupper()

    return preempt_one, rest


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("refusals", "script", "room", "before", "asked"),
    [
        (0, "", True, 0, 1),
        (1, "x", True, 0, 2),
        (1, "X", True, 1, 2),
        (3, "XyZ", True, 2, 4),
        (9, "a", False, 0, 1),
        (9, "xa", False, 0, 2),
        (9, "XYa", False, 2, 3),
        (1, "a", False, 0, 1),
    ],
)
def test_one_after_the_other_until_there_is_room(impl, refusals, script, room, before, asked):
    asker, memory = request(impl, memory_of(9), "a"), Refusing(refusals)
    preempt_one, rest = victims(impl, asker, script)
    found = impl.make_room(asker, 3, memory, preempt_one)
    assert found == (("block",) if room else None, before)
    assert memory.asked == [("a", 3)] * asked
    assert list(rest) == [], "somebody should have gone who did not"


@pytest.mark.task(4)
def test_no_new_block_is_not_a_refusal(impl):
    asker = request(impl, memory_of(9), "a")
    preempt_one, _ = victims(impl, asker, "")
    assert impl.make_room(asker, 1, Refusing(0, ()), preempt_one) == ((), 0)


@pytest.mark.task(4)
def test_a_real_pool_is_asked_again_after_each_victim(impl):
    memory = memory_of(6)
    first, second, asker = (running_request(impl, memory, name, 8) for name in "fsa")
    gone = []

    def preempt_one():
        gone.append([second, first][len(gone)])
        memory.free(gone[-1])
        return gone[-1], False

    blocks, before = impl.make_room(asker, 9, memory, preempt_one)
    assert (len(blocks), before, names(gone)) == (3, 0, "sf")


# ---------------------------------------------------------------- task 5: who may come in


def door(impl, *, left=20, seats=8, blocks=40, lengths=(6, 9, 3), running="r", went=(), **step):
    r"""A queue `a`, `b`, `c` in front of a pool; returns what `admit` made of it."""
    memory, waiting = memory_of(blocks), create_request_queue("fcfs")
    inside = [running_request(impl, memory, name) for name in running]
    for name, length in zip("abc", lengths):
        waiting.add_request(request(impl, memory, name, length))
    plan = impl.Step(left, **step)
    plan.preempted += [inside[0]] * len(went)
    impl.admit(plan, waiting, inside, memory, seats)
    return plan, inside, waiting, memory


@pytest.mark.task(5)
def test_after_a_preemption_nobody_comes_in(impl):
    plan, inside, waiting, memory = door(impl, went="x")
    assert (plan.grants, plan.left, plan.admitted) == ({}, 20, [])
    assert (names(inside), names(waiting)) == ("r", "abc")
    assert free_blocks(memory) == 38


@pytest.mark.task(5)
def test_from_the_head_while_there_is_budget(impl):
    plan, inside, waiting, memory = door(impl, left=10, grants={"r": 1})
    assert list(plan.grants.items()) == [("r", 1), ("a", 6), ("b", 4)]
    assert plan.left == 0
    assert names(plan.admitted) == "ab"
    assert (names(inside), names(waiting)) == ("rab", "c")
    assert [one.status for one in inside] == [RequestStatus.RUNNING] * 3
    assert [one.num_computed_tokens for one in inside[1:]] == [0, 0]
    assert len(memory.get_block_ids("b")) == 1, "only the chunk's blocks are taken"


@pytest.mark.task(5)
def test_no_budget_no_newcomer(impl):
    plan, inside, waiting, _ = door(impl, left=0)
    assert (plan.grants, names(inside), names(waiting)) == ({}, "r", "abc")


@pytest.mark.task(5)
@pytest.mark.parametrize(("seats", "new"), [(1, ""), (2, "a"), (3, "ab"), (4, "abc"), (5, "abc")])
def test_no_seat_no_newcomer(impl, seats, new):
    plan, inside, _, _ = door(impl, seats=seats)
    assert (names(plan.admitted), names(inside)) == (new, "r" + new)


@pytest.mark.task(5)
def test_who_does_not_fit_stays_and_nobody_overtakes(impl):
    plan, inside, waiting, memory = door(impl, blocks=6, lengths=(4, 30, 2), left=40)
    assert (names(inside), names(waiting)) == ("ra", "bc")
    assert plan.grants == {"a": 4}
    assert plan.left == 36
    assert waiting.peek_request().status == RequestStatus.WAITING
    assert memory.get_block_ids("b") == []


@pytest.mark.task(5)
def test_the_whole_prompt_must_fit_although_only_a_chunk_is_taken(impl):
    plan, inside, waiting, _ = door(impl, blocks=6, lengths=(17, 1), left=4, running="r")
    assert (plan.grants, names(waiting)) == ({}, "ab")
    plan, inside, waiting, _ = door(impl, blocks=6, lengths=(16, 1), left=4, running="r")
    assert (plan.grants, names(inside)) == ({"a": 4}, "ra")


@pytest.mark.task(5)
@pytest.mark.parametrize(("left", "share"), [(20, 5), (3, 3)])
def test_what_the_cache_holds_counts_as_computed(impl, left, share):
    r"""A request returns with its answer, and finds the blocks that it left."""
    memory, waiting, inside = memory_of(9), create_request_queue("fcfs"), []
    back = running_request(impl, memory, "b", 10)
    back.append_output_token_ids([7, 8, 9])
    memory.free(back)
    back.status, back.num_computed_tokens = RequestStatus.PREEMPTED, 0
    waiting.prepend_request(back)
    plan = impl.Step(left)
    impl.admit(plan, waiting, inside, memory, 4)
    assert plan.grants == {"b": share}
    assert back.num_computed_tokens == 8
    assert back.status == RequestStatus.RUNNING
    assert plan.left == left - share
    assert len(memory.get_block_ids("b")) == -(-(8 + share) // SIZE)


# ---------------------------------------------------------------- task 6: computed again


@pytest.mark.task(6)
@pytest.mark.parametrize("num_overwritten", range(7))
@pytest.mark.parametrize(("prompt", "answer"), [(20, 7), (3, 1), (8, 4), (9, 4), (16, 8), (5, 6)])
def test_what_the_memory_does_not_find_is_computed(impl, prompt, answer, num_overwritten):
    memory = memory_of(12)
    back = running_request(impl, memory, "b", prompt)
    for token in range(answer):
        back.append_output_token_ids(7000 + token)
        if token < answer - 1:
            memory.allocate_slots(back, 1)
            back.num_computed_tokens += 1
    full = back.num_computed_tokens // SIZE
    memory.free(back)
    back.num_computed_tokens = 0
    untouched = 12 - -(-(prompt + answer - 1) // SIZE)
    spoiler = request(impl, memory, "s", SIZE * min(12, untouched + num_overwritten))
    memory.allocate_slots(spoiler, spoiler.num_tokens)
    intact = memory.get_computed_blocks(back)[1] // SIZE
    assert intact <= full
    expected = back.num_tokens - intact * SIZE
    assert impl.num_computed_again(prompt, answer, intact, SIZE) == expected


@pytest.mark.task(6)
@pytest.mark.parametrize("num_tokens", range(1, 14))
def test_the_last_token_is_always_computed(impl, num_tokens):
    memory = memory_of(12)
    first = running_request(impl, memory, "b", num_tokens, family=7)
    again = request(impl, memory, "c", num_tokens, family=7)
    expected = num_tokens - memory.get_computed_blocks(again)[1]
    intact = memory.num_cached_block[first.request_id]
    assert impl.num_computed_again(num_tokens, 0, intact, SIZE) == expected >= 1
    assert impl.num_computed_again(num_tokens, 0, 0, SIZE) == num_tokens


# ---------------------------------------------------------------- all together


def engine_of(blocks, *, budget, seats, policy="fcfs", caching=True, block_size=SIZE):
    return EngineScheduler(
        SchedulerConfig(
            max_model_len=128, max_num_batched_tokens=budget, max_num_seqs=seats, policy=policy
        ),
        CacheConfig(block_size=block_size, enable_prefix_caching=caching),
        num_gpu_blocks=blocks + 1,
    )


def token(one):
    return 50_000 + 7 * one.num_tokens


def engine_step(engine):
    r"""One step of the engine's scheduler, with its tokens drawn."""
    orders = engine.schedule()
    ids = list(orders.num_scheduled_tokens)
    seen = [engine.requests[name] for name in ids]
    drawn = [[token(r)] if r.num_computed_tokens == r.num_tokens else [] for r in seen]
    index = {name: place for place, name in enumerate(ids)}
    yield orders
    engine.update_from_output(orders, ModelRunnerOutput(ids, index, drawn))


def compare(impl, blocks, arrivals, *, policy, caching=True, **sizes):
    r"""Your scheduler and the engine's over pools of one size: the same in every step."""
    theirs = engine_of(blocks, policy=policy, caching=caching, **sizes)
    memory = memory_of(blocks, caching, sizes.get("block_size", SIZE))
    mine = impl.Scheduler(memory, sizes["budget"], sizes["seats"], policy)
    number = num_preempted = 0
    while number < 9 or theirs.has_unfinished_requests():
        number += 1
        assert number < 400, "the engine itself does not come to an end"
        for place, (due, name, length, answer, priority, family) in enumerate(arrivals):
            if due == number:
                options = {"priority": priority, "arrival": number + place / 100, "family": family}
                mine.waiting.add_request(
                    request(impl, memory, name, length, answer=answer, **options)
                )
                theirs.add_request(
                    request(impl, theirs.kv_cache_manager, name, length, answer=answer, **options)
                )
        for orders in engine_step(theirs):
            step = mine.schedule()
            granted = list(orders.num_scheduled_tokens.items())
            assert list(step.grants.items()) == granted, f"step {number}"
            assert {r.request_id for r in step.preempted} == orders.preempted_req_ids
            assert step.left == sizes["budget"] - orders.total_num_scheduled_tokens
            for ours, engines in ((mine.running, theirs.running), (mine.waiting, theirs.waiting)):
                assert [repr(one) for one in ours] == [repr(one) for one in engines]
                assert [r.num_preemptions for r in ours] == [r.num_preemptions for r in engines]
            for one in mine.running:
                held = theirs.kv_cache_manager.get_block_ids(one.request_id)
                assert memory.get_block_ids(one.request_id) == held, f"step {number}"
            num_preempted += len(step.preempted)
            mine.update(token)
    assert not mine.running
    assert not mine.waiting
    return num_preempted


@pytest.mark.task(1, 2, 3, 4, 5)
@pytest.mark.parametrize("policy", ["fcfs", "priority"])
@pytest.mark.parametrize("caching", [True, False])
def test_under_pressure_you_decide_as_the_engine_does(impl, policy, caching):
    arrivals = [
        (1, "a", 5, 12, 9, 1),
        (1, "b", 9, 14, 3, 2),
        (2, "c", 7, 11, 0, 3),
        (3, "d", 8, 16, 5, 2),
        (4, "e", 2, 18, 1, 4),
    ]
    went = compare(impl, 8, arrivals, policy=policy, caching=caching, budget=16, seats=4)
    assert went > 2, "somebody must have had to go, or this proves nothing"


@pytest.mark.task(1, 2, 3, 4, 5)
@examples(60)
@given(
    arrivals=st.lists(
        st.tuples(
            st.integers(1, 4),
            st.integers(3, 12),
            st.integers(5, 16),
            st.integers(0, 2),
            st.integers(1, 3),
        ),
        min_size=4,
        max_size=6,
    ),
    block_size=st.sampled_from([2, 4]),
    slots=st.integers(28, 40),
    seats=st.integers(3, 5),
    more=st.integers(0, 20),
    policy=st.sampled_from(["fcfs", "priority"]),
    caching=st.booleans(),
)
def test_some_workload_would_tell_you_from_the_engine(
    impl, arrivals, block_size, slots, seats, more, policy, caching
):
    named = [(due, chr(97 + n), *rest) for n, (due, *rest) in enumerate(arrivals)]
    sizes = {"budget": seats + more, "seats": seats, "block_size": block_size}
    compare(impl, slots // block_size, named, policy=policy, caching=caching, **sizes)


RANKS = [("A", 0, 1.0), ("B", 5, 2.0), ("C", 0, 3.0), ("D", 0, 4.0)]


@pytest.mark.task(1)
@pytest.mark.parametrize("policy", ["fcfs", "priority"])
def test_four_run_and_the_third_needs_a_block(impl, truth, policy):
    r"""A, B and D have a slot left in their last block, C has none, and the pool is empty."""
    engine = engine_of(8, budget=8, seats=4, policy=policy, caching=False)
    manager = engine.kv_cache_manager
    for name, priority, arrival in RANKS:
        length = 8 if name == "C" else 6
        made = running_request(impl, manager, name, length, priority=priority, arrival=arrival)
        made.append_output_token_ids(1)
        engine.requests[name] = made
        engine.running.append(made)
    expected = impl.choose_victim(engine.running, policy).request_id
    orders = engine.schedule()
    [victim] = orders.preempted_req_ids
    truth(f"{policy}-victim", victim)
    if policy == "priority":
        truth("moved-after-all", orders.total_num_scheduled_tokens)
    assert expected == victim


@pytest.mark.task(6)
@pytest.mark.parametrize(("caching", "id"), [(False, "recomputed-cold"), (True, "recomputed-warm")])
def test_a_request_that_returns_reads_its_own_answer(impl, truth, caching, id):
    engine = engine_of(20, budget=64, seats=4, caching=caching)
    engine.add_request(request(impl, engine.kv_cache_manager, "A", 20, answer=30))
    while engine.requests["A"].num_output_tokens < 7:
        for _ in engine_step(engine):
            pass
    victim = engine.running.pop()
    engine.kv_cache_manager.free(victim)
    victim.status, victim.num_computed_tokens = RequestStatus.PREEMPTED, 0
    engine.waiting.prepend_request(victim)
    computed = 0
    while victim.num_output_tokens == 7:
        for orders in engine_step(engine):
            computed += orders.total_num_scheduled_tokens
    truth(id, computed)
    assert impl.num_computed_again(20, 7, 6 if caching else 0, SIZE) == computed


@pytest.mark.task(1, 2, 3, 4, 5)
def test_the_printed_pool_is_the_one_in_the_readme(impl, capsys):
    impl.main()
    picture = Path(__file__).with_name("pool.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().out == picture
