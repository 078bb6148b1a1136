"""A machine that calls the scheduler in every order that an engine could, under every invariant.

The engine's machine (`test_engine_machine.py`) takes whole steps. This one takes halves: requests
arrive and hang up between `schedule` and `update_from_output` as well. Every request must end or be
refused; first come, first served, by the step that `steps_to_the_end` has named when it arrived.
"""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from checked_scheduler import CheckedScheduler
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler_invariants import steps_to_the_end
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.errors import RequestError
from mini_vllm.sampling_params import SamplingParams

EOS = 2
MAX_STEPS = 3000


class SchedulerMachine(RuleBasedStateMachine):
    """Arrivals, half steps, hang-ups and resets, on schedulers of any shape."""

    @initialize(
        block_size=st.integers(1, 5),
        num_gpu_blocks=st.integers(2, 16),
        budget=st.integers(1, 16),
        seats=st.integers(1, 5),
        max_model_len=st.integers(4, 32),
        threshold=st.integers(0, 4),
        chunked=st.booleans(),
        caching=st.booleans(),
        reserve=st.booleans(),
        policy=st.sampled_from(["fcfs", "fcfs", "priority"]),
    )
    def build(
        self,
        block_size: int,
        num_gpu_blocks: int,
        budget: int,
        seats: int,
        max_model_len: int,
        threshold: int,
        chunked: bool,
        caching: bool,
        reserve: bool,
        policy: str,
    ) -> None:
        self.scheduler = CheckedScheduler(
            SchedulerConfig(
                max_model_len=max_model_len,
                max_num_batched_tokens=budget if chunked else max(budget, max_model_len),
                max_num_seqs=min(seats, budget),
                enable_chunked_prefill=chunked,
                long_prefill_token_threshold=threshold,
                scheduler_reserve_full_isl=reserve,
                policy=policy,
            ),
            CacheConfig(block_size=block_size, enable_prefix_caching=caching),
            num_gpu_blocks,
        )
        self.pending: SchedulerOutput | None = None
        self.alive: set[str] = set()
        self.refused: set[str] = set()
        self.num_added = 0

    @rule(
        family=st.integers(0, 2),
        length=st.integers(0, 33),
        max_tokens=st.integers(1, 12),
        min_tokens=st.integers(0, 12),
        priority=st.integers(0, 2),
    )
    def add(
        self, family: int, length: int, max_tokens: int, min_tokens: int, priority: int
    ) -> None:
        req_id = f"r{self.num_added}"
        self.num_added += 1
        params = SamplingParams(max_tokens=max_tokens, min_tokens=min(min_tokens, max_tokens))
        prompt = list(range(10 + 50 * family, 10 + 50 * family + length))
        # Arrival times differ: among equals nobody is promised an end.
        request = Request(req_id, prompt, params, float(self.num_added), priority, eos_token_id=EOS)
        before = dict(self.scheduler.requests)
        try:
            self.scheduler.add_request(request)
        except RequestError:
            assert self.scheduler.requests == before
            self.refused.add(req_id)
        else:
            self.alive.add(req_id)

    @precondition(lambda self: self.pending is None)
    @rule()
    def schedule(self) -> None:
        self.pending = self.scheduler.schedule()

    @precondition(lambda self: self.pending is not None)
    @rule(tokens=st.lists(st.sampled_from([EOS, 3, 4, 5]), min_size=1, max_size=5))
    def update(self, tokens: list[int]) -> None:
        requests, ids = self.scheduler.requests, list(self.pending.num_scheduled_tokens)
        sampled = [
            [tokens[i % len(tokens)]]
            if req_id in requests and not requests[req_id].is_prefill_chunk
            else []
            for i, req_id in enumerate(ids)
        ]
        result = ModelRunnerOutput(ids, {req_id: i for i, req_id in enumerate(ids)}, sampled)
        for one in self.scheduler.update_from_output(self.pending, result):
            if one.finished:
                self.alive.remove(one.request_id)
        self.pending = None

    @precondition(lambda self: self.alive)
    @rule(which=st.integers(0, 30))
    def hang_up(self, which: int) -> None:
        req_id = sorted(self.alive)[which % len(self.alive)]
        ended = self.scheduler.finish_requests(req_id, RequestStatus.FINISHED_ABORTED)
        assert ended == [req_id]
        self.alive.remove(req_id)

    @rule()
    def reset(self) -> None:
        idle = self.scheduler.kv_cache_manager.usage == 0
        assert self.scheduler.reset_prefix_cache() == idle

    def teardown(self) -> None:
        """Everybody ends, and the memory comes back."""
        if not hasattr(self, "scheduler"):
            return
        for _ in range(MAX_STEPS):
            assert self.alive == self.scheduler.requests.keys()
            if self.pending is None and not self.alive:
                break
            if self.pending is None:
                self.schedule()
            self.update([4])
        assert not self.alive
        assert self.scheduler.kv_cache_manager.usage == 0


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)


def test_the_bound_is_reached(make_scheduler) -> None:
    """A prompt of 9 in chunks of 4, then 3 more tokens; the bound speaks of 12 and of 3."""
    scheduler = make_scheduler(max_num_batched_tokens=4, max_num_seqs=1)
    scheduler.add("a", 9, max_tokens=3)
    scheduler.add("b", 2, max_tokens=1)
    assert steps_to_the_end(scheduler) == {"a": 3 + 3, "b": 6 + 1 + 1}
    ended = {}
    for step in range(1, 9):
        for req_id in scheduler.update(scheduler.plan()):
            ended[req_id] = step
    assert ended == {"a": 5, "b": 6}


def test_under_priorities_a_steady_stream_starves_the_patient(make_scheduler) -> None:
    scheduler = make_scheduler(policy="priority", max_num_seqs=1, max_num_batched_tokens=8)
    patient = scheduler.add("patient", 4, priority=1)
    for step in range(200):
        scheduler.add(f"urgent {step}", 4, max_tokens=1, priority=0, arrival_time=step)
        scheduler.step()
    assert patient.num_computed_tokens == 0
    with pytest.raises(ValueError, match="policy='priority'"):
        steps_to_the_end(scheduler)


def test_first_come_first_served_the_same_stream_starves_nobody(make_scheduler) -> None:
    scheduler = make_scheduler(max_num_seqs=1, max_num_batched_tokens=8)
    scheduler.add("patient", 4, max_tokens=16)
    deadline = steps_to_the_end(scheduler)["patient"]
    for step in range(deadline):
        scheduler.add(f"urgent {step}", 4, max_tokens=1)
        scheduler.step()
    assert "patient" not in scheduler.requests


def test_equals_under_priorities_can_take_each_others_blocks_for_ever(make_scheduler) -> None:
    """As at the pin, where it is `ties` of `pinned_scheduler/upstream_defects.py`."""

    def drive(arrival_of_b: float) -> int:
        scheduler = make_scheduler(
            policy="priority",
            num_gpu_blocks=4,
            block_size=16,
            enable_prefix_caching=False,
            max_model_len=64,
            max_num_batched_tokens=64,
            max_num_seqs=4,
            enable_chunked_prefill=False,
            long_prefill_token_threshold=7,
            scheduler_reserve_full_isl=False,
        )
        scheduler.add("a", 15, max_tokens=18)
        scheduler.add("b", 16, max_tokens=18, arrival_time=arrival_of_b)
        for step in range(1000):
            if not scheduler.requests:
                return step
            scheduler.step()
        return 1000

    assert drive(arrival_of_b=0.0) == 1000
    assert drive(arrival_of_b=1.0) < 60
