"""The map of the pinned tree against counts and relations that were found by reading it."""

from __future__ import annotations

import pytest

from upstream_anchors.codebase_map import CodeGraph, choose_part

CORE = "vllm/v1/core"


def test_every_file_is_read_and_the_logger_has_its_importers(pinned: CodeGraph) -> None:
    assert (len(pinned.files), pinned.skipped) == (1758, [])
    assert pinned.most_imported(1) == [("vllm/logger.py", 669)]


# Traced in the tree by hand, with grep and an editor, before the graph was asked.
@pytest.mark.parametrize(
    ("importer", "imported", "when", "what"),
    [
        (f"{CORE}/block_pool.py", f"{CORE}/kv_cache_utils.py", "load", "name"),
        (f"{CORE}/kv_cache_manager.py", f"{CORE}/kv_cache_coordinator.py", "load", "name"),
        (f"{CORE}/sched/interface.py", f"{CORE}/sched/output.py", "typing", "name"),
        (f"{CORE}/kv_cache_metrics.py", f"{CORE}/kv_cache_utils.py", "typing", "name"),
        (f"{CORE}/sched/async_scheduler.py", f"{CORE}/sched/scheduler.py", "load", "name"),
        ("vllm/config/scheduler.py", f"{CORE}/sched/async_scheduler.py", "lazy", "name"),
    ],
)
def test_an_import_that_was_traced_by_hand(
    pinned: CodeGraph, importer: str, imported: str, when: str, what: str
) -> None:
    found = pinned.imported[importer][imported]
    assert (when, what) in {(one.when, one.what) for one in found}


@pytest.mark.parametrize(
    ("path", "caller", "callee_path", "callee"),
    [
        # Both through `self.scheduler: SchedulerInterface`.
        (
            "vllm/v1/engine/core.py",
            "EngineCore.step",
            f"{CORE}/sched/interface.py",
            "SchedulerInterface.schedule",
        ),
        (
            "vllm/v1/engine/core.py",
            "EngineCore.step",
            f"{CORE}/sched/interface.py",
            "SchedulerInterface.update_from_output",
        ),
        (
            "vllm/v1/engine/core.py",
            "EngineCore.step",
            "vllm/v1/executor/abstract.py",
            "Executor.execute_model",
        ),
        # A method of the same class.
        (
            "vllm/v1/engine/core.py",
            "EngineCore.step",
            "vllm/v1/engine/core.py",
            "EngineCore._process_aborts_queue",
        ),
        # An attribute assigned from a constructor.
        (
            f"{CORE}/sched/scheduler.py",
            "Scheduler.schedule",
            f"{CORE}/kv_cache_manager.py",
            "KVCacheManager.allocate_slots",
        ),
        # A property's class, and a constructor.
        (
            f"{CORE}/kv_cache_manager.py",
            "KVCacheManager.allocate_slots",
            f"{CORE}/block_pool.py",
            "BlockPool.get_num_free_blocks",
        ),
        (
            f"{CORE}/sched/scheduler.py",
            "Scheduler.__init__",
            f"{CORE}/kv_cache_manager.py",
            "KVCacheManager",
        ),
        (
            f"{CORE}/block_pool.py",
            "BlockPool.__init__",
            f"{CORE}/kv_cache_utils.py",
            "FreeKVCacheBlockQueue",
        ),
        (
            f"{CORE}/block_pool.py",
            "BlockPool.get_new_blocks",
            f"{CORE}/kv_cache_utils.py",
            "FreeKVCacheBlockQueue.popleft_n",
        ),
        # A plain function of another file.
        (
            f"{CORE}/sched/scheduler.py",
            "Scheduler._update_request_with_output",
            f"{CORE}/sched/utils.py",
            "check_stop",
        ),
    ],
)
def test_a_call_that_was_traced_by_hand(
    pinned: CodeGraph, path: str, caller: str, callee_path: str, callee: str
) -> None:
    assert (path, caller, callee) in {
        (call.path, call.caller, call.callee) for call in pinned.callers[callee_path]
    }


def test_the_tally_leaves_no_call_out(pinned: CodeGraph) -> None:
    resolved = len(pinned.calls)
    for file in pinned.files.values():
        assert file.calls >= file.outside + sum(file.unresolved.values())
    total = sum(file.calls for file in pinned.files.values())
    outside = sum(file.outside for file in pinned.files.values())
    unresolved = sum(sum(file.unresolved.values()) for file in pinned.files.values())
    assert total == resolved + outside + unresolved
    # In the part that the book is about, nearly every call is accounted for.
    part = choose_part(pinned, [CORE])
    calls = sum(entry.file.calls for entry in part.entries)
    unknown = sum(sum(entry.file.unresolved.values()) for entry in part.entries)
    assert unknown < calls / 20


def test_what_is_called_is_a_name_that_an_anchor_can_have(pinned: CodeGraph, real) -> None:
    entry = choose_part(pinned, [f"{CORE}/block_pool.py"]).entries[0]
    assert len(entry.callers) > 20
    for caller in entry.callers:
        assert real.resolve(f"{entry.path}#{caller.callee}").symbol == caller.callee
        if caller.caller:
            assert real.resolve(f"{caller.path}#{caller.caller}").symbol == caller.caller
