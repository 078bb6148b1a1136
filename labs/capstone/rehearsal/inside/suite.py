r"""Run tests of one tree against the package of another, and write down each outcome.

`suite.py FOUND VLLM VERSION TESTS ARGUMENTS…`: `VLLM` is the tree whose package is under test,
`TESTS` the tree whose `tests/` are run, the arguments are pytest's.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import importing


class Outcomes:
    """A pytest plugin: test → passed, failed or skipped; a module that cannot be imported too."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.why: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        worse = report.outcome != "passed"
        if report.when == "call" or worse:
            self.of[report.nodeid] = report.outcome
        if report.failed:
            self.why[report.nodeid] = _last_line(report)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.of[report.nodeid] = "not collected"
            self.why[report.nodeid] = _last_line(report)


def _last_line(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return (lines[0] if crash is not None else lines[-1])[:200] if lines else ""


def arguments(tests: Path) -> list[str]:
    r"""What every run of pytest on an upstream tree needs; no plugin writes into the tree."""
    return ["--noconftest", "-q", "-p", "no:cacheprovider", f"--rootdir={tests}", "--no-header"]


def main() -> int:
    found, vllm, version, tests, *rest = sys.argv[1:]
    importing.use(Path(vllm), version)
    sys.path.insert(0, tests)
    import pytest

    outcomes = Outcomes()
    started = time.monotonic()
    status = int(pytest.main([*arguments(Path(tests)), *rest], plugins=[outcomes]))
    seconds = round(time.monotonic() - started, 1)
    importing.report(found, outcomes=outcomes.of, why=outcomes.why, status=status, seconds=seconds)
    return status


if __name__ == "__main__":
    sys.exit(main())
