"""Can the statements about what attention is given fail? Each mutant breaks one line of the engine.

The engine runs the book's model on prompts that share a prefix, in chunks, with preemptions; no
expected token is known here, only what must be true of every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from mini_vllm.attention.step_invariants import PlannedStep  # noqa: E402
from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig  # noqa: E402
from mini_vllm.core.engine_core_request import EngineCoreRequest  # noqa: E402
from mini_vllm.engine.core import EngineCore  # noqa: E402
from mini_vllm.engine.executor import Executor  # noqa: E402
from mini_vllm.errors import InvariantError  # noqa: E402
from mini_vllm.invariants import check  # noqa: E402
from mini_vllm.kernels.split_kv import plan_launch  # noqa: E402
from mini_vllm.observe import audit as audit_module  # noqa: E402
from mini_vllm.observe.audit import Audit  # noqa: E402
from mini_vllm.sampling_params import SamplingParams  # noqa: E402
from mini_vllm.worker.block_table import BlockTable  # noqa: E402
from mini_vllm.worker.input_batch import InputBatch  # noqa: E402
from mini_vllm.worker.model_runner import ModelRunner  # noqa: E402

CHECKPOINT = Path(__file__).parents[2] / "book" / "model" / "checkpoint"
PROMPTS = [[5, 9, 33], [*range(40, 60)], [*range(40, 57), 7, 8], [100, 101], [3] * 9]
LENGTHS = (10, 9, 7, 12, 8)


def run() -> list[Any]:
    """Answer the prompts under an audit; returns every step that it checked."""
    model = ModelConfig.from_checkpoint(CHECKPOINT, dtype="float32", max_model_len=44)
    config = EngineConfig(
        model_config=model,
        # A budget that cuts prompts, and a pool that is too small for all of them.
        scheduler_config=SchedulerConfig(
            max_num_seqs=4, max_num_batched_tokens=12, max_model_len=44
        ),
        cache_config=CacheConfig(block_size=4, num_gpu_blocks=13),
        device="cpu",
        attention_backend="torch_reference",
    )
    core, seen = EngineCore(config, Executor(config)), []
    for i, prompt in enumerate(PROMPTS):
        params = SamplingParams(temperature=0.0, max_tokens=LENGTHS[i], ignore_eos=True)
        core.add_request(EngineCoreRequest(str(i), list(prompt), params, float(i)))

    def watched(*states: Any) -> None:
        seen.extend(s for s in states if getattr(s, "invariant_owner", "") == "attention_step")
        check(*states)

    with pytest.MonkeyPatch.context() as patch, Audit(core) as audit:
        patch.setattr(audit_module, "check", watched)
        while core.scheduler.has_requests():
            core.step()
    assert sum(len(record.preempted_req_ids) for record in audit.records) > 0
    return seen


def test_the_engine_itself_passes_and_every_step_was_looked_at() -> None:
    seen = run()
    kinds = [np.diff(step.query_start_loc) for step in seen]
    assert len(seen) > 15
    assert any((lens == 1).all() for lens in kinds), "decodes alone"
    assert any((lens > 1).any() and (lens == 1).any() for lens in kinds), "chunks beside decodes"
    assert any(len(set(step.block_table[:, 0].tolist())) < len(step.seq_lens) for step in seen), (
        "a shared first block"
    )


slot_mapping = BlockTable.slot_mapping
append_row = BlockTable.append_row
move_row = BlockTable.move_row
condense = InputBatch.condense
prepare_inputs = ModelRunner._prepare_inputs


def one_place_on(table: BlockTable, rows: Any, positions: Any) -> Any:
    return slot_mapping(table, rows, positions) + 1


def always_the_first_block(table: BlockTable, rows: Any, positions: Any) -> Any:
    return slot_mapping(table, rows, positions % table.block_size)


def one_row_for_all(table: BlockTable, rows: Any, positions: Any) -> Any:
    return slot_mapping(table, rows * 0, positions)


def appends_at_the_front(table: BlockTable, row: int, block_ids: Any) -> None:
    table.block_ids[row, : len(block_ids)] = block_ids
    table.num_blocks[row] += len(block_ids)


def moves_all_but_the_last(table: BlockTable, source: int, target: int) -> None:
    table.num_blocks[source] -= 1
    move_row(table, source, target)
    table.num_blocks[target] += 1


def comes_back_with_its_old_blocks(table: BlockTable, row: int, block_ids: Any) -> None:
    table.num_blocks[row] = len(block_ids)


def tampered(**fields: Callable[[Any], Any]) -> Callable:
    """The runner's own inputs, with some fields of the metadata worked out anew."""

    def mutant(runner: ModelRunner, num_scheduled: Any) -> Any:
        token_ids, positions, metadata = prepare_inputs(runner, num_scheduled)
        changed = {name: change(metadata) for name, change in fields.items()}
        return token_ids, positions, replace(metadata, **changed)

    return mutant


