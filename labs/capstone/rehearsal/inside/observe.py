r"""Run the learner's reproduction and watch the scheduler, not what the script prints about it.

`observe.py FOUND VLLM VERSION TESTS SCRIPT`. For each call of `Scheduler.schedule` one row for each
running request: its counters before the call, and what the call gave it.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import importing

#: A script that goes on for longer has shown what it had to show.
MOST_STEPS = 2000


class Enough(BaseException):
    """The script has been stopped; no `except Exception` of it may swallow that."""


class Watch:
    r"""What each step gave to each running request, and how requests ended."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.ends: dict[str, dict[str, Any]] = {}
        self.steps = 0
        self.outputs = 0

    def install(self, scheduler: Any) -> None:
        r"""Wrap the two methods of the class that make up a step."""
        schedule, update = scheduler.schedule, scheduler.update_from_output

        def watched_schedule(this: Any, *args: Any, **settings: Any) -> Any:
            if self.steps >= MOST_STEPS:
                raise Enough
            self.steps += 1
            before = [self.row(this, request) for request in this.running]
            plan = schedule(this, *args, **settings)
            for row in before:
                row["given"] = plan.num_scheduled_tokens.get(row["request"], 0)
                row["in_step"] = plan.total_num_scheduled_tokens
            self.rows += before
            return plan

        def watched_update(this: Any, *args: Any, **settings: Any) -> Any:
            self.outputs += 1
            there = dict(this.requests)
            result = update(this, *args, **settings)
            for req_id, request in there.items():
                if request.is_finished():
                    self.ends[req_id] = {
                        "step": self.steps,
                        "status": request.status.name,
                        "num_tokens": request.num_tokens,
                    }
            return result

        scheduler.schedule, scheduler.update_from_output = watched_schedule, watched_update

    def row(self, scheduler: Any, request: Any) -> dict[str, Any]:
        return {
            "step": self.steps,
            "request": request.request_id,
            "status": request.status.name,
            "num_tokens": request.num_tokens,
            "num_computed_tokens": request.num_computed_tokens,
            "min_tokens": request.sampling_params.min_tokens,
            "max_model_len": scheduler.max_model_len,
        }


def main() -> int:
    found, vllm, version, tests, script = sys.argv[1:]
    importing.use(Path(vllm), version)
    sys.path.insert(0, tests)
    from vllm.v1.core.sched.scheduler import Scheduler

    watch = Watch()
    watch.install(Scheduler)
    error = None
    sys.argv = [script]
    try:
        runpy.run_path(script, run_name="__main__")
    except Enough:
        pass
    except SystemExit as leaving:
        if leaving.code:
            error = f"the script left with status {leaving.code}"
    except BaseException as problem:
        traceback.print_exc()
        error = f"{type(problem).__name__}: {problem}"
    importing.report(
        found,
        rows=watch.rows,
        ends=watch.ends,
        steps=watch.steps,
        outputs=watch.outputs,
        error=error,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
