"""Many streams at once: each is what it would have been alone, whole, and lets go when it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mini_vllm.engine.async_llm import AsyncLLM
from mini_vllm.errors import RequestError
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams
from tests.serving.engine.streams import (
    ENDLESS,
    all_free,
    collect,
    joined,
    last,
    prompt,
    registered,
    say,
    solo,
)

DELTA = RequestOutputKind.DELTA
FINAL_ONLY = RequestOutputKind.FINAL_ONLY


def answers(output: RequestOutput) -> list[tuple[Any, ...]]:
    """All that a caller can see of an end, its times aside."""
    return [
        (a.index, a.text, list(a.token_ids), a.logprobs, a.finish_reason, a.stop_reason)
        for a in output.outputs
    ]


def test_streams_together_are_as_they_would_be_alone(start, run) -> None:
    """The pool is small, so they preempt one another as well."""
    scripts = {f"r{i}": [10 + (i * 7 + j) % 80 for j in range(60)] for i in range(30)}
    shape = {"num_gpu_blocks": 24, "block_size": 4, "max_num_batched_tokens": 64}
    llm = start(scripts, **shape)

    def ask(i: int) -> tuple[dict[str, list[int]], SamplingParams]:
        return prompt(*range(1, 2 + i % 9), i + 1), SamplingParams(max_tokens=5 + i, logprobs=1)

    async def main() -> tuple[list[RequestOutput], bool]:
        streams = [llm.generate(*ask(i), f"r{i}") for i in range(30)]
        ends = await asyncio.gather(*map(last, streams))
        return ends, await all_free(llm)

    ends, free = run(main())
    for i, end in enumerate(ends):
        assert answers(end) == answers(solo(scripts[f"r{i}"], *ask(i), **shape))
    assert free


@pytest.mark.parametrize("kind", list(RequestOutputKind))
def test_what_a_stream_holds(start, run, byte_tokenizer, kind) -> None:
    llm = start(
        {"a": say("wörld, € and 𝄞")}, tokenizer=byte_tokenizer, vocab_size=257, step_seconds=0.01
    )
    params = SamplingParams(max_tokens=50, output_kind=kind, logprobs=0)
    outputs = run(collect(llm.generate("hello ", params, "a")))
    texts = [output.outputs[0].text for output in outputs]
    ids = [list(output.outputs[0].token_ids) for output in outputs]
    if kind == DELTA:
        whole, tokens = "".join(texts), joined(ids)
        assert len(outputs) > 1
    else:
        whole, tokens = texts[-1], ids[-1]
    assert whole == "wörld, € and 𝄞"
    assert tokens == say("wörld, € and 𝄞")
    assert "\ufffd" not in "".join(texts)
    assert len(outputs) == 1 or kind != FINAL_ONLY
    assert [output.finished for output in outputs] == [False] * (len(outputs) - 1) + [True]


@pytest.mark.parametrize("kind", [DELTA, RequestOutputKind.CUMULATIVE])
def test_a_stop_string_over_several_messages(start, run, byte_tokenizer, kind) -> None:
    """Nothing of the string is ever shown, and the core hears of the end."""
    llm = start(
        {"a": say("one END two"), "b": say("one EN")},
        tokenizer=byte_tokenizer,
        vocab_size=257,
        step_seconds=0.002,
    )

    async def main() -> tuple[list[RequestOutput], list[RequestOutput], bool]:
        params = SamplingParams(max_tokens=50, stop=["END"], output_kind=kind)
        first = collect(llm.generate("?", params, "a"))
        a, b = await asyncio.gather(first, collect(llm.generate("?", params, "b")))
        return a, b, await all_free(llm)

    a, b, free = run(main())
    for outputs, expected in ((a, "one "), (b, "one EN")):
        texts = [output.outputs[0].text for output in outputs]
        assert "E" not in "".join(texts[:-1])
        assert ("".join(texts) if kind == DELTA else texts[-1]) == expected
    assert (a[-1].outputs[0].finish_reason, a[-1].outputs[0].stop_reason) == ("stop", "END")
    assert (b[-1].outputs[0].finish_reason, b[-1].outputs[0].stop_reason) == ("stop", None)
    assert free


@pytest.mark.parametrize("kind", list(RequestOutputKind))
def test_a_slow_reader_gets_bigger_pieces_and_misses_nothing(start, run, kind) -> None:
    llm = start(default=ENDLESS)

    async def main() -> list[RequestOutput]:
        params = SamplingParams(max_tokens=300, output_kind=kind, logprobs=1)
        stream = llm.generate(prompt(1), params, "slow")
        outputs = [await anext(stream)]
        # Somebody else drives the loop to the end of the engine's work meanwhile.
        await llm.wait_for_requests_to_drain(10)
        return outputs + [output async for output in stream]

    outputs = run(main())
    assert len(outputs) <= 3, "one that was read, and at most two that were merged meanwhile"
    pieces = [list(output.outputs[0].token_ids) for output in outputs]
    assert (joined(pieces) if kind == DELTA else pieces[-1]) == ENDLESS[:300]
    logprobs = [output.outputs[0].logprobs for output in outputs]
    assert [len(found) for found in logprobs] == [len(piece) for piece in pieces]


def test_closing_a_stream_frees_its_blocks_within_a_step(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.05)

    async def main() -> tuple[int, int, int]:
        params = SamplingParams(max_tokens=500)
        stream, other = (llm.generate(prompt(*range(1, 40)), params, r) for r in "ab")
        await anext(stream)
        await anext(other)
        before = await llm.get_stats()
        await stream.aclose()
        # The question stands behind the abort, and is answered before the next step.
        after = await llm.get_stats()
        await other.aclose()
        return before.num_running_reqs, after.num_running_reqs, after.num_free_blocks

    running, left, free = run(main())
    assert (running, left) == (2, 1)
    assert free >= llm.ready.num_gpu_blocks - 1 - 4


@pytest.mark.parametrize("when", ["waiting for a token", "before the first"])
def test_cancelling_the_reader_aborts(start, run, when) -> None:
    llm = start(default=ENDLESS, step_seconds=0.02)

    async def main() -> tuple[int, bool]:
        reader = asyncio.create_task(
            last(llm.generate(prompt(1), SamplingParams(max_tokens=900), "a"))
        )
        await asyncio.sleep(0.2 if when == "waiting for a token" else 0)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        return llm.output_processor.get_num_unfinished_requests(), await all_free(llm)

    assert run(main()) == (0, True)


def test_an_abort_from_elsewhere_ends_the_stream_with_a_last_word(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.01)

    async def main() -> RequestOutput:
        stream = llm.generate(prompt(1), SamplingParams(max_tokens=900), "a")
        await anext(stream)
        await llm.abort(["a", "unknown"])
        return await last(stream)

    end = run(main())
    assert end.finished
    assert end.outputs[0].finish_reason == "abort"
    tokens = list(end.outputs[0].token_ids)
    assert tokens == ENDLESS[: len(tokens)]


def test_an_id_may_be_used_again_at_once(start, run) -> None:
    """And gets none of the tokens that were drawn for its predecessor."""
    llm = start(default=ENDLESS, step_seconds=0.005)

    async def main() -> list[tuple[int, list[int]]]:
        found = []
        for round_ in range(20):
            params = SamplingParams(max_tokens=900 if round_ % 2 else 3)
            stream = llm.generate(prompt(round_ + 1), params, "same")
            found.append((params.max_tokens, list((await anext(stream)).outputs[0].token_ids)))
            await stream.aclose()
        return found

    for max_tokens, tokens in run(main()):
        assert tokens == ENDLESS[: len(tokens)]
        assert 1 <= len(tokens) <= max_tokens


def test_an_id_in_use_is_refused_alone(start, run) -> None:
    llm = start(default=ENDLESS, step_seconds=0.005)

    async def main() -> RequestOutput:
        params = SamplingParams(max_tokens=40)
        first = asyncio.create_task(last(llm.generate(prompt(1), params, "a")))
        await registered(llm)
        with pytest.raises(RequestError, match="'a' is in use") as caught:
            await last(llm.generate(prompt(2), params, "a"))
        assert caught.value.parameter == "request_id"
        return await first

    assert list(run(main()).outputs[0].token_ids) == ENDLESS[:40]


def test_bad_input_is_refused_alone_and_before_anything_is_queued(start, run) -> None:
    llm = start(default=ENDLESS, num_gpu_blocks=8, block_size=4, vocab_size=200, step_seconds=0.002)
    bad = [
        ({"prompt_token_ids": []}, SamplingParams()),
        ({"prompt_token_ids": [200]}, SamplingParams()),
        ({"prompt_token_ids": [1]}, SamplingParams(max_tokens=400)),
        ({"prompt_token_ids": [1] * 2000}, SamplingParams()),
        ("text without a tokenizer", SamplingParams()),
        ({"prompt_token_ids": [1]}, SamplingParams(logprobs=-1)),
        ({"prompt_token_ids": [1]}, SamplingParams(stop=["x"])),
        (prompt(1), "no parameters"),
    ]

    async def main() -> RequestOutput:
        good = asyncio.create_task(
            last(llm.generate(prompt(1), SamplingParams(max_tokens=25), "good"))
        )
        await asyncio.sleep(0.01)
        for i, (what, params) in enumerate(bad):
            with pytest.raises(RequestError):
                await last(llm.generate(what, params, f"bad{i}"))
        with pytest.raises(RequestError, match="cannot be sent"):
            await last(llm.generate(prompt(1), SamplingParams(), "half a \ud800 character"))
        assert llm.output_processor.get_num_unfinished_requests() <= 1
        return await good

    assert list(run(main()).outputs[0].token_ids) == ENDLESS[:25]


def test_more_tokens_promised_than_fit_end_by_length(start, run) -> None:
    """The pair of lengths on which the pinned engine's input thread dies."""
    llm = start(default=ENDLESS, max_model_len=32)
    end = run(
        last(llm.generate(prompt(*[1] * 20), SamplingParams(max_tokens=None, min_tokens=50), "a"))
    )
    assert len(end.outputs[0].token_ids) == 12
    assert end.outputs[0].finish_reason == "length"


