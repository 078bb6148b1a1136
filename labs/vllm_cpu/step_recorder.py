r"""How do you record a scheduler that lives in a process that you did not start?

vLLM spawns its engine core, and a spawned child imports the parent's main module anew. So whatever
that module does at import happens in every process. {py:func}`install` leaves a note for the import
system: *when somebody imports the scheduler, wrap three of its methods*. It imports nothing itself,
because an import has log lines of its own, and a process that never schedules never notices.

The wrapped methods are the seams that {up}`vllm/v1/engine/core.py#EngineCore.step` calls:
{up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule` and
{up}`vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output`; `add_request` says who arrived
in between. Each step becomes one line of JSON, written at once: the engine core is killed, not
asked.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
from functools import wraps
from pathlib import Path
from typing import Any

VARIABLE = "STEP_TRACE"
TARGET = "vllm.v1.core.sched.scheduler"


def install() -> None:
    r"""Record into the file that the variable `STEP_TRACE` names; without it, do nothing."""
    if path := os.environ.get(VARIABLE):
        sys.meta_path.insert(0, _WrapOnImport(Path(path)))


class _WrapOnImport(importlib.abc.MetaPathFinder):
    """Finds the one module by the ordinary means and wraps its scheduler once it has run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_wrap(module: Any) -> None:
            run(module)
            record(module.Scheduler, self.path)

        spec.loader.exec_module = run_and_wrap  # type: ignore[method-assign]
        return spec


def record(scheduler: Any, path: Path) -> None:
    r"""Wrap a scheduler class so that each instance appends its steps to `path`.

    Every value is copied out when it is seen. A scheduler and a runner in one process share their
    lists, and the runner extends some of them later.
    """
    add, schedule, update = scheduler.add_request, scheduler.schedule, scheduler.update_from_output

    @wraps(add)
    def add_request(self: Any, request: Any) -> Any:
        recorder = _recorder(self, path)
        recorder.requests[request.request_id] = request
        recorder.arrived.append(_short(request.request_id))
        return add(self, request)

    @wraps(schedule)
    def schedule_step(self: Any) -> Any:
        output = schedule(self)
        _recorder(self, path).scheduled(output)
        return output

    @wraps(update)
    def update_from_output(self: Any, scheduler_output: Any, model_output: Any) -> Any:
        result = update(self, scheduler_output, model_output)
        _recorder(self, path).updated(result)
        return result

    scheduler.add_request = add_request
    scheduler.schedule = schedule_step
    scheduler.update_from_output = update_from_output


class _Recorder:
    """The steps of one scheduler; holds its requests, which the scheduler forgets at their end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: dict[str, Any] = {}
        self.arrived: list[str] = []
        self.pending: list[dict[str, Any]] = []
        self.step = 0

    def scheduled(self, output: Any) -> None:
        new = {data.req_id: data.num_computed_tokens for data in output.scheduled_new_reqs}
        cached = output.scheduled_cached_reqs
        counts = dict(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        resumed = {name: counts[name] for name in cached.req_ids if name in cached.resumed_req_ids}
        self.pending.append(
            {
                "step": self.step,
                "arrived": self.arrived,
                "admitted": {_short(name): count for name, count in {**new, **resumed}.items()},
                "preempted": sorted(_short(name) for name in output.preempted_req_ids or ()),
                "scheduled": {
                    _short(name): count for name, count in output.num_scheduled_tokens.items()
                },
                "after_schedule": self.counters(),
            }
        )
        self.arrived = []
        self.step += 1

    def updated(self, result: dict[int, Any]) -> None:
        # With a batch queue, the next step is scheduled before this one is updated: first in,
        # first out.
        line = self.pending.pop(0)
        outputs = [output for client in result.values() for output in client.outputs]
        line["sampled"] = {_short(o.request_id): list(o.new_token_ids) for o in outputs}
        line["finished"] = {
            _short(o.request_id): str(o.finish_reason)
            for o in outputs
            if o.finish_reason is not None
        }
        line["after_update"] = self.counters()
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def counters(self) -> dict[str, list[Any]]:
        return {
            _short(name): [request.status.name, request.num_computed_tokens, request.num_tokens]
            for name, request in self.requests.items()
        }


_recorders: dict[int, _Recorder] = {}


def _recorder(scheduler: Any, path: Path) -> _Recorder:
    return _recorders.setdefault(id(scheduler), _Recorder(path))


def _short(name: str) -> str:
    """`0-909d7f68` -> `0`: vLLM adds a random suffix to the id that its front-end counted."""
    return name.rpartition("-")[0] or name
