r"""Lab 03: what a preemption takes, and what it leaves. `test_engine.py` has the engine beside."""

from __future__ import annotations

import pytest
from mini_vllm.core.request import RequestStatus
from mini_vllm.core.request_queue import create_request_queue

from labkit.neighbour import beside

made_up = beside(__file__, "made_up_requests")
SIZE, names, free_blocks = made_up.SIZE, made_up.names, made_up.free_blocks
memory_of, request, running_request = made_up.memory_of, made_up.request, made_up.running_request


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
