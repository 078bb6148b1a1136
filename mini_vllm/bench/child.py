r"""One run in a process of its own: a spec comes in as JSON, a run goes out.

Use {py:func}`run_in_child`; `python -m mini_vllm.bench.child` is its other half.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

from mini_vllm.bench.measurement import Run, RunSpec


class ChildError(RuntimeError):
    """The measured process failed; the message ends with its last words."""


def run_in_child(spec: RunSpec) -> Run:
    """Measure `spec` in a fresh process that may use `spec.threads` threads."""
    threads = str(spec.threads)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    environment |= {"NUMBA_NUM_THREADS": threads}
    done = subprocess.run(
        [sys.executable, "-m", "mini_vllm.bench.child"],
        input=json.dumps(spec.as_dict()),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last_words = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ChildError(f"{spec.label} ended with status {done.returncode}:\n{last_words}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Read a spec from the standard input, measure, and print the run as one line."""
    from mini_vllm.bench.engines import run

    spec = RunSpec(**json.loads(sys.stdin.read()))
    print(json.dumps(asdict(run(spec))), flush=True)


if __name__ == "__main__":
    main()
