"""The cost of a step, this engine's scheduler and the pinned one in turns.

    python tests/engine_core/pinned_scheduler/bench_step.py --json FILE
    python tests/engine_core/pinned_scheduler/bench_step.py keep FILE

The rules are those of `mini_vllm.bench.scheduler_step`; this adds the other side.
"""

# ruff: noqa: E402 (a script in a folder that is no package finds its neighbours first)

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
for folder in map(str, (HERE.parent, HERE.parents[2])):
    if folder not in sys.path:
        sys.path.append(folder)

from mini_vllm.bench import scheduler_step
from upstream_anchors import importing
from upstream_anchors.pin import the_pin


class PinnedDriver:
    """The pinned scheduler, without its statistics: they cost time that ours would not spend."""

    name = "vllm"
    version = f"{the_pin().version}+cpu"

    def __init__(self) -> None:
        importing.use_the_pinned_tree()
        from pinned_scheduler.upstream_adapter import Scheduler, UpstreamAdapter

        self.adapter = UpstreamAdapter()
        # Not the class that the comparison watches: nothing of ours runs under its clock.
        self.adapter.scheduler_class = Scheduler

    def build(self, shape: scheduler_step.Shape, num_steps: int) -> Any:
        config = shape.config(num_steps)
        scheduler = self.adapter.scheduler(config, log_stats=False)
        for index in range(shape.num_running):
            event = {
                "id": f"r{index}",
                "prompt": shape.prompt(index),
                "params": {"max_tokens": num_steps + 2, "ignore_eos": True},
                "repetition": None,
                "arrival_time": float(index),
                "priority": 0,
            }
            scheduler.add_request(self.adapter.request(event, config))
        return scheduler

    def result(self, req_ids: list[str]) -> Any:
        return self.adapter.result(req_ids, [[scheduler_step.TOKEN] for _ in req_ids])


def keep(file: Path) -> None:
    """Commit a record of `--json` to the book, as `{measurement} scheduler-step`."""
    from book.measurements import record

    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    record(
        "scheduler-step",
        what="One step of the scheduler and the KV cache manager without a model, this engine's "
        "and vLLM 0.22.1's in turns in one process; each step is a run.",
        command="nox -s differential -- bench",
        values={"rows": rows},
        runs=min(row["mini_vllm"]["num_steps"] for row in rows),
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["keep"]:
        keep(Path(sys.argv[2]))
    else:
        raise SystemExit(scheduler_step.main(others=[PinnedDriver()]))
