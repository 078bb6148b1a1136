r"""Do starter, hints, tests and solution of a lab fit together?

The contract of a lab, as checks that can fail:

1. the solution passes every test, and its tests find out the answer to every prediction;
2. the starter loads, and fails every test at the call of a task that the test is marked with, by a
   `NotImplementedError` that names the task or by an assertion: never in a fixture, never by
   hanging, never by an import;
3. with only task $k$ filled in, all tests that need nothing but task $k$ pass;
4. every test is marked with its tasks, and every task has tests of its own;
5. every task has three hints, and none of them quotes the solution;
6. the README has its sections, and at least five plausible mistakes stand ready as mutants.

A process lab is held to a contract of its own ({py:func}`labkit.process.problems`).

Tests on the real model take part in 1 alone, where torch is installed: what they add is the model,
not another opinion on the tasks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from labkit import hints, process, regions, starters
from labkit.bench import Bench, on_bench
from labkit.catalogue import Lab, LabError
from labkit.grading import Verdict
from labkit.implementation import Implementation
from labkit.mutation import plausible

SECTIONS = (
    "Why this lab exists",
    "Background",
    "Predict before you code",
    "What to implement",
    "Run",
    "What each test proves",
    "How this maps to the real engine",
    "Going further",
    "References",
)
MISTAKES = 5


def problems(lab: Lab) -> list[str]:
    r"""Everything that is wrong with a lab; empty when its contract holds."""
    try:
        if lab.is_process:
            return list(process.problems(lab))
        found = [*_text(lab), *_hints(lab), *_mistakes(lab)]
        return found + on_bench(lab, _behaviour, marks="not gpu and not model")
    except LabError as error:
        return [str(error)]


def _behaviour(bench: Bench) -> list[str]:
    return [*_marks(bench), *_solution(bench), *_starter(bench), *_one_task_at_a_time(bench)]


def _solution(bench: Bench) -> Iterator[str]:
    for verdict in bench.run(Implementation("solution")):
        if verdict.outcome != "passed":
            yield f"solution: {verdict.test} {verdict.outcome}: {verdict.message}"
    answered = set(bench.truths())
    for question in bench.lab.questions:
        if question.id not in answered:
            yield f"predictions: no test finds out the answer to {question.id!r}"


def _starter(bench: Bench) -> Iterator[str]:
    for verdict in bench.run(_filled(bench.lab)):
        if reason := unfair(verdict):
            yield f"starter: {verdict.test} {reason}"


def unfair(verdict: Verdict) -> str | None:
    r"""Why a starter's verdict would leave a learner puzzled, or `None` when it is a fair one.

    Fair is a failure in the call of the test, by an assertion or by a `NotImplementedError` that
    names one of the tasks that the test is marked with.
    """
    if verdict.outcome == "passed":
        return "passes on the starter: it proves nothing"
    if verdict.outcome != "failed" or verdict.error is None:
        return f"does not fail but is {verdict.outcome} in {verdict.when}: {verdict.message}"
    kind, text = verdict.error
    if kind == "NotImplementedError":
        named = re.match(r"task (\d+): ", text)
        if named and int(named[1]) in verdict.tasks:
            return None
        return f"is marked with tasks {list(verdict.tasks)} but fails on {text!r}"
    return None if kind == "AssertionError" else f"fails by {kind}: {text}"


def _one_task_at_a_time(bench: Bench) -> Iterator[str]:
    tasks = bench.tasks()
    for task in range(1, len(bench.lab.tasks) + 1):
        own = [test for test, needed in tasks.items() if needed == (task,)]
        for verdict in bench.run(_filled(bench.lab, task), own):
            if verdict.outcome != "passed":
                yield f"only task {task} filled in: {verdict.test} {verdict.message}"


def _filled(lab: Lab, *keep: int) -> Implementation:
    source = regions.render(lab.solution.read_text(encoding="utf-8"), keep)
    label = f"starter with {' '.join(map(str, keep))}" if keep else "starter"
    return Implementation(label, compile(source, f"<{label}>", "exec"))


def _marks(bench: Bench) -> Iterator[str]:
    known = set(range(1, len(bench.lab.tasks) + 1))
    tasks = bench.tasks()
    for test, needed in tasks.items():
        if not needed or not set(needed) <= known:
            yield f"tests: {test} is marked with tasks {list(needed)}, the lab has {sorted(known)}"
    for task in sorted(known - {needed[0] for needed in tasks.values() if len(needed) == 1}):
        yield f"tests: no test needs task {task} alone"


def _text(lab: Lab) -> Iterator[str]:
    starters.generate(lab)  # raises when markers and lab.toml disagree
    readme = lab.folder / "README.md"
    if not readme.is_file():
        yield "README.md is missing"
        return
    headings = re.findall(r"^## (.+)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    for section in SECTIONS:
        if section not in headings:
            yield f"README.md has no section {section!r}"


def _hints(lab: Lab) -> Iterator[str]:
    lines = lab.solution.read_text(encoding="utf-8").splitlines()
    taken_out = {
        line.strip()
        for region in regions.parse("\n".join(lines))
        for line in lines[region.begin : region.end - 1]
        if len(line.strip()) > 24
    }
    for task in range(1, len(lab.tasks) + 1):
        text = " ".join(hints.of(lab, task))
        for line in sorted(taken_out):
            if line in text:
                yield f"hints: task {task} quotes the solution: {line}"


def _mistakes(lab: Lab) -> Iterator[str]:
    count = len(plausible.read(lab))
    if count < MISTAKES:
        yield f"mutants: {count} plausible mistakes, {MISTAKES} are needed"
