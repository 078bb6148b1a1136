r"""Lab 03: your decisions and the engine's in the same place. `test_lab.py` has the tasks alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import RequestStatus
from mini_vllm.core.scheduler import Scheduler as EngineScheduler

from labkit.neighbour import beside
from labkit.properties import examples

made_up = beside(__file__, "made_up_requests")
SIZE = made_up.SIZE
memory_of, request, running_request = made_up.memory_of, made_up.request, made_up.running_request


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
