r"""One run in a process of its own: a task comes in as JSON, a result goes out.

Why a process? Because the second run in one is not the first: the allocator has its memory, the
compiled loops are loaded, a library has made up its mind how many threads to keep. And because
real vLLM lives in another interpreter altogether ({py:mod}`mini_vllm.bench.rivals`), which can
run this module as well as ours can: nothing at its top needs more than the standard library.

A child that fails, or that takes longer than it may, is an error with its last words, never a
missing number. `python -m mini_vllm.bench.child` is the other half.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mini_vllm.bench.measurement import Run, RunSpec

#: What a child can be asked to do: its name, and the function `module:name` that does it.
TASKS = {
    "throughput": "mini_vllm.bench.tasks:throughput",
    "book": "mini_vllm.bench.tasks:book",
    "decode": "mini_vllm.bench.tasks:decode",
    "latency": "mini_vllm.bench.tasks:latency",
    "first-token": "mini_vllm.bench.tasks:first_token",
    "gap": "mini_vllm.bench.tasks:gap",
    "growth": "mini_vllm.bench.growth:growth",
    "watching": "mini_vllm.bench.growth:watching",
    "bandwidth": "mini_vllm.bench.bandwidth:bandwidth",
    "products": "mini_vllm.bench.bandwidth:products",
    "versions": "mini_vllm.bench.tasks:versions",
    "device": "mini_vllm.bench.tasks:device",
}
_REPOSITORY = Path(__file__).resolve().parents[2]


class ChildError(RuntimeError):
    """The measured process failed; the message ends with its last words."""


def call_in_child(
    task: str,
    arguments: Mapping[str, Any],
    *,
    label: str = "",
    threads: int = 1,
    python: str | None = None,
    variables: Mapping[str, str] | None = None,
    checkout: Path | None = None,
    timeout_s: float = 900,
) -> dict[str, Any]:
    r"""Do `task` in a fresh process that may use so many `threads`; returns its result.

    The result has `spawned_s` added: the seconds from the start of the process to the moment that
    the task calls its first token, for tasks that report one. `python` is another interpreter,
    `checkout` another tree of this repository, whose engine and whose tasks are then the ones used.
    """
    count = str(threads)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment |= {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    environment |= {"NUMBA_NUM_THREADS": count, **(variables or {})}
    if python or checkout:
        environment["PYTHONPATH"] = str(checkout or _REPOSITORY)
    label = label or task
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "result.json"
        started = time.time()
        try:
            done = subprocess.run(
                [python or sys.executable, "-m", "mini_vllm.bench.child", str(answer)],
                input=json.dumps({"task": task, "arguments": dict(arguments)}),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=timeout_s,
                cwd=checkout,  # `-m` looks there first
            )
        except subprocess.TimeoutExpired as error:
            raise ChildError(f"{label} took longer than {timeout_s:.0f} s") from error
        if done.returncode or not answer.is_file():
            last_words = "\n".join(done.stdout.strip().splitlines()[-8:])
            raise ChildError(f"{label} ended with status {done.returncode}:\n{last_words}")
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if "first_token_at" in result:
        result["spawned_s"] = result.pop("first_token_at") - started
    return result


def run_in_child(spec: RunSpec) -> Run:
    """Measure `spec` in a fresh process that may use `spec.threads` threads."""
    result = call_in_child(
        "throughput", {"spec": spec.as_dict()}, label=spec.label, threads=spec.threads
    )
    return Run(**result)


def main() -> None:
    """Read a task from the standard input, do it, and write its result to the file named."""
    order = json.loads(sys.stdin.read())
    module, _, name = TASKS[order["task"]].partition(":")
    result = getattr(importlib.import_module(module), name)(**order["arguments"])
    if isinstance(result, Run):
        result = asdict(result)
    Path(sys.argv[1]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