def test_two_event_loops_one_after_the_other(start, run) -> None:
    llm = start(default=ENDLESS)
    for i in range(2):
        params = SamplingParams(max_tokens=5)
        assert (
            list(run(last(llm.generate(prompt(1), params, "a"))).outputs[0].token_ids)
            == (ENDLESS[:5])
        ), i


def test_an_id_may_be_used_again_on_the_next_loop(start, run, byte_tokenizer) -> None:
    """A loop may end with the confirmation in its hands; nobody may wait for that for ever."""
    llm = start(default=say("one two"), tokenizer=byte_tokenizer, vocab_size=257)
    params = SamplingParams(max_tokens=9, stop=["two"], output_kind=FINAL_ONLY)
    for _ in range(60):
        end = run(last(llm.generate("?", params, "same")))
        assert (end.outputs[0].text, end.outputs[0].stop_reason) == ("one ", "two")
    for _ in range(20):
        end = run(last(llm.generate("?", SamplingParams(max_tokens=20), "same")))
        assert end.outputs[0].text == "one two"


def test_a_late_confirmation_is_of_what_was_sent_before_it(start, run, monkeypatch) -> None:
    """Of one name: aborted on the last loop, used again, and aborted again before it came."""
    llm = start(default=ENDLESS, step_seconds=0.05)
    params = SamplingParams(max_tokens=900)

    async def use_and_abort() -> None:
        stream = llm.generate(prompt(1), params, "same")
        await anext(stream)
        await stream.aclose()

    run(use_and_abort())
    call, read = llm.client.call_utility_async, llm.client.get_output_async

    async def main() -> tuple[bool, list[int]]:
        answered, may_read = asyncio.Event(), asyncio.Event()

        async def late(method: str) -> Any:
            answer = await call(method)
            await answered.wait()
            return answer

        async def gated() -> Any:
            message = await read()
            await may_read.wait()
            return message

        monkeypatch.setattr(llm.client, "call_utility_async", late)
        monkeypatch.setattr(llm.client, "get_output_async", gated)
        may_read.set()
        await use_and_abort()
        may_read.clear()
        answered.set()
        third = asyncio.create_task(llm.add_request("same", prompt(1), params))
        for _ in range(10):
            await asyncio.sleep(0)
        too_early = third.done()
        may_read.set()
        output = await (await third).get()
        await llm.abort("same")
        return too_early, list(output.outputs[0].token_ids)

    too_early, tokens = run(main())
    assert not too_early, "the core may still speak of the second of that name"
    assert tokens == ENDLESS[: len(tokens)]


