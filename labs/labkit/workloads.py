r"""What should happen to a step before one may say that it is right?

Everything at once: prompts longer than the budget, requests that arrive while others decode, a
pool so small that somebody is preempted, prompts that begin alike and share blocks. A
{py:class}`Workload` is an engine's sizes and a list of arrivals; {py:func}`workloads` is the
hypothesis strategy that draws them, small enough for a failing one to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.engine.scripted_model_runner import Script

from labkit.engines import VOCAB, request, scripted_engine

# A workload drawn below ends within a few dozen steps. An engine that is still busy after this
# many does not get on.
MANY_STEPS = 400


@dataclass(frozen=True)
class Arrival:
    r"""A request and the step before which it arrives. Prompts of a family begin alike."""

    step: int
    family: int
    num_prompt_tokens: int
    max_tokens: int
    priority: int = 0


@dataclass(frozen=True)
class Workload:
    r"""An engine's sizes, as {py:func}`labkit.engines.scripted_engine` takes them, and arrivals."""

    sizes: dict[str, Any]
    arrivals: tuple[Arrival, ...]

    def engine(self) -> EngineCore:
        r"""A fresh engine core, without requests. Request `r2` answers 1020000, 1020001, and on."""
        return scripted_engine(self._scripts(), **self.sizes)

    def llm_engine(self) -> LLMEngine:
        r"""The same engine with its front-end around it, and all requests waiting in it."""
        sizes = self.sizes
        engine = LLMEngine.from_scripted(
            self._scripts(),
            vocab_size=VOCAB,
            block_size=sizes["block_size"],
            num_gpu_blocks=sizes["blocks"],
            max_model_len=sizes["max_model_len"],
            enable_prefix_caching=sizes["prefix_caching"],
            max_num_batched_tokens=sizes["budget"],
            max_num_seqs=sizes["seats"],
            policy=sizes["policy"],
        )
        for index in range(len(self.arrivals)):
            made = self._request(index)
            engine.add_request(
                made.request_id,
                {"prompt_token_ids": made.prompt_token_ids},
                made.sampling_params,
                made.arrival_time,
                made.priority,
            )
        return engine

    def due(self, step: int) -> list[EngineCoreRequest]:
        r"""The requests that arrive before a step, counted from 1."""
        return [
            self._request(index)
            for index, arrival in enumerate(self.arrivals)
            if arrival.step == step
        ]

    def play(
        self, engine: EngineCore, step: Callable[[], list[EngineCoreOutput]]
    ) -> list[list[EngineCoreOutput]]:
        r"""Take steps until all requests have come and gone; what each step returned, in order.

        An engine that does not come to an end fails an assertion.
        """
        outputs = []
        last = max(arrival.step for arrival in self.arrivals)
        for number in range(1, MANY_STEPS):
            for arrived in self.due(number):
                engine.add_request(arrived)
            outputs.append(step())
            if number >= last and not engine.scheduler.has_requests():
                return outputs
        raise AssertionError(f"still busy after {MANY_STEPS} steps: {engine.scheduler.requests}")

    def _request(self, index: int) -> EngineCoreRequest:
        arrival = self.arrivals[index]
        return request(
            f"r{index}",
            [100 * arrival.family + place for place in range(arrival.num_prompt_tokens)],
            max_tokens=arrival.max_tokens,
            priority=arrival.priority if self.sizes["policy"] == "priority" else 0,
        )

    def _scripts(self) -> dict[str, Script]:
        def answers_of(index: int) -> Script:
            return lambda place: 1_000_000 + 10_000 * index + place

        return {f"r{index}": answers_of(index) for index in range(len(self.arrivals))}


@st.composite
def workloads(draw: st.DrawFn, *, scarce_memory: bool = True) -> Workload:
    r"""Draw a workload in which every request can be served.

    With `scarce_memory` the pool holds one request for sure and seldom all, so that some are
    preempted; without, nobody ever is.
    """
    block_size = draw(st.sampled_from([2, 4]))
    slots = draw(st.integers(24, 48)) if scarce_memory else 400
    arrivals = draw(
        st.lists(
            st.builds(
                Arrival,
                step=st.integers(1, 8),
                family=st.integers(1, 3),
                num_prompt_tokens=st.integers(1, 14),
                max_tokens=st.integers(1, 9),
                priority=st.integers(0, 2),
            ),
            min_size=1,
            max_size=5,
        )
    )
    seats = draw(st.integers(1, 4))
    sizes = {
        "budget": draw(st.integers(seats, 12)),
        "seats": seats,
        "blocks": 1 + slots // block_size,
        "block_size": block_size,
        "max_model_len": 64,
        "prefix_caching": draw(st.booleans()),
        "policy": draw(st.sampled_from(["fcfs", "priority"])),
    }
    return Workload(sizes, tuple(arrivals))
