"""A recording must be what the engine did: complete, consistent, and the same every time."""

from __future__ import annotations

import itertools
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from book.traces.arrivals import Arrival, record, tokens
from book.traces.recorder import Recorder
from book.traces.recording import STATUSES, Frame, Lane
from book.traces.registry import SCENARIOS, recorded
from mini_vllm.engine.llm_engine import LLMEngine

TO_COME, WAITING, RUNNING, PREEMPTED, FINISHED = range(len(STATUSES))
KINDS = {
    *("start", "arrive", "prompt", "hit", "decode", "preempt", "evict", "wait", "finish", "free"),
}


@pytest.fixture(params=sorted(SCENARIOS))
def recording(request):
    return recorded(request.param)


def lane_of(name: str, index: int = 0) -> Lane:
    return recorded(name).lanes[index]


# ---------------------------------------------------------------------- what must hold in any lane


def check_frame(lane: Lane, frame: Frame) -> None:
    pool = set(range(1, lane.num_blocks))
    held = {block for request in frame.requests for block in request.blocks}
    assert held | set(frame.queue) == pool
    assert not held & set(frame.queue)
    assert len(set(frame.queue)) == len(frame.queue)
    for block in range(lane.num_blocks):
        holders = sum(block in request.blocks for request in frame.requests)
        assert frame.refs[block] == holders
    assert frame.scheduled <= lane.budget
    assert sum(request.status == RUNNING for request in frame.requests) <= lane.seats
    for plan, request in zip(lane.requests, frame.requests, strict=True):
        assert plan.prompt <= request.tokens <= plan.prompt + plan.answer
        if request.status == RUNNING:
            assert len(request.blocks) == -(-request.computed // lane.block_size)
        else:
            assert request.blocks == []
        if request.status in (TO_COME, WAITING, PREEMPTED):
            assert request.computed == 0
            assert request.scheduled == 0
        else:
            assert request.computed == request.before + request.cached + request.scheduled
            assert request.computed <= request.tokens
    for block, name in enumerate(frame.names):
        if name is None:
            continue
        owner, index = name
        if frame.refs[block]:
            # Whoever holds a named block holds it at the place that the name says.
            assert all(r.blocks.index(block) == index for r in frame.requests if block in r.blocks)
        assert (index + 1) * lane.block_size <= frame.requests[owner].tokens


def check_change(before: Frame, after: Frame) -> None:
    assert after.step == before.step + 1
    for old, new in zip(before.requests, after.requests, strict=True):
        assert new.tokens == old.tokens + new.drawn
        assert new.drawn == (new.scheduled > 0 and new.computed == old.tokens)
        if old.status == new.status == RUNNING:
            assert new.blocks[: len(old.blocks)] == old.blocks
            assert new.before == old.computed
        assert (old.status, new.status) not in {
            (RUNNING, TO_COME),
            (RUNNING, WAITING),
            (FINISHED, RUNNING),
            (PREEMPTED, WAITING),
        }
    for block, mark in after.marks.items():
        was_free, is_free = before.refs[block] == 0, after.refs[block] == 0
        assert is_free == (mark == "freed")
        if mark == "evicted":
            assert before.names[block] is not None
        if mark == "hit":
            assert after.names[block] is not None
        if mark == "new":
            assert not was_free or before.names[block] is None
    # A block that changed hands, or became free, is marked.
    for block in range(1, len(after.refs)):
        if (before.refs[block] == 0) != (after.refs[block] == 0):
            assert block in after.marks
    # What stays in the queue keeps its order, and comes before what joined it.
    stayed = [block for block in before.queue if block in after.queue]
    unmarked = [block for block in stayed if block not in after.marks]
    assert [block for block in after.queue if block in unmarked] == unmarked
    joined = [block for block in after.queue if after.marks.get(block) == "freed"]
    if joined:
        assert after.queue[-len(joined) :] == joined


def check_events(lane: Lane, before: Frame | None, frame: Frame) -> None:
    assert frame.events
    assert {event.kind for event in frame.events} <= KINDS
    told = {kind: " ".join(e.text for e in frame.events if e.kind == kind) for kind in KINDS}
    for place, plan in enumerate(lane.requests):
        now = frame.requests[place]
        was = before.requests[place] if before else None
        if plan.arrives == frame.step:
            assert plan.name in told["arrive"]
        if now.scheduled:
            said = told["decode"] + told["prompt"] + told["hit"]
            assert plan.name in said
        if now.cached:
            assert plan.name in told["hit"]
            assert f"first {now.cached} tokens" in told["hit"]
        if now.status == FINISHED and was and was.status != FINISHED:
            assert plan.name in told["finish"]
            assert f"{plan.name} gives back" in told["free"]
        if now.status == PREEMPTED and was and was.status == RUNNING:
            assert f"so {plan.name}, admitted last" in told["preempt"]
        elif now.status in (WAITING, PREEMPTED) and frame.step >= plan.arrives:
            assert plan.name in told["wait"]
    evicted = [block for block, mark in frame.marks.items() if mark == "evicted"]
    assert all(f"block {block} " in told["evict"] for block in evicted)


def check_lane(lane: Lane) -> None:
    for frame in lane.frames:
        check_frame(lane, frame)
    for before, after in itertools.pairwise(lane.frames):
        check_change(before, after)
    for before, frame in zip([None, *lane.frames], lane.frames, strict=False):
        check_events(lane, before, frame)
    for plan, request in zip(lane.requests, lane.frames[-1].requests, strict=True):
        assert request.status == FINISHED
        assert request.tokens == plan.prompt + plan.answer
        # The last token of an answer is never computed.
        assert request.computed == request.tokens - 1


def test_every_lane_is_consistent(recording) -> None:
    for lane in recording.lanes:
        check_lane(lane)


REQUEST = st.tuples(st.integers(1, 6), st.integers(1, 2), st.integers(1, 14), st.integers(1, 6))


@settings(max_examples=40, deadline=None)
@given(
    requests=st.lists(REQUEST, min_size=1, max_size=5),
    num_gpu_blocks=st.integers(7, 14),
    budget=st.integers(5, 20),
    seats=st.integers(1, 5),
)
def test_any_run_is_recorded_consistently(requests, num_gpu_blocks, budget, seats) -> None:
    requests = [(1, *requests[0][1:]), *requests[1:]]
    arrivals = [
        Arrival("ABCDE"[i], step, tokens(100 * family, length), answer)
        for i, (step, family, length, answer) in enumerate(requests)
    ]
    # Someone is in the engine until the last has come.
    arrivals.append(Arrival("Z", 1, tokens(900, 2), 10))
    lane = record(
        arrivals,
        block_size=4,
        num_gpu_blocks=num_gpu_blocks,
        max_num_batched_tokens=max(budget, seats),
        max_num_seqs=seats,
        max_model_len=64,
    )
    check_lane(lane)


# ---------------------------------------------------------------------- the page's data


def test_two_recordings_are_equal_to_the_byte(recording) -> None:
    assert recorded(recording.name).to_json() == recording.to_json()


def test_the_data_is_small_and_cannot_end_its_script_element(recording) -> None:
    text = recording.to_json()
    assert len(text.encode()) < 100_000
    assert "<" not in text
    data = json.loads(text)
    assert [len(lane["frames"]) for lane in data["lanes"]] == [
        len(lane.frames) for lane in recording.lanes
    ]


def test_a_shortened_recording_is_a_beginning(recording) -> None:
    short = recording.shortened(3)
    assert short.num_steps == 3
    assert short.lanes[0].frames == recording.lanes[0].frames[:4]
    assert recording.num_steps > 3


def test_an_unknown_scenario_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(LookupError, match=r"no scenario 'fist'.*first-requests"):
        recorded("fist")


def test_the_recorder_leaves_the_engine_as_it_was() -> None:
    engine = LLMEngine.from_scripted(default=[1])
    manager = engine.engine_core.scheduler.kv_cache_manager
    before = [sorted(vars(owner)) for owner in (manager, manager.block_pool)]
    with Recorder(engine, "", []):
        assert "touch" in vars(manager.block_pool)
    assert [sorted(vars(owner)) for owner in (manager, manager.block_pool)] == before


def test_a_run_that_would_never_end_is_refused() -> None:
    with pytest.raises(RuntimeError, match="nothing to do in step 1"):
        record([Arrival("A", 3, [1, 2], 1)])


# ---------------------------------------------------------------------- what the scenarios promise


def test_first_requests_has_a_prompt_in_pieces_and_steps_that_are_shared() -> None:
    lane = lane_of("first-requests")
    pieces = [f.requests[1].scheduled for f in lane.frames if 0 < f.requests[1].before < 22]
    assert pieces[0] > 1
    full = [frame.step for frame in lane.frames if frame.scheduled == lane.budget]
    assert len(full) >= 2
    shared = [f for f in lane.frames if {r.scheduled for r in f.requests} >= {1, lane.budget - 1}]
    assert shared


def test_preemption_has_one_victim_whose_return_hits_a_part_of_its_blocks() -> None:
    lane = lane_of("preemption")
    victims = [f for f in lane.frames if any(e.kind == "preempt" for e in f.events)]
    assert len(victims) == 1
    assert victims[0].requests[1].status == PREEMPTED
    back = next(f.requests[1] for f in lane.frames if f.requests[1].cached)
    assert 0 < back.cached < back.tokens - back.drawn - lane.block_size


def test_prefix_sharing_shows_a_count_of_two_and_evictions_and_a_late_hit() -> None:
    lane = lane_of("prefix-sharing")
    assert any(2 in frame.refs for frame in lane.frames)
    assert any("evicted" in frame.marks.values() for frame in lane.frames)
    late = lane.frames[-3].requests[3]
    assert late.cached == 8
    # A request's blocks come back last first.
    before, after = next(
        (a, b)
        for a, b in itertools.pairwise(lane.frames)
        if b.requests[0].status == FINISHED != a.requests[0].status
    )
    assert after.queue[-len(before.requests[0].blocks) :] == before.requests[0].blocks[::-1]


def test_static_batching_takes_longer_for_the_same_tokens() -> None:
    static, continuous = recorded("static-vs-continuous").lanes
    assert static.requests == continuous.requests
    assert static.num_steps > continuous.num_steps
    totals = [sum(frame.scheduled for frame in lane.frames) for lane in (static, continuous)]
    assert totals[0] == totals[1]
    # Statically, nobody joins while somebody runs.
    for before, after in itertools.pairwise(static.frames):
        joined = [
            new.status == RUNNING != old.status
            for old, new in zip(before.requests, after.requests, strict=True)
        ]
        if any(joined):
            assert not any(request.status == RUNNING for request in before.requests)
