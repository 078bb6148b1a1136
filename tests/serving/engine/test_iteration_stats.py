"""What loggers are told adds up: tokens, hits, preemptions, and intervals that fit one another."""

from __future__ import annotations

import asyncio

import pytest

from mini_vllm.core.request import FinishReason
from mini_vllm.engine.iteration_stats import FinishedRequestStats
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.sampling_params import SamplingParams
from tests.serving.engine.streams import ENDLESS, Recorder, last, prompt


def test_what_a_workload_adds_up_to() -> None:
    """Eight requests of ten prompt tokens and fifteen of answer, in a pool for three of them."""
    recorder = Recorder()
    engine = LLMEngine.from_scripted(default=ENDLESS, num_gpu_blocks=20, block_size=4)
    engine.stat_loggers.append(recorder)
    for i in range(8):
        engine.add_request(
            f"r{i}", prompt(*[1] * 8, 2, 3), SamplingParams(max_tokens=15, ignore_eos=True)
        )
    peak = 0
    while engine.has_unfinished_requests():
        engine.step()
        peak = max(peak, engine.engine_core.get_stats().num_running_reqs)
    assert recorder.total("num_prompt_tokens") == 8 * 10
    assert recorder.total("num_generation_tokens") == 8 * 15
    assert len(recorder.total("time_to_first_tokens_iter")) == 8
    assert len(recorder.total("inter_token_latencies_iter")) == 8 * 14
    # Who comes later finds the two full blocks that the first one left, and every request counts
    # its prompt once, however often it was preempted.
    assert recorder.total("prefix_cache_queries") == 8 * 10
    assert recorder.total("prefix_cache_hits") == 7 * 8 == recorder.total("num_cached_tokens")
    scheduler_stats = [stats for stats, _ in recorder.records]
    preemptions = sum(stats.num_preempted_reqs for stats in scheduler_stats)
    assert preemptions > 0
    iterations = [stats for _, stats in recorder.records if stats is not None]
    # Told twice: by the scheduler at once, and by each request with its next token.
    assert sum(stats.num_preempted_reqs for stats in iterations) == preemptions
    assert max(stats.num_running_reqs for stats in scheduler_stats) == peak
    assert max(stats.kv_cache_usage for stats in scheduler_stats) == 1
    assert scheduler_stats[-1].num_free_blocks == 19
    finished = recorder.total("finished_requests")
    assert sorted(one.request_id for one in finished) == [f"r{i}" for i in range(8)]
    for one in finished:
        check_intervals(one)
        assert (one.num_prompt_tokens, one.num_generation_tokens) == (10, 15)
        assert (one.max_tokens_param, one.finish_reason) == (15, FinishReason.LENGTH)


def check_intervals(one: FinishedRequestStats) -> None:
    """The intervals of the picture in the module's docstring."""
    assert min(one.queued_time, one.prefill_time, one.decode_time) > 0
    assert one.inference_time == pytest.approx(one.prefill_time + one.decode_time)
    assert one.queued_time + one.inference_time <= one.e2e_latency + 0.05
    gaps = one.num_generation_tokens - 1
    assert one.mean_time_per_output_token * gaps == pytest.approx(one.decode_time)


def test_the_same_across_the_border(start, run) -> None:
    """With steps of a known length, latencies are what they must be; nobody has to wait long."""
    recorder = Recorder()
    llm = start(default=ENDLESS, step_seconds=0.02, max_num_seqs=1, stat_loggers=[recorder])

    async def main() -> None:
        params = SamplingParams(max_tokens=15)
        streams = [last(llm.generate(prompt(1, 2, 3), params, name)) for name in "ab"]
        await asyncio.gather(*streams)
        stream = llm.generate(prompt(1), SamplingParams(max_tokens=400), "c")
        await anext(stream)
        await stream.aclose()
        # An answer comes after the step that confirmed the abort.
        await llm.get_stats()

    run(main())
    a, b, c = sorted(recorder.total("finished_requests"), key=lambda one: one.request_id)
    for one in (a, b):
        check_intervals(one)
        assert one.decode_time >= 4 * 0.02
        assert one.prefill_time >= 0.02
    # One seat: b waits while a has its fifteen steps, of which some may be over when b comes.
    assert b.queued_time >= 3 * 0.02
    assert b.queued_time > a.queued_time
    assert c.finish_reason == FinishReason.ABORT
    assert c.num_generation_tokens >= 1
    gaps = recorder.total("inter_token_latencies_iter")
    assert min(gaps) >= 0.015
    first = recorder.total("time_to_first_tokens_iter")
    assert len(first) == 3
    assert min(first) >= 0.02
    assert recorder.total("num_prompt_tokens") == 3 + 3 + 1


def test_a_request_that_never_ran_has_no_intervals(start, run) -> None:
    recorder = Recorder()
    llm = start(default=ENDLESS, step_seconds=0.02, max_num_seqs=1, stat_loggers=[recorder])

    async def main() -> None:
        params = SamplingParams(max_tokens=400)
        first = llm.generate(prompt(1), params, "first")
        await anext(first)
        await llm.add_request("second", prompt(1), params)
        await llm.abort(["second"])
        await first.aclose()

    run(main())
    second = recorder.total("finished_requests")[0]
    assert (second.request_id, second.num_generation_tokens) == ("second", 0)
    assert second.queued_time == second.prefill_time == second.decode_time == 0
    assert second.inference_time == second.mean_time_per_output_token == 0
    assert second.e2e_latency >= 0
