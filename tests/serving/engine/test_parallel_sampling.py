"""`n` answers to one prompt: who they are, how they come back, and what they cost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.engine.parallel_sampling import ParentRequest
from mini_vllm.entrypoints.llm import LLM
from mini_vllm.errors import RequestError
from mini_vllm.observe.audit import Audit
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import MAX_SEED, RequestOutputKind, SamplingParams
from tests.serving.engine.streams import (
    ENDLESS,
    Recorder,
    all_free,
    collect,
    joined,
    last,
    prompt,
    registered,
)

KINDS = list(RequestOutputKind)
SCRIPTS = {f"{i}_a": [10 * i + j for j in range(1, 9)] for i in range(4)}
LENGTHS = {0: 8, 1: 3, 2: 5, 3: 6}
# 13 ends answer 1, 25 answer 2 and 36 answer 3, so that all end at different times.
STOPS = [36, 25, 13]


def answers_by_index(outputs: list[RequestOutput], kind: RequestOutputKind) -> dict[int, list[int]]:
    """Put a stream together again, by the index of each piece."""
    found: dict[int, list[int]] = {}
    for output in outputs:
        for answer in output.outputs:
            earlier = found.get(answer.index, []) if kind == RequestOutputKind.DELTA else []
            found[answer.index] = earlier + list(answer.token_ids)
    return dict(sorted(found.items()))


EXPECTED = {i: SCRIPTS[f"{i}_a"][: LENGTHS[i]] for i in range(4)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_of_four(start, run, kind) -> None:
    llm = start(SCRIPTS, step_seconds=0.002)

    async def main() -> tuple[list[RequestOutput], bool]:
        params = SamplingParams(n=4, max_tokens=8, stop_token_ids=STOPS, output_kind=kind)
        outputs = await collect(llm.generate(prompt(1, 2, 3), params, "a"))
        return outputs, await all_free(llm)

    outputs, free = run(main())
    assert answers_by_index(outputs, kind) == EXPECTED
    assert {output.request_id for output in outputs} == {"a"}
    assert [output.finished for output in outputs] == [False] * (len(outputs) - 1) + [True]
    ends = [a for output in outputs for a in output.outputs if a.finished()]
    assert {a.index: a.finish_reason for a in ends} == {
        0: "length",
        1: "stop",
        2: "stop",
        3: "stop",
    }
    assert len(ends) == 4, "each answer ends once"
    if kind == RequestOutputKind.FINAL_ONLY:
        assert [a.index for a in outputs[0].outputs] == [0, 1, 2, 3]
    assert free


@pytest.mark.parametrize("kind", KINDS)
def test_the_engine_of_a_script_does_the_same(kind) -> None:
    engine = LLMEngine.from_scripted(SCRIPTS)
    params = SamplingParams(n=4, max_tokens=8, stop_token_ids=STOPS, output_kind=kind)
    engine.add_request("a", prompt(1, 2, 3), params)
    outputs = []
    with Audit(engine):
        while engine.has_unfinished_requests():
            outputs += engine.step()
    assert answers_by_index(outputs, kind) == EXPECTED
    assert [output.finished for output in outputs] == [False] * (len(outputs) - 1) + [True]
    assert engine.output_processor.parent_requests == {}
    assert params.n == 4, "the caller's object is the caller's"


def test_llm_generate_returns_them_in_one_output() -> None:
    llm = LLM.from_engine(LLMEngine.from_scripted(default=ENDLESS))
    outputs = llm.generate(
        [prompt(1), prompt(2)], [SamplingParams(n=2, max_tokens=3), SamplingParams(max_tokens=2)]
    )
    assert [[list(a.token_ids) for a in output.outputs] for output in outputs] == [
        [ENDLESS[:3]] * 2,
        [ENDLESS[:2]],
    ]
    assert [a.index for a in outputs[0].outputs] == [0, 1]


def test_the_prompt_is_computed_once() -> None:
    """Sixty-four tokens are four blocks; the second child and the third find three of them."""
    engine = LLMEngine.from_scripted(default=ENDLESS, block_size=16)
    recorder = Recorder()
    engine.stat_loggers.append(recorder)
    engine.add_request("a", prompt(*range(1, 65)), SamplingParams(n=3, max_tokens=4))
    with Audit(engine) as audit:
        while engine.has_unfinished_requests():
            engine.step()
    assert audit.records[0].total_num_scheduled_tokens == 64 + 16 + 16
    assert recorder.total("prefix_cache_queries") == 3 * 64
    assert recorder.total("prefix_cache_hits") == 2 * 48


def test_aborting_the_parent_ends_every_child(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.01)

    async def main() -> tuple[bool, RequestOutput]:
        stream = llm.generate(prompt(1), SamplingParams(n=5, max_tokens=500), "a")
        await anext(stream)
        # Each child is a message of its own: the first may be a step ahead of the others.
        while (await llm.get_stats()).num_running_reqs != 5:
            pass
        await llm.abort("a")
        return await all_free(llm), await last(stream)

    free, end = run(main())
    assert (free, end.finished) == (True, True)
    assert {a.finish_reason for a in end.outputs} == {"abort"}
    assert llm.output_processor.parent_requests == {}


def test_closing_the_stream_ends_every_child(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.01)

    async def main() -> bool:
        stream = llm.generate(prompt(1), SamplingParams(n=5, max_tokens=500), "a")
        await anext(stream)
        await stream.aclose()
        return await all_free(llm)

    assert run(main())


@pytest.mark.parametrize("taken", ["a", "1_a"])
def test_the_ids_of_parent_and_children_are_taken(start, run, taken) -> None:
    llm = start(default=ENDLESS, step_seconds=0.005)

    async def main() -> None:
        first = asyncio.create_task(
            last(llm.generate(prompt(1), SamplingParams(n=2, max_tokens=20), "a"))
        )
        await registered(llm)
        with pytest.raises(RequestError, match="is in use"):
            await last(llm.generate(prompt(1), SamplingParams(), taken))
        assert len((await first).outputs) >= 1
        alone = asyncio.create_task(
            last(llm.generate(prompt(1), SamplingParams(max_tokens=40), taken))
        )
        await registered(llm)
        with pytest.raises(RequestError, match="is in use"):
            await last(llm.generate(prompt(1), SamplingParams(n=2), "a"))
        await alone

    run(main())


@given(n=st.integers(1, 20), seed=st.one_of(st.none(), st.integers(0, MAX_SEED)))
def test_children_differ_in_id_and_seed_and_in_nothing_else(n: int, seed: int | None) -> None:
    params = SamplingParams(n=n, seed=seed, top_k=7, stop=["x"], max_tokens=5)
    request = EngineCoreRequest("id", [1, 2], params, 3.0, 4)
    children = ParentRequest("id", params).fan_out(request)
    assert len({child.request_id for child in children}) == n
    for index, child in enumerate(children):
        assert child.sampling_params.seed == (None if seed is None else seed + index)
        assert child.sampling_params.n == 1
        child.sampling_params.seed, child.sampling_params.n = seed, n
        assert child.sampling_params == params
        child.request_id = "id"
        assert child == request
    assert request.request_id == "id"


def test_greedy_answers_would_be_the_same_answer() -> None:
    with pytest.raises(RequestError, match="n must be 1 when temperature is 0"):
        SamplingParams(n=2, temperature=0)


@settings(deadline=None)
@given(st.data())
def test_a_parent_ends_exactly_when_its_last_child_does(data: st.DataObject) -> None:
    """Random lengths and aborts, every kind of stream; each answer is its script's beginning."""
    n = data.draw(st.integers(2, 5))
    kind = data.draw(st.sampled_from(KINDS))
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))
    abort_after = data.draw(st.integers(1, 12))
    scripts = {f"{i}_a": [100 + i] * (length - 1) + [7] for i, length in enumerate(lengths)}
    engine = LLMEngine.from_scripted(scripts, num_gpu_blocks=12, block_size=2)
    params = SamplingParams(n=n, max_tokens=9, stop_token_ids=[7], output_kind=kind)
    engine.add_request("a", prompt(1), params)
    outputs: list[RequestOutput] = []
    for _ in range(abort_after):
        outputs += engine.step()
    aborted = engine.has_unfinished_requests()
    outputs += engine.abort_request("a")
    assert sum(output.finished for output in outputs) == 1
    assert outputs[-1].finished
    found = answers_by_index(outputs, kind)
    assert sorted(found) == list(range(n))
    for index, tokens in found.items():
        assert tokens == scripts[f"{index}_a"][: len(tokens)]
        assert aborted or len(tokens) == lengths[index]
    assert joined(found.values())
    assert engine.engine_core.scheduler.kv_cache_manager.usage == 0
