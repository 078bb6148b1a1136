r"""Run the learner's tests against the pin and against repairs, right and wrong, in one process.

`against_variants.py FOUND VLLM VERSION TESTS SECONDS NODE…`. Importing the scheduler takes far
longer than the tests do, so the function's code is exchanged in the running process.
"""

from __future__ import annotations

import contextlib
import gc
import io
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import importing
import suite
import variants


class TooLong(BaseException):
    """A test that waits for the end of a request which has none."""


@contextlib.contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Interrupt what takes longer; needs no thread and no plugin."""

    def ring(*_: Any) -> None:
        raise TooLong

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def run_all(tests: str, nodes: list[str], seconds: int) -> dict[str, Any]:
    r"""The outcome of each test in the order of the file, and why the first one failed."""
    import pytest

    outcomes = suite.Outcomes()
    said = io.StringIO()
    result: dict[str, Any] = {"too_long": False}
    try:
        with limit(seconds), contextlib.redirect_stdout(said):
            pytest.main([*suite.arguments(Path(tests)), *nodes], plugins=[outcomes])
    except TooLong:
        result["too_long"] = True
    return result | {"outcomes": outcomes.of, "why": outcomes.why}


def main() -> int:
    found, vllm, version, tests, seconds, *nodes = sys.argv[1:]
    importing.use(Path(vllm), version)
    sys.path.insert(0, tests)
    from vllm.v1.core.sched import utils

    source = Path(utils.__file__).read_text(encoding="utf-8")
    repairs: dict[str, variants.Repair | None] = {"the pin": None}
    repairs |= variants.CORRECT
    repairs |= {name: repair for name, (repair, _) in variants.WRONG.items()}
    repairs |= {name: repair for name, (repair, _) in variants.BREAKING.items()}
    results = {}
    # pytest collects garbage at the end of each run, and what was imported is none.
    gc.freeze()
    for name, repair in repairs.items():
        utils.check_stop.__code__ = variants.code_of(source, repair)
        results[name] = run_all(tests, nodes, int(seconds))
        importing.report(found, results=results, done=len(results) == len(repairs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
