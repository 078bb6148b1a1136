"""Does this scheduler decide as the pinned one did, step for step?

`recorded.json` holds what the real scheduler of vLLM 0.22.1 decided on fixed random workloads: the
tokens of every request in every step and their order, victims, resumptions, all queues, every block
of every table and of the free queue, hits, finish reasons. The digests must be equal. This needs
neither torch nor vLLM; `test_live.py` has both sides run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from pinned_scheduler.our_adapter import OurAdapter
from pinned_scheduler.replay import steps, summary
from pinned_scheduler.workload import GENERATOR, workload

from mini_vllm.core.block_pool import BlockPool
from mini_vllm.core.free_block_queue import KVCacheBlock
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import Request
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.step_plan import StepPlan

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
NUM_WORKLOADS = 200


def differences(seeds: range) -> list[str]:
    found = []
    for seed in seeds:
        ours = summary(steps(workload(seed), OurAdapter()))
        theirs = RECORDED["workloads"][str(seed)]
        if ours != theirs:
            found.append(f"workload {seed}: {ours}, recorded {theirs}")
    return found


def test_the_recording_is_of_the_pinned_version_and_has_seen_everything() -> None:
    assert RECORDED["about"]["vllm"] == "0.22.1"
    entries = RECORDED["workloads"].values()
    assert RECORDED["about"]["generator"] == GENERATOR
    assert len(entries) == NUM_WORKLOADS
    for what, at_least in (
        ("steps", 25_000),
        ("preemptions", 1_500),
        ("hits", 900),
        ("finished", 3_000),
    ):
        assert sum(entry[what] for entry in entries) >= at_least


def test_it_decides_as_the_pinned_scheduler_does() -> None:
    assert differences(range(NUM_WORKLOADS)) == []


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
    assert len(differences(range(40))) >= 1