def test_a_long_text_is_tokenized_while_others_stream(start, run, byte_tokenizer) -> None:
    import threading

    class Slow(type(byte_tokenizer)):
        def encode(self, text: str) -> list[int]:
            if len(text) > 1000:
                released.wait(10)
            return super().encode(text)

    released = threading.Event()
    llm = start(default=ENDLESS, tokenizer=Slow(), vocab_size=257, max_model_len=4096)

    async def main() -> tuple[bool, int]:
        params = SamplingParams(max_tokens=8)
        long = asyncio.create_task(last(llm.generate("x" * 3000, params, "long")))
        short = await last(llm.generate("x", params, "short"))
        waiting = not long.done() and short.finished
        released.set()
        return waiting, len((await long).outputs[0].token_ids)

    assert run(main()) == (True, 8)


def test_drain(start, run) -> None:
    llm: AsyncLLM = start(default=ENDLESS, step_seconds=0.01)

    async def main() -> None:
        reader = asyncio.create_task(
            last(llm.generate(prompt(1), SamplingParams(max_tokens=30), "a"))
        )
        await registered(llm)
        with pytest.raises(TimeoutError, match="1 requests"):
            await llm.wait_for_requests_to_drain(0)
        await llm.wait_for_requests_to_drain(5)
        assert (await reader).finished

    run(main())


def test_the_prefix_cache_can_be_forgotten(start, run) -> None:
    llm = start(default=ENDLESS)

    async def main() -> list[int | None]:
        hits = []
        for i in range(3):
            end = await last(
                llm.generate(prompt(*range(1, 60)), SamplingParams(max_tokens=2), f"{i}")
            )
            hits.append(end.num_cached_tokens)
            if i == 1:
                assert await all_free(llm)
                assert await llm.reset_prefix_cache()
        return hits

    assert run(main()) == [0, 48, 0]
