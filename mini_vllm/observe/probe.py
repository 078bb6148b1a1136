r"""How do you watch an engine without changing what it does?

From outside. A step has four seams, *schedule*, *execute*, *sample*, *update*, and each is a
method on some object. The probe puts its own function in front of each for as long as it is open,
notes what goes in and what comes out, and passes both on untouched. When it closes, the objects
are as they were. The engine has no hook, no callback and no flag for it, so what you see is what
would have happened anyway.

```python
with Probe(engine) as probe:
    while engine.has_unfinished_requests():
        engine.step()
print(probe.trace.table())
```

The alternative is to put logging into the scheduler. It is one line, and then a second, and each
costs a thousand calls a step on the hot path, whether or not anyone reads them. vLLM has no such
line per request; its scheduler at debug level is silent about who ran. What you can ask for is one
line per step ({up}`flag:--enable-logging-iteration-details`,
{up}`vllm/v1/engine/core.py#EngineCore.log_iteration_details`), and anything finer has to be got as
here: by wrapping {up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule` and
{up}`vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output`.

## Before or after?

A step has three moments, and a counter may differ in all of them: before *schedule*; between
*schedule* and *update*, when the counter of computed tokens has moved and the tokens have not; and
after *update*. A record keeps them apart by name, since most confusion about traces comes from not
doing so.

## What does it cost to watch?

Per step, four readings of the clock and a row for each request that is in the engine: its counters
and a copy of its list of blocks, twice. That grows with the requests and their context, and it is
spent between the stages, not inside them, so the times of the stages stay true while the step as a
whole gets longer. {doc}`/book/reference/performance` has the figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.trace import Trace

if TYPE_CHECKING:
    from mini_vllm.compilation.dispatcher import Dispatch


@dataclass(slots=True)
class RequestRecord:
    r"""One request in one step, at the step's three moments.

    | field | before *schedule* | between | after *update* |
    |---|---|---|---|
    | status | `status_before` | | `status` |
    | tokens it has | `num_tokens_before` | | `num_tokens` |
    | tokens computed | `num_computed_before` | `num_computed_tokens` | |
    | its blocks | `block_ids_before` | `block_ids` | |

    `num_scheduled_tokens` is 0 for a request that was passed over or waits. `num_cached_tokens` is
    what a prefix hit gave it in this step. `sampled_token_ids` is empty unless it drew.
    """

    req_id: str
    status_before: str
    num_tokens_before: int
    num_computed_before: int
    block_ids_before: list[int]
    num_prompt_tokens: int
    num_scheduled_tokens: int = 0
    num_cached_tokens: int = 0
    num_computed_tokens: int = 0
    block_ids: list[int] = field(default_factory=list)
    admitted: bool = False
    preempted: bool = False
    sampled_token_ids: list[int] = field(default_factory=list)
    num_tokens: int = 0
    status: str = ""
    finish_reason: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the request ended in this step."""
        return self.finish_reason is not None

    @property
    def is_decode(self) -> bool:
        """Whether the step computed just the token that the request had drawn last."""
        return (
            self.num_scheduled_tokens == 1
            and not self.admitted
            and self.num_tokens_before > self.num_prompt_tokens
            and self.num_computed_before == self.num_tokens_before - 1
        )


@dataclass(slots=True)
class StepRecord:
    r"""One step: its limits, its requests, and what the pool looked like.

    `requests` has every request that was in the engine when the step began, by id, in the order in
    which they had arrived there. `num_free_blocks`, of `num_blocks` that can be given out, is
    counted between *schedule* and *update*. `spans` has for each stage when it began and ended, in
    nanoseconds of a monotonic clock; `seconds` the time between.
    """

    # Step invariants are checked on this; see `mini_vllm.observe.audit`.
    invariant_owner = "step"

    index: int
    token_budget: int
    max_num_seqs: int
    block_size: int
    requests: dict[str, RequestRecord]
    total_num_scheduled_tokens: int = 0
    preempted_req_ids: list[str] = field(default_factory=list)
    finished_req_ids: list[str] = field(default_factory=list)
    num_free_blocks: int = 0
    num_blocks: int = 0
    num_running: int = 0
    num_waiting: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def time_stage(self, stage: str, began: int, ended: int) -> None:
        """Note when a stage began and ended."""
        self.spans[stage] = (began, ended)
        self.seconds[stage] = (ended - began) / 1e9

    @property
    def scheduled(self) -> list[RequestRecord]:
        """The requests that ran, in no particular order."""
        return [record for record in self.requests.values() if record.num_scheduled_tokens]


