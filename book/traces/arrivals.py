r"""Requests that arrive step by step, given to an engine under the recorder's eyes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from book.traces.recorder import Recorder
from book.traces.recording import Lane, RequestPlan
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.sampling_params import SamplingParams

MAX_STEPS = 200

#: Which of those at the door are let in now: `(at the door, engine) -> how many of them`.
Door = Callable[[Sequence["Arrival"], LLMEngine], int]


@dataclass(frozen=True)
class Arrival:
    """A request, its prompt's tokens, the length of its answer, and the step in which it comes."""

    name: str
    step: int
    prompt: Sequence[int]
    answer: int

    @property
    def plan(self) -> RequestPlan:
        """What the player is told beforehand."""
        return RequestPlan(self.name, len(self.prompt), self.answer, self.step)


def tokens(first: int, count: int) -> list[int]:
    """A prompt that is like no other with another `first`."""
    return list(range(first, first + count))


def open_door(at_the_door: Sequence[Arrival], engine: LLMEngine) -> int:
    """Everybody may come in at once: the scheduler decides, as in continuous batching."""
    return len(at_the_door)


def record(
    arrivals: Sequence[Arrival], *, label: str = "", door: Door = open_door, **options: Any
) -> Lane:
    r"""Run the requests to their end, and return what was seen.

    `options` are those of {py:meth}`~mini_vllm.engine.llm_engine.LLMEngine.from_scripted`. Raises
    `RuntimeError` if the run does not end.
    """
    engine = LLMEngine.from_scripted(default=lambda place: 20_000 + place, **options)
    coming = sorted(arrivals, key=lambda arrival: arrival.step)
    at_the_door: list[Arrival] = []
    with Recorder(engine, label, [arrival.plan for arrival in arrivals]) as recorder:
        for step in range(1, MAX_STEPS):
            while coming and coming[0].step == step:
                at_the_door.append(coming.pop(0))
                recorder.arrive(at_the_door[-1].name)
            for _ in range(door(at_the_door, engine)):
                arrival = at_the_door.pop(0)
                params = SamplingParams(temperature=0, max_tokens=arrival.answer, ignore_eos=True)
                prompt = {"prompt_token_ids": list(arrival.prompt)}
                engine.add_request(arrival.name, prompt, params, arrival_time=float(step))
            if not coming and not at_the_door and not engine.has_unfinished_requests():
                return recorder.lane
            if not engine.has_unfinished_requests():
                raise RuntimeError(f"nothing to do in step {step}, and {coming[:1]} still to come")
            engine.step()
    raise RuntimeError(f"the run did not end within {MAX_STEPS} steps")
