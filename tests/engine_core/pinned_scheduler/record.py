"""Run the pinned scheduler on fixed workloads and keep the digests of what it decided.

    python tests/engine_core/pinned_scheduler/record.py 400

The digests let any environment, torch or not, notice a changed decision; the live comparison in
`differential.py` says which one, and sees new workloads each time.
"""

# ruff: noqa: E402 (a script in a folder that is no package finds its neighbours first)

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in map(str, (HERE.parent, HERE.parents[2])):
    if folder not in sys.path:
        sys.path.append(folder)

from pinned_scheduler.replay import steps, summary
from pinned_scheduler.workload import GENERATOR, workload

from upstream_anchors import importing
from upstream_anchors.pin import the_pin


def main(num_workloads: int) -> None:
    importing.use_the_pinned_tree()
    from pinned_scheduler.upstream_adapter import UpstreamAdapter

    adapter = UpstreamAdapter()
    recorded = {seed: summary(steps(workload(seed), adapter)) for seed in range(num_workloads)}
    about = {
        "what": "the decisions of vllm.v1.core.sched.scheduler.Scheduler",
        "vllm": the_pin().version,
        "generator": GENERATOR,
        "command": f"python tests/engine_core/pinned_scheduler/record.py {num_workloads}",
    }
    lines = ",\n".join(f'  "{seed}": {json.dumps(entry)}' for seed, entry in recorded.items())
    (HERE / "recorded.json").write_text(
        f'{{"about": {json.dumps(about)},\n"workloads": {{\n{lines}\n}}}}\n'
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
