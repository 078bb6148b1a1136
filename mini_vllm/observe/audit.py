r"""Was every step right?

An audit is a {py:class}`probe <mini_vllm.observe.probe.Probe>` that does not only look. Twice a
step, after *schedule* and after *update*, it runs every invariant of the pool, the block tables
and the scheduler; and at the end of the step those that speak of the step itself: that the budget
was kept, that no token appeared from nowhere, that nobody drew before its prompt was read, that no
block table was rewritten. Where a real model runs, it also holds what attention is given to what
the scheduler decided ({py:mod}`mini_vllm.attention.step_invariants`), before a layer sees it. The
first violation stops the engine with its name.

```python
with Audit(engine):
    while engine.has_unfinished_requests():
        engine.step()
```

It is what turns a random workload into a test: no expected output is needed, only that nothing
that must be true was ever false.

An invariant about a step needs two states, before and after, so the predicates below read a
{py:class}`~mini_vllm.observe.probe.StepRecord`, which has both.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from mini_vllm.attention.step_invariants import AttentionStep, PlannedStep
from mini_vllm.core.request import RequestStatus
from mini_vllm.invariants import REGISTRY, Invariant, check, invariant
from mini_vllm.observe.probe import Probe, StepRecord

#: The modules whose import registers invariants; none of them needs torch.
INVARIANT_MODULES = (
    "mini_vllm.core.block_pool",
    "mini_vllm.core.kv_cache_manager",
    "mini_vllm.core.scheduler_invariants",
    "mini_vllm.attention.step_invariants",
    "mini_vllm.compilation.capture_sizes",
    "mini_vllm.compilation.dispatcher",
    "mini_vllm.observe.audit",
)


def all_invariants(phase: int | None = None) -> list[Invariant]:
    """Every registered invariant, or those that one phase of the book explains."""
    for module in INVARIANT_MODULES:
        importlib.import_module(module)
    return [inv for inv in REGISTRY.values() if phase is None or inv.phase == phase]


class Audit(Probe):
    r"""Checks every invariant after every *schedule* and every *update* while it is open.

    Raises {py:class}`~mini_vllm.errors.InvariantError`, out of the step in which it happened.
    Costs a walk over the pool, and hashes every token again: for tests and labs. A runner that
    makes no arrays for attention, as the scripted one, has nothing to be checked there.
    """

    def __enter__(self) -> Audit:
        super().__enter__()
        runner: Any = self.executor.model_runner
        if hasattr(runner, "_prepare_inputs"):
            self._wrap(runner, "_prepare_inputs", self._inputs)
            if hasattr(runner.metadata_builder, "plan"):
                self._wrap(runner.metadata_builder, "build", self._build)
        return self

    def _inputs(self, original: Callable[..., tuple[Any, Any, Any]], *args: Any) -> Any:
        """Hold the arrays that attention will see to the scheduler's blocks."""
        token_ids, positions, metadata = original(*args)
        manager, host = self.scheduler.kv_cache_manager, metadata.host
        runner: Any = self.executor.model_runner
        check(
            AttentionStep(
                query_start_loc=host.query_start_loc,
                seq_lens=host.seq_lens,
                block_table=host.block_table,
                slot_mapping=host.slot_mapping,
                num_tokens=len(token_ids),
                max_query_len=metadata.max_query_len,
                max_seq_len=metadata.max_seq_len,
                block_size=manager.block_size,
                block_ids=[manager.get_block_ids(r) for r in runner.input_batch.req_ids],
            )
        )
        return token_ids, positions, metadata

    def _build(self, original: Callable[[Any], Any], common: Any) -> Any:
        """Hold each plan of programs to the queries that it is for."""
        prepared = original(common)
        starts = common.query_start_loc.cpu().numpy()
        check(*(PlannedStep(starts, plan) for plan in prepared.plans.values()))
        return prepared

    def after_schedule(self, record: StepRecord) -> None:
        """Check the state that the orders were written from."""
        self._check_state()

    def after_update(self, record: StepRecord) -> None:
        """Check the state that the next step begins with, and the step as a whole."""
        self._check_state()
        check(record)

    def _check_state(self) -> None:
        manager = self.scheduler.kv_cache_manager
        check(manager.block_pool, manager, self.scheduler)


