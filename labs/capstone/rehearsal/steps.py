r"""The eight steps in their order, what each rests on, and where the journal says they stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.rehearsal import candidate, papers, regression, repair, reproduction, sandbox
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.workshop import Workshop

Passed = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Step:
    r"""One step: what is asked of the learner, what should stand before it, and its check.

    `of` is the digest of what the check looks at, as it is now.
    """

    name: str
    task: str
    needs: tuple[str, ...]
    check: Callable[[Workshop, Passed], Verdict]
    of: Callable[[Workshop], str]


STEPS = (
    Step(
        "reproduce",
        "complete reproduce.py: a request RUNNING for ever, given nothing",
        (),
        lambda shop, passed: reproduction.check_before(shop),
        reproduction.of_before,
    ),
    Step(
        "triage",
        "report.json through the Gauntlet: write MAP.md and answers.toml",
        ("reproduce",),
        lambda shop, passed: candidate.check(shop, passed.get("reproduce")),
        candidate.of,
    ),
    Step(
        "plan",
        "plan.md: one page that `capstone plan check` has nothing to say to",
        ("triage",),
        lambda shop, passed: papers.check_plan(shop),
        papers.of_plan,
    ),
    Step(
        "test",
        "add a test below tree/tests/v1/core that fails because of the defect",
        ("plan",),
        lambda shop, passed: regression.check(shop),
        regression.of,
    ),
    Step(
        "baseline",
        "run upstream's own tests on the pin: what fails before you touch anything",
        (),
        lambda shop, passed: repair.check_baseline(shop),
        repair.of_baseline,
    ),
    Step(
        "fix",
        "repair it in tree/vllm/v1/core/sched",
        ("test", "baseline"),
        lambda shop, passed: repair.check_fix(shop, passed.get("baseline")),
        repair.of_fix,
    ),
    Step(
        "after",
        "run the reproduction again, on your tree",
        ("reproduce", "fix"),
        lambda shop, passed: reproduction.check_after(shop, passed.get("reproduce")),
        reproduction.of_after,
    ),
    Step(
        "describe",
        "commit with sign-off; DESCRIPTION.md, as `capstone plan pr` wants it",
        ("fix", "after"),
        lambda shop, passed: papers.check_description(shop, passed, outdated(shop)),
        papers.of_description,
    ),
)
BY_NAME = {step.name: step for step in STEPS}


def latest(workshop: Workshop) -> Passed:
    r"""Step → its last entry in the journal, passed or not, since the sandbox was made."""
    found: Passed = {}
    for entry in workshop.journal.read():
        if entry.get("event") == "start":
            found = {}
        elif entry.get("event") == "check" and entry.get("step") in BY_NAME:
            found[entry["step"]] = entry
    return found


def passed(workshop: Workshop) -> Passed:
    r"""The steps whose last check had no complaint."""
    return {name: entry for name, entry in latest(workshop).items() if entry.get("passed")}


def outdated(workshop: Workshop) -> list[str]:
    r"""The steps that passed on something else than what is there now, in their order."""
    done = passed(workshop)
    return [
        one.name
        for one in STEPS
        if one.name in done and done[one.name].get("of") != _of_now(one, workshop)
    ]


def _of_now(step: Step, workshop: Workshop) -> str | None:
    try:
        return step.of(workshop)
    except CapstoneError:  # a paper that was there is gone
        return None


def missing_before(step: Step, done: Passed) -> list[str]:
    r"""What this step rests on and is not there, in the order of the steps."""
    wanted: set[str] = set()
    waiting = [*step.needs]
    while waiting:
        name = waiting.pop()
        wanted.add(name)
        waiting += BY_NAME[name].needs
    return [one.name for one in STEPS if one.name in wanted - set(done)]


def check(workshop: Workshop, step: Step) -> Verdict:
    r"""Check one step and write down what came of it."""
    sandbox.verify(workshop)
    sandbox.need_clean_pin(workshop, need_tree(the_pin()))
    verdict = step.check(workshop, passed(workshop))
    workshop.journal.append(
        event="check",
        step=step.name,
        passed=verdict.passed,
        of=verdict.of,
        complaints=verdict.complaints,
        evidence=verdict.evidence,
    )
    return verdict
