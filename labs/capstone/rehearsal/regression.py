r"""Step 4: is there a test that fails because of the defect, and for no other reason?

A regression test is itself tested. On the pin it must fail; on three repairs that are right, and
differ only where a repair may choose, it must pass; on repairs that look right and are not, it must
fail ({py:mod}`capstone.rehearsal.inside.variants`). A test that fails on a right repair asks for
more than the issue does.
"""

from __future__ import annotations

import ast
from typing import Any

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.rehearsal import sandbox
from capstone.rehearsal.inside import variants
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.worker import work
from capstone.rehearsal.workshop import Workshop, digest

PLACE = "tests/v1/core"
#: For one variant; a test of the scheduler takes well under a second.
SECONDS = 20
LIMIT = 420.0


def tests_in(source: str, path: str) -> dict[str, str]:
    r"""Test → its source, methods as `Class::test`; a syntax error is named with its line."""
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise CapstoneError(f"{path}:{error.lineno}: not Python: {error.msg}") from error
    found = {}
    for node in module.body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for one in members:
            if isinstance(one, ast.FunctionDef) and one.name.startswith("test"):
                found[prefix + one.name] = ast.unparse(one)
    return found


def new_tests(workshop: Workshop) -> tuple[list[str], list[str]]:
    r"""The tests that the learner added, as `path::test`, and those of the pin that are altered."""
    added, altered = [], []
    for change in sandbox.changes(workshop):
        if not (change.path.startswith(f"{PLACE}/") and change.path.endswith(".py")):
            continue
        path = workshop.tree / change.path
        now = tests_in(path.read_text("utf-8"), change.path) if path.is_file() else {}
        then = tests_in(sandbox.at_pin(workshop, change.path), change.path)
        added += [f"{change.path}::{name}" for name in now if name not in then]
        altered += [f"{change.path}::{name}" for name in then if now.get(name) != then[name]]
    return added, altered


def _state(result: dict[str, Any]) -> str:
    """One word for a run: passed, failed, broken (nothing was tested), or endless."""
    if result["too_long"]:
        return "endless"
    outcomes = set(result["outcomes"].values())
    if not outcomes or "not collected" in outcomes or outcomes == {"skipped"}:
        return "broken"
    return "failed" if "failed" in outcomes else "passed"


def _because(result: dict[str, Any]) -> str:
    return next(iter(result["why"].values()), "no test was run")


def of(workshop: Workshop) -> str:
    r"""The digest of what this step looks at: all that was changed in tests."""
    return digest(sandbox.diff(workshop, "tests"))


def check(workshop: Workshop) -> Verdict:
    r"""Run the new tests on the pin and on every variant."""
    verdict = Verdict(of(workshop))
    added, altered = new_tests(workshop)
    if altered:
        verdict.complain(
            f"{', '.join(altered)}: a test of the pin is changed or gone; it states a contract "
            f"that the issue does not ask to change"
        )
    if not added:
        verdict.complain(f"no new test below {PLACE}/ in the sandbox")
    if not verdict.passed:
        return verdict
    outcome = work(
        workshop,
        "against_variants.py",
        str(need_tree(the_pin()).root),
        the_pin().version,
        str(workshop.tree),
        str(SECONDS),
        *(str(workshop.tree / node) for node in added),
        limit=LIMIT,
    )
    results = outcome.found.get("results", {})
    if not outcome.found.get("done"):
        verdict.complain(f"the tests could not be run: {outcome.last_line()}")
        return verdict
    states = {name: _state(result) for name, result in results.items()}
    _judge_pin(verdict, states["the pin"], results["the pin"])
    for name in variants.CORRECT:
        if states[name] != "passed":
            verdict.complain(
                f"on a right repair, {name}, it {states[name]}: {_because(results[name])}"
            )
    for name, (_, wrong) in variants.WRONG.items():
        if states[name] == "passed":
            verdict.complain(f"it passes on a wrong repair, {name}: {wrong}")
    unseen = [name for name in variants.BREAKING if states[name] == "passed"]
    verdict.evidence = {"tests": added, "states": states, "unseen": unseen}
    verdict.lines = [f"new: {node}" for node in added]
    verdict.lines += [f"  {state:8} {name}" for name, state in states.items()]
    verdict.lines += [
        f"not seen by it, and left to step 6: {name}, where {variants.BREAKING[name][1]}"
        for name in unseen
    ]
    return verdict


def _judge_pin(verdict: Verdict, state: str, result: dict[str, Any]) -> None:
    if state == "passed":
        verdict.complain("it passes on the pin: it does not see the defect")
    elif state == "broken":
        verdict.complain(f"on the pin nothing was tested: {_because(result)}")
    elif state == "endless":
        verdict.complain(
            f"on the pin it is still running after {SECONDS} s: a test of something endless needs "
            f"a bound of its own, or it takes CI down with it"
        )
    elif "rror" in (why := _because(result)).split(":")[0] and "AssertionError" not in why:
        verdict.complain(f"on the pin it fails with an error and not with an assertion: {why}")
