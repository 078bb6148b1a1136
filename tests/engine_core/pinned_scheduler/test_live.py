"""Both schedulers, live: ours and the one of the pinned tree, on a fixed sample of workloads.

The full run, with fresh seeds, is a command: `differential.py`. Both need what `requirements.txt`
lists (`nox -s differential`).
"""

from __future__ import annotations

import dataclasses
import json

import pytest
from pinned_scheduler import differential, intended_differences
from pinned_scheduler.coverage import Coverage
from pinned_scheduler.intended_differences import TABLE
from pinned_scheduler.lockstep import compare
from pinned_scheduler.our_adapter import OurAdapter
from pinned_scheduler.replay import raw_steps
from pinned_scheduler.upstream_defects import DEFECTS, outcome
from pinned_scheduler.workload import workload

from upstream_anchors import importing
from upstream_anchors.tree import DEFAULT_TREE

pytestmark = [
    pytest.mark.skipif(importing.why_not() is not None, reason=str(importing.why_not())),
]
SAMPLE = range(150)


@pytest.fixture(scope="module")
def pinned():
    importing.use_the_pinned_tree()
    from pinned_scheduler.upstream_adapter import UpstreamAdapter

    return UpstreamAdapter()


def test_the_tree_is_the_pinned_one(pinned) -> None:
    import vllm
    from vllm.v1.core.sched import scheduler

    assert scheduler.__file__.startswith(str(DEFAULT_TREE))
    assert vllm.__version__.startswith("0.22.1")


def test_what_has_failed_before_does_not_fail_again(pinned) -> None:
    for entry in json.loads(differential.KEPT.read_text(encoding="utf-8")):
        assert compare(entry["workload"], OurAdapter(), pinned) is None


def test_both_decide_alike(pinned) -> None:
    coverage = Coverage()
    for seed in SAMPLE:
        assert (difference := compare(workload(seed), OurAdapter(), pinned, coverage)) is None, str(
            difference
        )
    assert coverage.too_little() == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.field)
def test_each_intended_difference_is_one(pinned, monkeypatch, row) -> None:
    """Without its row the comparison fails, and in no other field."""
    others = tuple(one for one in TABLE if one is not row)
    monkeypatch.setattr(intended_differences.normalised, "__defaults__", (others,))
    found = next(
        difference
        for seed in SAMPLE
        if (difference := compare(workload(seed), OurAdapter(), pinned)) is not None
    )
    assert {name.split(" after")[0] for name in found.fields} == {row.field}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.id)
def test_the_defects_are_there(pinned, defect) -> None:
    """They were read in the source; here they happen."""
    theirs = outcome(defect, pinned)
    assert "without an end" in theirs or "AssertionError" in theirs
    ours = outcome(defect, OurAdapter())
    if defect.id == "ties":
        assert ours == theirs
    else:
        assert "ends with" in ours or "RequestError" in ours


def test_a_difference_is_found_shrunk_and_kept(pinned, monkeypatch, tmp_path) -> None:
    """Another rule is caught within a few workloads, and explained by a small one."""
    from mini_vllm.core.scheduler import Scheduler

    def oldest_first(scheduler, plan):
        scheduler.running.append(scheduler.running.pop(0))
        return original(scheduler, plan)

    original = Scheduler._preempt_one
    monkeypatch.setattr(Scheduler, "_preempt_one", oldest_first)
    ours, kept = OurAdapter(), tmp_path / "kept.json"
    kept.write_text("[]")
    failing, difference = next(
        (one, difference)
        for seed in SAMPLE
        if (difference := compare(one := workload(seed), ours, pinned)) is not None
    )
    small = differential.keep(failing, difference, ours, pinned, kept)
    arrivals = [e for step in small["steps"] for e in step if e["kind"] == "add"]
    assert 2 <= len(arrivals) <= 4
    assert compare(small, ours, pinned) is not None
    (entry,) = json.loads(kept.read_text())
    assert entry["workload"] == json.loads(json.dumps(small))
    assert dataclasses.asdict(difference)["seed"] == entry["seed"]


def test_nothing_of_ours_enters_the_second_waiting_queue(pinned) -> None:
    """Upstream's `skipped_waiting` is for requests of a kind that this engine does not have."""
    records = [record for seed in range(20) for record in raw_steps(workload(seed), pinned)]
    seen = [record["skipped after schedule"] for record in records if "scheduled" in record]
    assert len(seen) > 1000
    assert not any(seen)


def test_a_pool_of_one_longest_request_passes_the_check_at_start(pinned) -> None:
    """And holds one block fewer than that request needs: block 0 is never handed out."""
    import torch
    from vllm.v1.core.kv_cache_utils import check_enough_kv_cache_memory
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    (defect,) = (defect for defect in DEFECTS if defect.id == "block-zero")
    config = defect.workload["config"]
    scheduler = pinned.scheduler(config)
    spec = FullAttentionSpec(
        block_size=config["block_size"], num_kv_heads=1, head_size=1, dtype=torch.float32
    )
    memory = config["num_gpu_blocks"] * spec.page_size_bytes
    check_enough_kv_cache_memory(pinned.config, {"layer": spec}, memory)
    with pytest.raises(ValueError, match="larger than the available KV cache"):
        check_enough_kv_cache_memory(pinned.config, {"layer": spec}, memory - 1)
    needed = -(-(config["max_model_len"] - 1) // config["block_size"])
    assert scheduler.kv_cache_manager.block_pool.get_num_free_blocks() == needed - 1