class Probe:
    r"""Writes down every step of an engine while it is open; use it in a `with`.

    Takes an {py:class}`~mini_vllm.engine.core.EngineCore`, or an
    {py:class}`~mini_vllm.engine.llm_engine.LLMEngine` that has one. Works just as well when the
    four seams are called by hand, as long as on the same objects. `records` grows by one
    {py:class}`StepRecord` a step; `trace` is the same as a
    {py:class}`~mini_vllm.observe.trace.Trace`. `dispatches` has for each step how it was run, with
    the padded size and the reason ({py:class}`~mini_vllm.compilation.dispatcher.Dispatch`), or None
    where nothing is compiled or captured, or nothing ran.

    Reads the engine's state, and never writes to it.
    """

    def __init__(self, engine: EngineCore | LLMEngine) -> None:
        self.engine_core = engine.engine_core if isinstance(engine, LLMEngine) else engine
        self.scheduler = self.engine_core.scheduler
        self.executor = self.engine_core.executor
        self.records: list[StepRecord] = []
        self.dispatches: list[Dispatch | None] = []
        self._requests: dict[str, Request] = {}
        # Where each wrapper stands: object, name, and the object's own attribute, if it had one.
        self._wrapped: list[tuple[Any, str, Any]] = []

    @property
    def trace(self) -> Trace:
        """What was written down so far, as tables."""
        return Trace(self.records)

    def __enter__(self) -> Probe:
        self._wrap(self.scheduler, "schedule", self._schedule)
        self._wrap(self.executor, "execute_model", self._execute)
        self._wrap(self.executor, "sample_tokens", self._timed("sample"))
        self._wrap(self.scheduler, "update_from_output", self._update)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Last first: another probe may have wrapped the same seam before us.
        for owner, name, previous in reversed(self._wrapped):
            if previous is None:
                delattr(owner, name)
            else:
                setattr(owner, name, previous)
        self._wrapped.clear()

    def _wrap(self, owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Put `wrapper(original, *args)` in front of a method of one object, not of its class."""
        original = getattr(owner, name)
        self._wrapped.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, lambda *args: wrapper(original, *args))

    def _execute(
        self, original: Callable[[SchedulerOutput], None], orders: SchedulerOutput
    ) -> None:
        """Time the forward pass, and note how it was run."""
        self._timed("execute")(original, orders)
        # A runner that takes no part in any of this has no such member, and an empty step is not
        # run at all.
        graph_runner = getattr(self.executor.model_runner, "graph_runner", None)
        if graph_runner is None or not orders.total_num_scheduled_tokens:
            self.dispatches.append(None)
        else:
            self.dispatches.append(graph_runner.last_dispatch)

    def _timed(self, stage: str) -> Callable[..., Any]:
        def wrapper(original: Callable[..., Any], *args: Any) -> Any:
            began = time.perf_counter_ns()
            try:
                return original(*args)
            finally:
                if self.records:
                    self.records[-1].time_stage(stage, began, time.perf_counter_ns())

        return wrapper

    def _schedule(self, original: Callable[[], SchedulerOutput]) -> SchedulerOutput:
        """Note the state, let the scheduler decide, and note what it decided."""
        get_block_ids = self.scheduler.kv_cache_manager.get_block_ids
        self._requests = dict(self.scheduler.requests)
        record = StepRecord(
            index=len(self.records),
            token_budget=self.scheduler.max_num_scheduled_tokens,
            max_num_seqs=self.scheduler.max_num_running_reqs,
            block_size=self.scheduler.kv_cache_manager.block_size,
            # The null block is never given out.
            num_blocks=self.scheduler.kv_cache_manager.block_pool.num_gpu_blocks - 1,
            requests={
                req_id: RequestRecord(
                    req_id=req_id,
                    status_before=str(request.status),
                    num_tokens_before=request.num_tokens,
                    num_computed_before=request.num_computed_tokens,
                    block_ids_before=get_block_ids(req_id),
                    num_prompt_tokens=request.num_prompt_tokens,
                )
                for req_id, request in self._requests.items()
            },
        )
        began = time.perf_counter_ns()
        output = original()
        record.time_stage("schedule", began, time.perf_counter_ns())

        record.total_num_scheduled_tokens = output.total_num_scheduled_tokens
        record.preempted_req_ids = sorted(output.preempted_req_ids)
        record.num_free_blocks = self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
        record.num_running, record.num_waiting = self.scheduler.get_request_counts()
        for req_id, row in record.requests.items():
            request = self._requests[req_id]
            row.num_scheduled_tokens = output.num_scheduled_tokens.get(req_id, 0)
            row.num_computed_tokens = request.num_computed_tokens
            row.block_ids = get_block_ids(req_id)
            row.preempted = req_id in output.preempted_req_ids
            row.admitted = (
                row.num_scheduled_tokens > 0 and row.status_before != RequestStatus.RUNNING.name
            )
            if row.admitted:
                row.num_cached_tokens = row.num_computed_tokens - row.num_scheduled_tokens
            row.num_tokens, row.status = request.num_tokens, str(request.status)
        self.records.append(record)
        self.after_schedule(record)
        return output

    def _update(
        self,
        original: Callable[[SchedulerOutput, ModelRunnerOutput], list[EngineCoreOutput]],
        scheduler_output: SchedulerOutput,
        model_runner_output: ModelRunnerOutput,
    ) -> list[EngineCoreOutput]:
        """Let the scheduler take in the tokens, and note where that left each request."""
        began = time.perf_counter_ns()
        outputs = original(scheduler_output, model_runner_output)
        record = self.records[-1]
        record.time_stage("update", began, time.perf_counter_ns())
        for news in outputs:
            record.requests[news.request_id].sampled_token_ids = list(news.new_token_ids)
        for req_id, row in record.requests.items():
            request = self._requests[req_id]
            row.num_tokens, row.status = request.num_tokens, str(request.status)
            if request.is_finished():
                row.finish_reason = str(request.get_finished_reason())
                record.finished_req_ids.append(req_id)
        self.after_update(record)
        return outputs

    def after_schedule(self, record: StepRecord) -> None:
        """Called between *schedule* and *execute*; for those who want to look closer."""

    def after_update(self, record: StepRecord) -> None:
        """Called at the end of a step; for those who want to look closer."""
