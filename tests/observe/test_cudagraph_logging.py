"""The table of steps by how they were run: right for a run of the engine, and logged in time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mini_vllm.core.stats import CUDAGraphStat, SchedulerStats
from mini_vllm.observe.cudagraph_logging import CUDAGraphLogging

CHECKPOINT = Path(__file__).parents[2] / "book" / "model" / "checkpoint"
DECODE, LARGE = CUDAGraphStat(3, 4, 1, "FULL"), CUDAGraphStat(40, 40, 0, "NONE")


def step(stat: CUDAGraphStat | None) -> SchedulerStats:
    return SchedulerStats(cudagraph_stats=stat)


def test_the_table_by_hand() -> None:
    counted = CUDAGraphLogging(clock=lambda: 0.0)
    for stat in (LARGE, DECODE, DECODE, None):
        counted.record(step(stat), None)
    counted.record(None, None)
    assert counted.table().splitlines() == [
        "| Unpadded Tokens | Padded Tokens | Num Paddings | Runtime Mode | Count |",
        "|-----------------|---------------|--------------|--------------|-------|",
        "| 3               | 4             | 1            | FULL         | 2     |",
        "| 40              | 40            | 0            | NONE         | 1     |",
    ]


def test_it_is_logged_when_its_time_is_over_and_begins_anew(caplog) -> None:
    now = [0.0]
    counted = CUDAGraphLogging(interval=10.0, clock=lambda: now[0])
    with caplog.at_level(logging.INFO, "mini_vllm.cudagraph"):
        now[0] = 50.0
        counted.record(step(DECODE), None)
        assert not caplog.records, "a start that takes long is no interval"
        now[0] = 60.0
        counted.record(step(DECODE), None)
        assert len(caplog.records) == 1
        assert "| 3               | 4             | 1            | FULL         | 2     |" in (
            caplog.text
        )
        now[0] = 75.0
        counted.record(step(None), None)
        counted.log()
        assert len(caplog.records) == 1, "nothing was counted since"
        counted.record(step(LARGE), None)
        assert len(caplog.records) == 1, "nor is a time without steps one"


def test_what_the_engine_tells_is_what_its_graphs_did() -> None:
    pytest.importorskip("torch")
    from mini_vllm import LLMEngine, SamplingParams

    counted = CUDAGraphLogging(interval=1e9)
    stand_in = {
        "cudagraph_mode": "FULL",
        "cudagraph_stand_in": True,
        "cudagraph_capture_sizes": [2, 4],
    }
    engine = LLMEngine.from_keywords(
        str(CHECKPOINT),
        dtype="float32",
        device="cpu",
        max_model_len=32,
        max_num_seqs=3,
        num_gpu_blocks_override=16,
        attention_backend="torch_static",
        skip_tokenizer_init=True,
        compilation_config=stand_in,
    )
    engine.stat_loggers.append(counted)
    params = SamplingParams(max_tokens=3, temperature=0.0, ignore_eos=True, detokenize=False)
    for name, length in (("a", 7), ("b", 1), ("c", 1)):
        engine.add_request(name, {"prompt_token_ids": [5] * length}, params)
    while engine.has_unfinished_requests():
        engine.step()
    # The last step has no tokens: it tells the runner who has ended, and nothing is run.
    assert engine.engine_core.scheduler.has_requests()
    engine.step()
    # One step with all prompts, nine tokens and too large; then three decodes, padded to four.
    assert counted.counts == {
        CUDAGraphStat(9, 9, 0, "NONE"): 1,
        CUDAGraphStat(3, 4, 1, "FULL"): 2,
    }
    stats = engine.engine_core.executor.model_runner.graph_runner.stats
    assert stats.num_padding == sum(s.num_paddings * n for s, n in counted.counts.items())
