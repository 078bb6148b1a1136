r"""What does pytest know about labs?

`labs/conftest.py` takes its hooks and fixtures from here. A lab's test file sees three fixtures:

- `impl`, the implementation under judgment as a module: `impl.needs_sample(…)`;
- `lab`, what the lab says about itself ({py:class}`labkit.catalogue.Lab`);
- `truth`, called as `truth("ttft-steps", 3)` by the test that has found out the answer to a
  prediction. The summary prints it beside what the learner had predicted.

and four marks: `task(n, …)`, the tasks that a test needs, all of them; `model`, which
runs on the real model and is skipped where torch is missing; `gpu`; and `slow`.
"""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from _pytest.outcomes import Failed

from labkit import catalogue, failure, implementation, machine
from labkit.grading import REPORT
from labkit.guard import time_limit
from labkit.state import State

_NOTE = "labkit"
TRUTH = "labkit.truth"
_MARKS = (
    "task(*numbers): the tasks of the lab that must be filled in for this test to pass",
    "model: runs on the real model; skipped, with the reason, where torch is not installed",
    "gpu: needs a CUDA device; skipped, with the reason, where there is none",
    "slow: takes more than ten seconds",
)


class Unloadable(Failed):
    r"""The implementation under judgment raised while it was loaded; no task is to blame."""


@functools.cache
def _read(folder: Path) -> catalogue.Lab | None:
    return catalogue.read(folder) if (folder / "lab.toml").is_file() else None


def lab_of(item: pytest.Item) -> catalogue.Lab | None:
    r"""The lab whose folder holds a test's file."""
    return _read(item.path.parent)


def tasks_of(item: pytest.Item) -> list[int]:
    r"""The tasks that a test is marked with."""
    return sorted({number for mark in item.iter_markers("task") for number in mark.args})


def pytest_configure(config: pytest.Config) -> None:
    r"""Register the marks, and refuse an implementation that does not exist."""
    for mark in _MARKS:
        config.addinivalue_line("markers", mark)
    try:
        implementation.chosen()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> catalogue.Lab:
    r"""What the lab of this test says about itself."""
    found = lab_of(request.node)
    if found is None:
        raise catalogue.LabError(f"{request.node.path.parent} has no lab.toml")
    return found


@pytest.fixture
def impl(lab: catalogue.Lab) -> ModuleType:
    r"""The implementation under judgment, loaded afresh for this test."""
    chosen = implementation.chosen()
    try:
        with time_limit(lab.seconds):
            return chosen.load(lab.folder)
    except Exception as error:
        reason = failure.of_loading(error, chosen.path(lab.folder))
        raise Unloadable(reason, pytrace=False) from None


@pytest.fixture
def truth(request: pytest.FixtureRequest, lab: catalogue.Lab) -> Callable[[str, object], None]:
    r"""Tell the summary what a prediction's answer is, once the test has found it out."""

    def record(id: str, answer: object) -> None:
        lab.question(id)
        request.node.user_properties.append((TRUTH, [lab.short, id, str(answer)]))

    return record


def pytest_runtest_setup(item: pytest.Item) -> None:
    r"""Skip, with the reason, what this machine cannot run. Asks only for tests that are marked."""
    if item.get_closest_marker("gpu") and (reason := machine.why_no_gpu()):
        pytest.skip(reason)
    if item.get_closest_marker("model") and (reason := machine.why_no_engine()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    r"""End a lab's test that never ends; the real model gets ten times as long."""
    found = lab_of(item)
    if found is None:
        return (yield)
    patience = 10 if item.get_closest_marker("model") or item.get_closest_marker("gpu") else 1
    with time_limit(found.seconds * patience):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    r"""Note in each report which lab and tasks it speaks of, and what was raised."""
    report = yield
    if found := lab_of(item):
        raised = call.excinfo
        note = {
            "lab": found.short,
            "root": str(found.root),
            "tasks": tasks_of(item),
            "error": [raised.typename, str(raised.value)] if raised else None,
        }
        report.user_properties = [*report.user_properties, (_NOTE, note)]
    return report


def note_of(report: pytest.TestReport) -> dict | None:
    r"""What {py:func}`pytest_runtest_makereport` wrote, or `None` for a test that is no lab's."""
    notes = [value for name, value in getattr(report, "user_properties", ()) if name == _NOTE]
    return notes[-1] if notes else None


def reason_of(report: pytest.TestReport) -> str | None:
    r"""Why a test was skipped, or `None` when it was not."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    r"""Say which implementation ran, even under `-q`, and how the predictions did."""
    stats = terminalreporter.stats
    outcomes = ("passed", "failed", "error", "skipped")
    reports = [(word, report) for word in outcomes for report in stats.get(word, ())]
    judged = [(word, report, note) for word, report in reports if (note := note_of(report))]
    if not judged:
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            terminalreporter.write_line(_nothing_matches(config.args), red=True)
        return
    chosen = implementation.chosen().label
    whose = "yours" if chosen == "starter" else "the reference"
    terminalreporter.section("labs")
    terminalreporter.write_line(f"graded {chosen}.py, {whose} ({implementation.VARIABLE}={chosen})")
    for lab in sorted({note["lab"] for _, _, note in judged}):
        counts = Counter(word for word, _, note in judged if note["lab"] == lab)
        listing = ", ".join(f"{counts[word]} {word}" for word in outcomes if counts[word])
        terminalreporter.write_line(f"  {lab}  {listing}")
    _print_predictions(terminalreporter, judged)
    if path := os.environ.get(REPORT):
        lines = [_line(word, report, note) for word, report, note in judged]
        Path(path).write_text(json.dumps(lines), encoding="utf-8")


def _nothing_matches(arguments: list[str]) -> str:
    """What a selection without tests was: often a lab that has none, and is judged elsewhere."""
    folders = [Path(argument.partition("::")[0]) for argument in arguments]
    sources = [path for folder in folders for path in sorted(folder.rglob("lab.toml"))]
    labs = [found for source in sources if (found := _read(source.parent))]
    if labs and all(lab.is_process for lab in labs):
        words = ", ".join(f"`labs check {lab.short}`" for lab in labs)
        return f"labs: a process lab has no tests; what grades it, says {words}"
    return "labs: no lab test matches this selection; see `labs list`"


def _print_predictions(
    terminal: pytest.TerminalReporter, judged: list[tuple[str, pytest.TestReport, dict]]
) -> None:
    lines = {
        line: None
        for _, report, note in judged
        for name, value in report.user_properties
        if name == TRUTH
        for line in [_verdict(State(Path(note["root"])), *cast(list[str], value))]
    }
    for line in filter(None, lines):
        terminal.write_line(f"  {line}")


def _verdict(state: State, lab: str, id: str, answer: str) -> str | None:
    guess = state.prediction(lab, id)
    if guess is None:
        return None
    agree = guess.strip().casefold() == answer.strip().casefold()
    return f"{lab}  {id}: {answer}  ({'as you said' if agree else f'you said {guess}'})"


def _line(word: str, report: pytest.TestReport, note: dict) -> dict:
    return {
        "test": report.nodeid.rpartition("::")[2],
        "outcome": word,
        "when": report.when,
        "seconds": report.duration,
        "reason": reason_of(report),
        "truths": [value for name, value in report.user_properties if name == TRUTH],
        **note,
    }
