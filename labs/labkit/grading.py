r"""Which of a lab's tasks are done?

The tests decide, in a process of their own: a learner's file may hang, exit or fill the memory, and
the command that watches it must survive all three. A task is *done* when every test that needs
nothing but this task has passed; a lab is done when all of its tests have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labkit import failure, implementation
from labkit.catalogue import Lab

# Names the file that the plugin writes for this module. It stands here and not there, since the
# plugin imports pytest, which would be half of what `labs next` takes to start.
REPORT = "LABKIT_REPORT"
# A lab runs in milliseconds. What takes this long is stuck where the guard of single tests cannot
# reach it, outside Python bytecode.
PATIENCE_S = 180


@dataclass(frozen=True)
class Verdict:
    r"""How one test went, and which tasks it needs.

    `error` is the type and the message of what was raised, `when` the part of the test that raised
    it: `setup`, `call` or `teardown`.
    """

    test: str
    tasks: tuple[int, ...]
    outcome: str
    when: str
    error: tuple[str, str] | None = None
    reason: str | None = None

    @property
    def message(self) -> str:
        r"""A few lines that say why the test failed or was skipped."""
        if self.error is None or self.outcome == "skipped":
            return self.reason or ""
        return failure.short(*self.error)

    @property
    def unloadable(self) -> bool:
        r"""Whether the file under judgment could not even be loaded."""
        return self.error is not None and self.error[0] == "Unloadable"


@dataclass(frozen=True)
class Grade:
    r"""A lab's verdicts. `output` is what pytest printed, for when there are none."""

    lab: Lab
    verdicts: tuple[Verdict, ...]
    truths: dict[str, str]
    output: str

    def own(self, task: int) -> list[Verdict]:
        r"""The verdicts of the tests that need this task and no other."""
        return [verdict for verdict in self.verdicts if verdict.tasks == (task,)]

    def done(self, task: int) -> bool:
        r"""Whether all of a task's own tests that ran here have passed, and at least one did."""
        outcomes = [verdict.outcome for verdict in self.own(task)]
        return "passed" in outcomes and set(outcomes) <= {"passed", "skipped"}

    @property
    def green(self) -> list[int]:
        r"""The numbers of the tasks that are done."""
        return [task for task in range(1, len(self.lab.tasks) + 1) if self.done(task)]

    @property
    def complete(self) -> bool:
        r"""Whether every task is done and every test of the lab has passed or was skipped."""
        passed = all(verdict.outcome in ("passed", "skipped") for verdict in self.verdicts)
        return passed and len(self.green) == len(self.lab.tasks)

    def first_failure(self) -> Verdict | None:
        r"""What to look at next: the failing test with the lowest tasks, own tests first."""
        failing = [v for v in self.verdicts if v.outcome in ("failed", "error")]
        return min(failing, key=lambda v: (len(v.tasks) > 1, v.tasks), default=None)


def grade(lab: Lab, label: str = "starter") -> Grade:
    r"""Run a lab's tests on its starter or its solution, in a process of their own."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pytest", str(lab.folder), "-q", "-m", "not gpu"]
        environment = os.environ | {
            implementation.VARIABLE: label,
            REPORT: str(report),
            # Plugins that happen to be installed cost a second at each save, and decide nothing.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, _search_path())),
        }
        try:
            run = subprocess.run(
                [*command, "--tb=short", "-p", "no:cacheprovider"],
                cwd=lab.root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
            )
            output = run.stdout + run.stderr
            end = _end(run.returncode)
        except subprocess.TimeoutExpired:
            output, end = "", f"the tests of {lab.name} were stopped after {PATIENCE_S} s"
        lines = json.loads(report.read_text(encoding="utf-8")) if report.exists() else []
    if not lines:
        output = f"{output.strip()[-2000:]}\n{end}".strip()
    truths = {id: answer for line in lines for _, id, answer in line["truths"]}
    return Grade(lab, tuple(_verdicts(lines)), truths, output)


def _verdicts(lines: list[dict]) -> Iterator[Verdict]:
    for line in lines:
        yield Verdict(
            test=line["test"],
            tasks=tuple(line["tasks"]),
            outcome=line["outcome"],
            when=line["when"],
            error=tuple(line["error"]) if line["error"] else None,
            reason=line["reason"],
        )


def _end(status: int) -> str:
    how = f"with exit status {status}" if status >= 0 else f"killed by signal {-status}"
    return f"the process ended without a result, {how}"


def _search_path() -> list[str]:
    """The folder of labkit first: the tests' process needs it also where nothing is installed."""
    return [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
