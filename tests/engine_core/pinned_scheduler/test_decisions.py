"""Does this scheduler decide as the pinned one does, step for step?

`recorded.json` holds what the real scheduler of vLLM 0.22.1 decided on random workloads: the
tokens of every request in every step and their order, victims, resumptions, both queues, every
block id of every table, hits, free blocks, finish reasons. The digests must be equal.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.block_pool import BlockPool
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.free_block_queue import KVCacheBlock
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler, StepPlan
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.sampling_params import RepetitionDetectionParams, SamplingParams

HERE = Path(__file__).parent
RECORDED = json.loads((HERE / "recorded.json").read_text())


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"pinned_scheduler_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


workload, replay = load("workload"), load("replay")


class OurAdapter:
    """The same fields, under nearly the same names."""

    def scheduler(self, config: dict[str, Any]) -> Scheduler:
        rest = dict(config)
        num_gpu_blocks = rest.pop("num_gpu_blocks")
        cache_config = CacheConfig(
            block_size=rest.pop("block_size"),
            enable_prefix_caching=rest.pop("enable_prefix_caching"),
        )
        return Scheduler(SchedulerConfig(**rest), cache_config, num_gpu_blocks)

    def request(self, event: dict[str, Any], config: dict[str, Any]) -> Request:
        repetition = event["repetition"] and RepetitionDetectionParams(*event["repetition"])
        params = SamplingParams(**event["params"], repetition_detection=repetition)
        return Request(
            event["id"],
            list(event["prompt"]),
            params,
            event["arrival_time"],
            event["priority"],
            eos_token_id=workload.EOS,
        )

    def abort(self, scheduler: Scheduler, req_id: str) -> None:
        scheduler.finish_requests(req_id, RequestStatus.FINISHED_ABORTED)

    def result(self, req_ids: list[str], sampled: list[list[int]]) -> ModelRunnerOutput:
        return ModelRunnerOutput(req_ids, {r: i for i, r in enumerate(req_ids)}, sampled)

    def orders(self, output: SchedulerOutput) -> dict[str, Any]:
        cached = output.scheduled_cached_reqs
        return {
            "new": [
                [new.req_id, new.num_computed_tokens, new.block_ids]
                for new in output.scheduled_new_reqs
            ],
            "cached": [
                list(row)
                for row in zip(
                    cached.req_ids,
                    cached.new_block_ids,
                    cached.num_computed_tokens,
                    cached.num_output_tokens,
                    strict=True,
                )
            ],
        }

    def news(self, outputs: list[EngineCoreOutput]) -> list[Any]:
        return [
            [
                one.request_id,
                one.new_token_ids,
                None if one.finish_reason is None else str(one.finish_reason),
                one.stop_reason,
                one.num_cached_tokens,
            ]
            for one in outputs
        ]


def differences(seeds: range) -> list[str]:
    found = []
    for seed in seeds:
        ours = replay.summary(replay.replay(workload.workload(seed), OurAdapter()))
        theirs = RECORDED["workloads"][str(seed)]
        if ours != theirs:
            found.append(f"workload {seed}: {ours}, recorded {theirs}")
    return found


def test_the_recording_is_of_the_pinned_version_and_has_seen_everything() -> None:
    assert RECORDED["about"]["vllm"] == "0.22.1"
    entries = RECORDED["workloads"].values()
    assert len(entries) == 1000
    for what, at_least in (
        ("steps", 50_000),
        ("preemptions", 1_000),
        ("hits", 2_000),
        ("finished", 5_000),
    ):
        assert sum(entry[what] for entry in entries) >= at_least


def test_it_decides_as_the_pinned_scheduler_does() -> None:
    assert differences(range(1000)) == []


def first_admitted(scheduler: Scheduler, plan: StepPlan) -> tuple[Request, bool]:
    """Take the blocks of the first in line."""
    scheduler.running.append(scheduler.running.pop(0))
    return preempt_one(scheduler, plan)


def no_refund(scheduler: Scheduler, plan: StepPlan) -> tuple[Request, bool]:
    """Keep the tokens that a victim had been given."""
    before = plan.token_budget
    result = preempt_one(scheduler, plan)
    plan.token_budget = before
    return result


def admit_anyway(scheduler: Scheduler, plan: StepPlan) -> None:
    """Admit after a preemption too."""
    schedule_running(scheduler, plan)
    scheduler._schedule_waiting(plan)


def first_block_first(pool: BlockPool, blocks: Iterable[KVCacheBlock]) -> None:
    """Overwrite the beginning of a request before its end."""
    free_blocks(pool, reversed(list(blocks)))


def shorter_hits(manager: KVCacheManager, request: Request) -> tuple[list, int]:
    """Forget one block of every hit."""
    blocks, _ = get_computed_blocks(manager, request)
    return list(blocks[:-1]), len(blocks[:-1]) * manager.block_size


preempt_one = Scheduler._preempt_one
schedule_running = Scheduler._schedule_running
free_blocks = BlockPool.free_blocks
get_computed_blocks = KVCacheManager.get_computed_blocks


@pytest.mark.parametrize(
    ("owner", "name", "other_rule"),
    [
        (Scheduler, "_preempt_one", first_admitted),
        (Scheduler, "_preempt_one", no_refund),
        (Scheduler, "_schedule_running", admit_anyway),
        (BlockPool, "free_blocks", first_block_first),
        (KVCacheManager, "get_computed_blocks", shorter_hits),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_another_rule_would_be_noticed(monkeypatch, owner, name: str, other_rule) -> None:
    monkeypatch.setattr(owner, name, other_rule)
    assert len(differences(range(60))) >= 1


@pytest.mark.vllm_cpu
def test_it_decides_as_the_installed_one_does_now() -> None:
    """Against the real one, live: on a difference this says which step, and how."""
    pytest.importorskip("vllm", reason="vLLM is not installed here: nox -s vllm_cpu")
    theirs = load("upstream_adapter").UpstreamAdapter()
    for seed in range(50):
        one = workload.workload(seed)
        expected = json.loads(json.dumps(replay.replay(one, theirs)))
        found = json.loads(json.dumps(replay.replay(one, OurAdapter())))
        for step, (ours, pinned) in enumerate(zip(found, expected, strict=True)):
            assert ours == pinned, f"workload {seed} differs in step {step}: {one['config']}"
