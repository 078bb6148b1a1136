"""Workers that begin with the third-party imports done: what a test pays once and not each time.

Torch, transformers and their like are most of what importing a scheduler costs, and no tree under
test has a part in them. So one process imports them and forks for each worker. `vllm` itself is
imported in the fork, from the tree that the worker is given, as always.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

FIRST = (
    "torch._inductor.standalone_compile",
    "transformers.modeling_utils",
    "transformers.models.auto.image_processing_auto",
    "transformers.models.auto.processing_auto",
    "scipy.signal",
    "scipy.optimize",
    "openai.types.responses",
    "fastapi",
    "xgrammar",
    "pytest",
)


class Process:
    """As much of `subprocess.Popen` as a worker uses."""

    def __init__(self, source: Warm, command: list[str], **how: Any) -> None:
        asked = {"command": command, "cwd": str(how["cwd"]), "env": how["env"]}
        self.source, self.args = source, command
        self.pid = source.ask({**asked, "said": how["stdout"].name})
        self.status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.status is None:
            self.status = self.source.status_of(self, timeout)
        return self.status


class Warm:
    """The process that forks; one worker at a time."""

    def __init__(self, python: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [python, __file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def popen(self, command: list[str], **how: Any) -> Process:
        return Process(self, command, **how)

    def ask(self, wanted: dict[str, Any]) -> int:
        self.process.stdin.write(json.dumps(wanted) + "\n")
        return int(self.process.stdout.readline())

    def status_of(self, process: Process, timeout: float | None) -> int:
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        if not ready:
            raise subprocess.TimeoutExpired(process.args, timeout or 0.0)
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)


def _work(wanted: dict[str, Any]) -> None:
    os.setsid()
    sink = os.open(wanted["said"], os.O_WRONLY | os.O_APPEND)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    script = wanted["command"][1]
    sys.argv = wanted["command"][1:]
    sys.path[0] = str(Path(script).parent)
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in FIRST:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for line in sys.stdin:
        if not (pid := os.fork()):
            _work(json.loads(line))
        print(pid, file=answers, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    main()