@invariant(
    "budget-kept",
    "The tokens scheduled in a step add up to no more than the budget, and every request that is "
    "scheduled gets at least one.",
    phase=1,
    owner="step",
    anchors=(
        'vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"assert total_num_scheduled_tokens"',
        'vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"assert token_budget >= 0"',
    ),
)
def _budget_kept(step: StepRecord) -> Iterator[str]:
    total = sum(row.num_scheduled_tokens for row in step.requests.values())
    if total != step.total_num_scheduled_tokens:
        yield f"step {step.index}: {total} tokens were scheduled, the orders say " + str(
            step.total_num_scheduled_tokens
        )
    if total > step.token_budget:
        yield f"step {step.index}: {total} tokens, with a budget of {step.token_budget}"
    if len(step.scheduled) > step.max_num_seqs:
        yield f"step {step.index}: {len(step.scheduled)} requests ran, of {step.max_num_seqs}"
    if any(row.num_scheduled_tokens < 0 for row in step.requests.values()):
        yield f"step {step.index}: somebody was scheduled backwards"


@invariant(
    "token-conservation",
    "A step moves a request's computed tokens by what was scheduled for it, and its tokens by what "
    "it drew; only a prefix hit adds to the first, and only a preemption sets it back.",
    phase=1,
    owner="step",
    anchors=(
        "vllm/v1/core/sched/scheduler.py#Scheduler._update_after_schedule",
        "vllm/v1/core/sched/scheduler.py#Scheduler._update_request_with_output",
    ),
)
def _token_conservation(step: StepRecord) -> Iterator[str]:
    for row in step.requests.values():
        where = f"step {step.index}, request {row.req_id!r}"
        start = 0 if row.preempted else row.num_computed_before
        if row.num_computed_tokens != start + row.num_cached_tokens + row.num_scheduled_tokens:
            yield (
                f"{where}: computed {start} + {row.num_cached_tokens} from the cache + "
                f"{row.num_scheduled_tokens} scheduled, and stands at {row.num_computed_tokens}"
            )
        if row.num_cached_tokens % step.block_size or (
            row.num_cached_tokens >= row.num_tokens_before
        ):
            yield f"{where}: a prefix hit of {row.num_cached_tokens} of {row.num_tokens_before}"
        if row.num_tokens != row.num_tokens_before + len(row.sampled_token_ids):
            yield (
                f"{where}: had {row.num_tokens_before} tokens, drew "
                f"{len(row.sampled_token_ids)} and has {row.num_tokens}"
            )


@invariant(
    "needs-sample",
    "A request draws a token in a step if and only if its computed tokens caught up with its "
    "tokens in that step.",
    phase=1,
    owner="step",
    anchors=(
        'vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._prepare_inputs@"partial requests. W"',
        'vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output@"no partial prefill outputs"',
    ),
)
def _needs_sample(step: StepRecord) -> Iterator[str]:
    for row in step.requests.values():
        if row.status == RequestStatus.FINISHED_ABORTED.name:
            continue
        caught_up = row.num_scheduled_tokens > 0 and (
            row.num_computed_tokens == row.num_tokens_before
        )
        if caught_up != bool(row.sampled_token_ids):
            yield (
                f"step {step.index}, request {row.req_id!r}: computed {row.num_computed_tokens} of "
                f"{row.num_tokens_before} tokens and drew {row.sampled_token_ids}"
            )


@invariant(
    "block-tables-append-only",
    "While a request runs, its block table only grows at the end.",
    phase=2,
    owner="step",
    anchors=(
        'vllm/v1/core/block_pool.py#BlockHashToBlockMap@"block tables are append-only"',
        "vllm/v1/core/sched/output.py#CachedRequestData",
    ),
)
def _block_tables_append_only(step: StepRecord) -> Iterator[str]:
    for row in step.requests.values():
        if row.status_before != RequestStatus.RUNNING.name or row.preempted:
            continue
        if row.block_ids[: len(row.block_ids_before)] != row.block_ids_before:
            yield (
                f"step {step.index}, request {row.req_id!r}: {row.block_ids_before} became "
                f"{row.block_ids}"
            )


@invariant(
    "no-admission-after-preemption",
    "A step that preempts somebody admits nobody.",
    phase=3,
    owner="step",
    anchors=('vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"if not preempted_reqs and"',),
)
def _no_admission_after_preemption(step: StepRecord) -> Iterator[str]:
    admitted = [row.req_id for row in step.requests.values() if row.admitted]
    if step.preempted_req_ids and admitted:
        yield f"step {step.index} preempted {step.preempted_req_ids} and admitted {admitted}"