def lengths_for_starts(metadata: Any) -> Any:
    lens = torch.diff(metadata.query_start_loc)
    return torch.cat([torch.zeros(1, dtype=torch.int32), lens])


def first_query(metadata: Any) -> int:
    return int(metadata.query_start_loc[1])


def longest_before_the_step(metadata: Any) -> int:
    return int((metadata.seq_lens - torch.diff(metadata.query_start_loc)).max())


MUTANTS: dict[str, tuple[str, Any, str, Callable]] = {
    "one place on": ("slots-follow-positions", BlockTable, "slot_mapping", one_place_on),
    "the first block for all": (
        "slots-follow-positions",
        BlockTable,
        "slot_mapping",
        always_the_first_block,
    ),
    "one row for all": ("slots-follow-positions", BlockTable, "slot_mapping", one_row_for_all),
    "appends at the front": ("table-covers-text", BlockTable, "append_row", appends_at_the_front),
    "moves all but the last": ("table-covers-text", BlockTable, "move_row", moves_all_but_the_last),
    "keeps old blocks": (
        "table-covers-text",
        BlockTable,
        "add_row",
        comes_back_with_its_old_blocks,
    ),
    "lengths for starts": (
        "query-starts-count-tokens",
        ModelRunner,
        "_prepare_inputs",
        tampered(query_start_loc=lengths_for_starts),
    ),
    "a slot too few": (
        "query-starts-count-tokens",
        ModelRunner,
        "_prepare_inputs",
        tampered(slot_mapping=lambda metadata: metadata.slot_mapping[1:]),
    ),
    "the first is the longest query": (
        "longest-bounds-all",
        ModelRunner,
        "_prepare_inputs",
        tampered(max_query_len=first_query),
    ),
    "lengths before the step": (
        "longest-bounds-all",
        ModelRunner,
        "_prepare_inputs",
        tampered(max_seq_len=longest_before_the_step),
    ),
}


@pytest.mark.parametrize(("named", "owner", "name", "mutant"), MUTANTS.values(), ids=MUTANTS)
def test_each_mutant_is_caught(
    monkeypatch, named: str, owner: Any, name: str, mutant: Callable
) -> None:
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises(InvariantError, match=named):
        run()


def planned(lens: list[int]) -> PlannedStep:
    """A step with so many new tokens a request, and its plan for groups of 4."""
    plan = plan_launch(
        num_queries=sum(lens),
        num_reqs=len(lens),
        max_query_len=max(lens),
        max_seq_len=4096,
        num_heads=32,
        num_kv_heads=8,
        head_size=128,
        element_bytes=2,
        num_processors=132,
    )
    return PlannedStep(np.concatenate(([0], np.cumsum(lens))), plan)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=12))
def test_every_plan_reaches_every_query(lens: list[int]) -> None:
    check(planned(lens))


@pytest.mark.parametrize(
    "change",
    [
        # No block for a remainder; as if a block took rows; one query each, judged by the first.
        lambda plan: {"num_query_blocks": plan.num_queries // plan.queries},
        lambda plan: {"num_query_blocks": plan.num_queries // plan.rows + 3},
        lambda plan: {"one_query": True},
    ],
    ids=["no remainders", "rows for tokens", "one query"],
)
def test_a_plan_that_falls_short_is_caught(change: Callable) -> None:
    step = planned([1, 40, 17])
    broken = PlannedStep(step.query_start_loc, replace(step.plan, **change(step.plan)))
    with pytest.raises(InvariantError, match="plan-reaches-every-query"):
        check(broken)
