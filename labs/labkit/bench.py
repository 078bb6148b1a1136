r"""How does one run a lab's tests two hundred times in a minute?

By collecting them once. A pytest run spends most of its time on starting; the tests themselves
take milliseconds. So the bench opens one pytest session in this process and replaces its loop: for
each implementation to judge, it runs the collected items again, with every fixture torn down in
between. That is what makes it affordable to prove a lab's starters task by task and to try every
mutant of its solution.

The guard on single tests is tightened meanwhile: a mutant that loops for ever is as dead as one
that fails an assertion, and should be so quickly.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

import pytest
from _pytest.runner import runtestprotocol

from labkit import guard, plugin, properties
from labkit.catalogue import Lab, LabError
from labkit.grading import Verdict
from labkit.implementation import Implementation, standing_in

Result = TypeVar("Result")


@dataclass
class Bench:
    r"""One lab's collected tests, ready to judge one implementation after the other.

    The cases of a parametrised test are made once, when it is collected. An implementation that
    writes into what it was given would hand a spoiled case to the next one, and a sound solution
    would fail. So each run of a test gets its case as it was collected.
    """

    lab: Lab
    items: list[pytest.Item]
    _cases: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        cases = {item.nodeid: _case_of(item) for item in self.items}
        self._cases = {name: copy.deepcopy(case) for name, case in cases.items()}

    def run(
        self, implementation: Implementation, tests: Iterable[str] | None = None
    ) -> list[Verdict]:
        r"""Judge an implementation by all tests, or by those that are named; every verdict."""
        wanted = None if tests is None else set(tests)
        with standing_in(implementation):
            return [
                self._verdict(item) for item in self.items if wanted is None or item.name in wanted
            ]

    def first_failure(self, implementation: Implementation, order: list[str]) -> Verdict | None:
        r"""Run the named tests in this order until one fails; `None` when all pass."""
        by_name = {item.name: item for item in self.items}
        with standing_in(implementation):
            for name in order:
                verdict = self._verdict(by_name[name])
                if verdict.outcome in ("failed", "error"):
                    return verdict
        return None

    def tasks(self) -> dict[str, tuple[int, ...]]:
        r"""The tasks that each test is marked with."""
        return {item.name: tuple(plugin.tasks_of(item)) for item in self.items}

    def truths(self) -> dict[str, str]:
        r"""The answers to predictions that the tests of the last run have found out."""
        found = [
            cast(list[str], value)
            for item in self.items
            for name, value in item.user_properties
            if name == plugin.TRUTH
        ]
        return {id: answer for _, id, answer in found}

    def _verdict(self, item: pytest.Item) -> Verdict:
        item.user_properties.clear()
        _case_of(item).update(copy.deepcopy(self._cases[item.nodeid]))
        reports = runtestprotocol(item, log=False, nextitem=None)
        # The phase that decides: the first one that did not pass, else the call.
        report = next((r for r in reports if not r.passed), reports[-2])
        note = plugin.note_of(report) or {}
        outcome = report.outcome if report.when == "call" or not report.failed else "error"
        return Verdict(
            test=item.name,
            tasks=tuple(note["tasks"]),
            outcome=outcome,
            when=report.when,
            error=tuple(note["error"]) if note["error"] else None,
            reason=plugin.reason_of(report),
        )


def _case_of(item: pytest.Item) -> dict[str, Any]:
    """The arguments that a test's parametrisation gives it; empty where there is none."""
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else callspec.params


def on_bench(
    lab: Lab, work: Callable[[Bench], Result], *, marks: str = "not gpu", seconds: float = 2.0
) -> Result:
    r"""Collect a lab's tests once, do the work with them, and return what it returns.

    `marks` selects the tests as pytest's `-m` does; `seconds` bounds each of them. Raises
    {py:class}`labkit.catalogue.LabError` when the tests cannot be collected; whatever the work
    raises comes out as it is.
    """
    session = _Session(lab, work, seconds)
    shrink, properties.SHRINK = properties.SHRINK, False
    arguments = [str(lab.folder), "-m", marks, "--rootdir", str(lab.root), "-p", "no:cacheprovider"]
    quiet = ["-p", "no:terminal", "-o", "addopts=--import-mode=importlib --strict-markers"]
    try:
        with _imported_afresh(lab):
            pytest.main([*arguments, *quiet], plugins=[session])
    finally:
        properties.SHRINK = shrink
    if session.raised is not None:
        raise session.raised
    if not session.results:
        reasons = "\n".join(session.refusals) or "no test was collected"
        raise LabError(f"the tests of {lab.name} cannot run: {reasons}")
    return session.results[0]


@contextmanager
def _imported_afresh(lab: Lab) -> Iterator[None]:
    """Import the lab's tests anew, and leave behind the modules of whoever imported them before."""

    def take() -> dict[str, ModuleType]:
        inside = {
            name: module
            for name, module in sys.modules.items()
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(lab.folder)
        }
        return {name: sys.modules.pop(name) for name in inside}

    before = take()
    try:
        yield
    finally:
        take()
        sys.modules.update(before)


class _Session(Generic[Result]):
    """The pytest plugin that puts the bench in the place of pytest's own loop."""

    def __init__(self, lab: Lab, work: Callable[[Bench], Result], seconds: float) -> None:
        self.lab = lab
        self.work = work
        self.seconds = seconds
        self.results: list[Result] = []
        self.raised: BaseException | None = None
        self.refusals: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.refusals.append(str(report.longrepr))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if self.refusals or not session.items:
            return True
        try:
            with guard.at_most(self.seconds):
                self.results.append(self.work(Bench(self.lab, list(session.items))))
        except BaseException as error:
            self.raised = error
        return True
