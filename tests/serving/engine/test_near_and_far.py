"""Random arrivals and aborts: the far engine answers as the near one, and leaks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_vllm.engine.async_llm import AsyncLLM
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams
from tests.serving.engine.streams import ByteTokenizer, all_free, say

TEXT = "one two three END four five six seven eight nine ten eleven twelve thirteen"
SHAPE: dict[str, Any] = {
    "default": say(TEXT),
    "num_gpu_blocks": 20,
    "block_size": 4,
    "max_num_batched_tokens": 24,
    "max_num_seqs": 6,
    "vocab_size": 257,
    "max_model_len": 80,
}


@dataclass(frozen=True)
class Arrival:
    """One caller: when it comes, what it asks, and after how many outputs it hangs up."""

    pause: int
    prompt: str
    params: SamplingParams
    hangs_up_after: int | None


arrivals = st.builds(
    Arrival,
    pause=st.integers(0, 3),
    prompt=st.sampled_from(["a", "what is it? " * 2, "what is it? what else? and who?"]),
    params=st.builds(
        SamplingParams,
        max_tokens=st.integers(1, 20),
        min_tokens=st.just(0),
        stop=st.sampled_from([None, ["END"], ["wo", "t"]]),
        n=st.sampled_from([1, 1, 1, 3]),
        output_kind=st.sampled_from(RequestOutputKind),
        logprobs=st.sampled_from([None, 0]),
    ),
    hangs_up_after=st.none() | st.integers(0, 3),
)


@pytest.fixture(scope="module")
def far() -> Iterator[AsyncLLM]:
    """One process for all examples: a leak in one of them is found by the next."""
    with AsyncLLM.from_scripted(
        tokenizer=ByteTokenizer(), step_seconds=0.0005, check_invariants=True, **SHAPE
    ) as llm:
        yield llm


def near_answer(arrival: Arrival) -> dict[int, tuple[Any, ...]]:
    """What the caller gets who is alone with the engine of this process."""
    engine = LLMEngine.from_scripted(tokenizer=ByteTokenizer(), **SHAPE)
    params = arrival.params.clone()
    params.output_kind = RequestOutputKind.FINAL_ONLY
    engine.add_request("near", arrival.prompt, params)
    outputs = []
    while engine.has_unfinished_requests():
        outputs += engine.step()
    return {
        a.index: (a.text, list(a.token_ids), a.finish_reason, a.stop_reason, a.logprobs)
        for a in outputs[-1].outputs
    }


async def far_answer(
    llm: AsyncLLM, number: int, arrival: Arrival
) -> dict[int, tuple[Any, ...]] | None:
    """The same across the border, put together from its pieces; `None` for who hung up."""
    await asyncio.sleep(arrival.pause * 0.002)
    found: dict[int, tuple[Any, ...]] = {}
    stream = llm.generate(arrival.prompt, arrival.params, f"r{number}")
    num_outputs = 0
    while num_outputs != arrival.hangs_up_after:
        try:
            output = await anext(stream)
        except StopAsyncIteration:
            return found
        num_outputs += 1
        for a in output.outputs:
            text, tokens, logprobs = a.text, list(a.token_ids), a.logprobs
            if arrival.params.output_kind == RequestOutputKind.DELTA and a.index in found:
                before = found[a.index]
                text, tokens = before[0] + text, before[1] + tokens
                logprobs = None if logprobs is None else before[4] + logprobs
            found[a.index] = (text, tokens, a.finish_reason, a.stop_reason, logprobs)
    await stream.aclose()
    return None


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(workload=st.lists(arrivals, min_size=1, max_size=12))
def test_far_is_as_near(far: AsyncLLM, workload: list[Arrival]) -> None:
    async def main() -> tuple[list[dict[int, tuple[Any, ...]] | None], bool]:
        tasks = [far_answer(far, i, arrival) for i, arrival in enumerate(workload)]
        answers = await asyncio.gather(*tasks)
        return answers, await all_free(far)

    answers, free = asyncio.run(asyncio.wait_for(main(), 60))
    for arrival, answer in zip(workload, answers, strict=True):
        if answer is not None:
            assert answer == near_answer(arrival)
    assert free
    assert not far.output_processor.has_unfinished_requests()
    assert not far.output_processor.parent_requests
