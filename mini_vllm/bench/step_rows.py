r"""What does a step cost, and what does it cost to look?

Three works about the step itself rather than about tokens: how its cost grows
({py:mod}`mini_vllm.bench.growth`), what the scheduler's part is beside vLLM's own scheduler
({py:mod}`mini_vllm.bench.scheduler_step`), and what a {py:class}`~mini_vllm.observe.probe.Probe`
adds to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from mini_vllm.bench.child import ChildError
from mini_vllm.bench.contest import NO_VLLM, Setting
from mini_vllm.bench.rows import goal

RUNNING, RUNNING_CONTEXT = (16, 64, 256, 1024), 256
CONTEXT, CONTEXT_REQUESTS = (1024, 2048, 4096, 8192, 16384, 32000), 4
#: Twice of everything may cost 2 to this power, between any two neighbours of a series: linear, and
#: a tenth for the noise of two timings.
LINEAR = 1.15
#: The number of running requests for which the scheduler's goal is stated.
MANY = 256
_REPOSITORY = Path(__file__).resolve().parents[2]
_BOTH_SCHEDULERS = _REPOSITORY / "tests/engine_core/pinned_scheduler/bench_step.py"


def growth(setting: Setting) -> list[dict[str, Any]]:
    """What a step of this engine costs against running requests, and against context."""
    arguments = {
        "model": setting.model,
        "dtype": "float32",
        "running": RUNNING,
        "running_context": RUNNING_CONTEXT,
        "context": CONTEXT,
        "context_requests": CONTEXT_REQUESTS,
        "device": setting.device,
        "threads": setting.threads,
    }
    tries = []
    for count in range(1, setting.repeats + 1):
        label = f"growth, run {count} of {setting.repeats}"
        tries.append(setting.run("mini_vllm", "growth", arguments, label))
        setting.tell(f"{label}: done")
    series = {kind: medians([t[kind] for t in tries]) for kind in ("running", "context")}
    steepest = {
        "running": steepest_rise(series["running"], "requests"),
        "context": steepest_rise(series["context"], "context"),
    }
    return [
        {
            "id": "growth",
            "work": "cost per step against running requests and context, float32",
            "unit": "s",
            "better": "lower",
            "engines": {"mini_vllm": {"status": "ran"}},
            "series": series,
            "steepest": steepest,
            "must": goal("linear or better", all(rise <= LINEAR for rise in steepest.values())),
        }
    ]


def scheduler(setting: Setting) -> list[dict[str, Any]]:
    r"""The scheduler's and the KV manager's part of a step, beside the pinned scheduler's.

    Both take turns in one process, so an interpreter with vLLM's requirements runs them. Without
    one, or without the pinned tree's adapter, ours runs alone.
    """
    both = setting.vllm_python is not None and _BOTH_SCHEDULERS.is_file()
    program = [str(_BOTH_SCHEDULERS)] if both else ["-m", "mini_vllm.bench.scheduler_step"]
    python = setting.vllm_python if both and setting.vllm_python else sys.executable
    words = ["--running", *map(str, RUNNING), "--contexts", "--steps", "200"]
    tries = []
    for count in range(1, setting.repeats + 1):
        tries.append(_run_scheduler([python, *program, *words], setting.timeout_s))
        many = next(row for row in tries[-1] if row["num_running"] == MANY)
        found = {k: v["step_us"] for k, v in many.items() if isinstance(v, dict)}
        setting.tell(f"scheduler, run {count} of {setting.repeats}: {found} us at {MANY} running")
    engines: dict[str, Any] = {"vllm": {"status": NO_VLLM}}
    for name in ("mini_vllm", "vllm") if both else ("mini_vllm",):
        runs = [_at(rows, MANY)[name]["step_us"] for rows in tries]
        engines[name] = {"status": "ran", "median": median(runs), "runs": runs}
    ours, theirs = engines["mini_vllm"]["median"], engines["vllm"].get("median")
    series = [
        {
            "requests": number,
            **{
                name: median(_at(rows, number)[name]["step_us"] for rows in tries)
                for name in engines
                if "median" in engines[name]
            },
        }
        for number in RUNNING
    ]
    return [
        {
            "id": "scheduler",
            "work": f"scheduler and KV manager per step, {MANY} running requests",
            "unit": "µs",
            "better": "lower",
            "engines": engines,
            "series": series,
            "must": goal("not slower than vLLM's own", ours <= theirs if theirs else None),
            "aim": goal("half of it", ours <= theirs / 2 if theirs else None),
        }
    ]


def watching(setting: Setting) -> list[dict[str, Any]]:
    """What a probe adds to a step of 64 requests, on the real model."""
    arguments = {
        "model": setting.model,
        "dtype": "float32",
        "requests": 64,
        "context": 256,
        "rounds": 6,
        "device": setting.device,
    }
    tries = []
    for count in range(1, setting.repeats + 1):
        label = f"watching, run {count} of {setting.repeats}"
        tries.append(setting.run("mini_vllm", "watching", arguments, label))
        last = tries[-1]
        setting.tell(
            f"{label}: {last['alone_s'] * 1e3:.2f} ms, watched {last['watched_s'] * 1e3:.2f} ms"
        )
    added = [1e6 * (one["watched_s"] - one["alone_s"]) for one in tries]
    return [
        {
            "id": "watching",
            "work": "what a probe adds to a step, 64 running requests, context 256",
            "unit": "µs",
            "better": "lower",
            "engines": {"mini_vllm": {"status": "ran", "median": median(added), "runs": added}},
            "step_us": 1e6 * median(one["alone_s"] for one in tries),
        }
    ]


def medians(tries: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Point by point, the median of every time over the runs."""
    return [
        {
            key: median(point[key] for point in points) if key.endswith("_s") else value
            for key, value in points[0].items()
        }
        for points in zip(*tries, strict=True)
    ]


def steepest_rise(series: list[dict[str, Any]], along: str) -> float:
    """The steepest rise between neighbours, as a power: 1 is linear, 2 quadratic."""
    return max(
        log(b["step_s"] / a["step_s"]) / log(b[along] / a[along]) for a, b in pairwise(series)
    )


def _run_scheduler(command: list[str], timeout_s: float) -> list[dict[str, Any]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_REPOSITORY)}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "record.json"
        try:
            done = subprocess.run(
                [*command, "--json", str(file)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise ChildError(f"the scheduler took longer than {timeout_s:.0f} s") from error
        if done.returncode:
            last_words = "\n".join(done.stdout.strip().splitlines()[-5:])
            raise ChildError(f"the scheduler ended with status {done.returncode}:\n{last_words}")
        rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return rows


def _at(rows: list[dict[str, Any]], num_running: int) -> dict[str, Any]:
    return next(row for row in rows if row["num_running"] == num_running)
