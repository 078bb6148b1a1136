"""A machine that uses the engine in every way at once, under audit.

It needs no expected outputs, except one that is independent of all scheduling: what each request
must answer follows from its script and its parameters alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.errors import RequestError
from mini_vllm.observe.audit import Audit
from mini_vllm.sampling_params import SamplingParams

EOS = 2
MAX_STEPS = 3000

# Prompts begin alike often: a few families, each one long sequence that prompts are cut from.
FAMILIES = [[10 + family * 50 + i for i in range(40)] for family in range(3)]


@dataclass
class Expected:
    """What a request must answer, however it was scheduled."""

    token_ids: list[int]
    finish_reason: str


def answer_of(script: list[int], params: SamplingParams, room: int) -> Expected:
    """Apply the stopping rules to a script, in the plainest way there is."""
    for count, token in enumerate(script, 1):
        may_stop = count >= params.min_tokens
        if may_stop and token == EOS and not params.ignore_eos:
            return Expected(script[:count], "stop")
        if may_stop and token in params.stop_token_ids:
            return Expected(script[:count], "stop")
        if count in (params.max_tokens, room):
            return Expected(script[:count], "length")
    raise AssertionError("the script is too short")


class EngineMachine(RuleBasedStateMachine):
    """Arrivals, aborts and steps in any order, on engines of any shape."""

    @initialize(
        block_size=st.integers(1, 4),
        num_gpu_blocks=st.integers(2, 16),
        budget=st.integers(1, 16),
        seats=st.integers(1, 5),
        max_model_len=st.integers(4, 32),
        threshold=st.integers(0, 4),
        chunked=st.booleans(),
        caching=st.booleans(),
        reserve=st.booleans(),
        policy=st.sampled_from(["fcfs", "priority"]),
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
        self.policy = policy
        self.max_model_len = max_model_len
        self.engine = LLMEngine.from_scripted(
            block_size=block_size,
            num_gpu_blocks=num_gpu_blocks,
            max_model_len=max_model_len,
            eos_token_id=EOS,
            enable_prefix_caching=caching,
            max_num_batched_tokens=budget if chunked else max(budget, max_model_len),
            max_num_seqs=min(seats, budget),
            enable_chunked_prefill=chunked,
            long_prefill_token_threshold=threshold,
            scheduler_reserve_full_isl=reserve,
            policy=policy,
        )
        self.audit = Audit(self.engine).__enter__()
        self.expected: dict[str, Expected] = {}
        self.ended: dict[str, Expected] = {}
        self.aborted: set[str] = set()
        self.num_added = 0

    @rule(
        family=st.integers(0, 2),
        length=st.integers(0, 33),
        own=st.lists(st.integers(200, 203), max_size=2),
        script=st.lists(st.sampled_from([EOS, 3, 4, 5, 6]), max_size=12),
        max_tokens=st.integers(1, 12),
        min_tokens=st.integers(0, 4),
        ignore_eos=st.booleans(),
        stop_token_ids=st.lists(st.sampled_from([3, EOS]), max_size=1),
        priority=st.integers(0, 2),
        arrival_time=st.integers(0, 3),
    )
    def add(
        self,
        family: int,
        length: int,
        own: list[int],
        script: list[int],
        max_tokens: int,
        min_tokens: int,
        ignore_eos: bool,
        stop_token_ids: list[int],
        priority: int,
        arrival_time: int,
    ) -> None:
        req_id = f"r{self.num_added}"
        self.num_added += 1
        prompt = FAMILIES[family][:length] + own
        params = SamplingParams(
            max_tokens=max_tokens,
            min_tokens=min(min_tokens, max_tokens),
            ignore_eos=ignore_eos,
            stop_token_ids=stop_token_ids,
        )
        script = (script + [7] * 12)[:12]
        runner = self.engine.engine_core.executor.model_runner
        runner.scripts[req_id] = script
        before = self.engine.get_num_unfinished_requests()
        try:
            self.engine.add_request(
                req_id,
                {"prompt_token_ids": prompt},
                params,
                # Never two alike: equals may take each other's blocks for ever, here as at the pin
                # (`test_scheduler_machine.py` shows it).
                arrival_time=arrival_time + self.num_added / 1000,
                priority=priority if self.policy == "priority" else 0,
            )
        except RequestError:
            scheduler = self.engine.engine_core.scheduler
            fits = min(len(prompt) + max_tokens, self.max_model_len) <= scheduler.max_num_tokens
            assert not prompt or len(prompt) >= self.max_model_len or not fits
            assert self.engine.get_num_unfinished_requests() == before
            return
        self.expected[req_id] = answer_of(script, params, self.max_model_len - len(prompt))

    @rule(count=st.integers(1, 6))
    def steps(self, count: int) -> None:
        for _ in range(count):
            self.one_step()

    @precondition(lambda self: len(self.ended) < len(self.expected))
    @rule(which=st.integers(0, 30))
    def abort(self, which: int) -> None:
        alive = [req_id for req_id in self.expected if req_id not in self.ended]
        req_id = alive[which % len(alive)]
        (output,) = self.engine.abort_request(req_id)
        answer = output.outputs[0]
        assert answer.finish_reason == "abort"
        whole = self.expected[req_id].token_ids
        assert list(answer.token_ids) == whole[: len(answer.token_ids)]
        self.ended[req_id] = Expected(list(answer.token_ids), "abort")

    @rule()
    def forget_the_cache(self) -> None:
        idle = self.engine.engine_core.scheduler.kv_cache_manager.usage == 0
        assert self.engine.reset_prefix_cache() == idle

    def one_step(self) -> None:
        for output in self.engine.step():
            req_id, answer = output.request_id, output.outputs[0]
            assert req_id not in self.ended, "an output after the end"
            token_ids = list(answer.token_ids)
            assert token_ids == self.expected[req_id].token_ids[: len(token_ids)]
            if output.finished:
                self.ended[req_id] = Expected(token_ids, answer.finish_reason)
                assert self.ended[req_id] == self.expected[req_id]

    @precondition(lambda self: hasattr(self, "engine"))
    @invariant()
    def nobody_is_forgotten(self) -> None:
        scheduler = self.engine.engine_core.scheduler
        alive = self.expected.keys() - self.ended.keys()
        assert alive == scheduler.requests.keys()
        assert alive == self.engine.output_processor.request_states.keys()

    def teardown(self) -> None:
        """Everybody gets to the end, and the memory comes back."""
        if not hasattr(self, "engine"):
            return
        for _ in range(MAX_STEPS):
            if not self.engine.has_unfinished_requests():
                break
            self.one_step()
            # A step may come to nothing, when its only request preempted itself; two may not.
            idle = [r.requests and not r.total_num_scheduled_tokens for r in self.audit.records]
            assert len(idle) < 2 or not all(idle[-2:]), "two steps in a row did nothing"
        assert self.ended.keys() == self.expected.keys()
        self.engine.step()
        assert self.engine.engine_core.scheduler.kv_cache_manager.usage == 0
        assert not self.engine.engine_core.scheduler.has_requests()
        assert not self.engine.engine_core.executor.model_runner.requests
        self.audit.__exit__(None, None, None)


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
