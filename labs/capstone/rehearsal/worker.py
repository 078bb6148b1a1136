r"""Run something that may hang, and come back with what it found.

The defect of this rehearsal is a request that never ends; so may the learner's script. A worker is
a process group with a limit in seconds. When the limit is reached the whole group is killed, and
that is an outcome like any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capstone.rehearsal.workshop import INSIDE, Workshop

_start = subprocess.Popen


@dataclass(frozen=True)
class Outcome:
    r"""What a worker left: its exit status, the end of what it printed, and its findings."""

    status: int
    seconds: float
    said: str
    found: dict[str, Any] = field(default_factory=dict)
    timed_out: bool = False

    def last_line(self) -> str:
        r"""The last thing it said, which for a Python that failed is the error."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        return lines[-1].strip() if lines else "nothing was printed"


def work(workshop: Workshop, script: str, *arguments: str, limit: float) -> Outcome:
    r"""Run `inside/SCRIPT FOUND ARGUMENTS…` with the stand-ins as working directory.

    The worker writes its findings, one JSON object, to the file named FOUND. Nothing that it
    started is left running, whatever became of it.
    """
    workshop.need_packages()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
        found, said = Path(scratch) / "found.json", Path(scratch) / "said.txt"
        command = [workshop.python(), str(INSIDE / script), str(found), *arguments]
        started = time.monotonic()
        with said.open("wb") as sink:
            process = _start(
                command,
                cwd=workshop.hub,
                env=workshop.environment(),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status, timed_out = process.wait(timeout=limit), False
            except subprocess.TimeoutExpired:
                status, timed_out = -signal.SIGKILL, True
            finally:
                _kill_group(process)
        return Outcome(
            status=status,
            seconds=round(time.monotonic() - started, 1),
            said=said.read_text(encoding="utf-8", errors="replace")[-8000:],
            found=_findings(found),
            timed_out=timed_out,
        )


def _findings(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The group outlives its leader if the learner's script started something.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
