r"""How is the engine's process born, and how does it end?

It is a fresh interpreter that runs {py:mod}`mini_vllm.engine.core_proc`. Not a fork: torch and the
kernels' library have threads of their own, and a forked copy of a process with threads holds locks
that nobody will ever release. Not `multiprocessing` with its start method *spawn* either, which is
what upstream uses ({up}`vllm/v1/engine/utils.py#CoreEngineProcManager`): a spawned process first
imports the main module of its parent *again*, so each script that starts an engine must guard its
last lines with `if __name__ == "__main__"`, and a script that is read from a pipe cannot be spawned
at all. What spawn would give in exchange, arguments that are pickled, is not wanted here.

The child is told its setup through its standard input, and that pipe then stays open as the
lifeline: it is the one thing that ends for certain when this process does, whatever kills it. The
sockets lie in a directory of their own that only this user may enter, so no port is open and no
other user of the machine can speak to the engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mini_vllm.engine.core_messages import CoreSetup, encode

# How long the child may take to notice that its lifeline ended.
SECONDS_TO_EXIT = 5.0


def _end(process: subprocess.Popen[bytes], directory: str) -> None:
    """Cut the lifeline, wait, and make sure."""
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
    try:
        process.wait(SECONDS_TO_EXIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(directory, ignore_errors=True)


class CoreProcess:
    r"""The front-end's hold on the core's process.

    Starting one returns at once: the child loads its model meanwhile. The process ends with
    {py:meth}`shutdown`, or when this object is collected, or when this process ends.
    """

    def __init__(self, setup: CoreSetup) -> None:
        directory = tempfile.mkdtemp(prefix="mini_vllm-")
        self.setup = replace(setup, directory=directory)
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mini_vllm.engine.core_proc"],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self._finalizer = weakref.finalize(self, _end, self.process, directory)
        body = encode(self.setup)
        lifeline = self.process.stdin
        if lifeline is not None:
            # A child that is dead already has its exit code, and the client asks for that.
            with suppress(BrokenPipeError):
                lifeline.write(len(body).to_bytes(8, "little") + body)
                lifeline.flush()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """How the child ended, negative for a signal; `None` while it lives."""
        return self.process.poll()

    def shutdown(self) -> None:
        """End the child, and wait until it has ended. Nothing happens the second time."""
        self._finalizer()
