r"""Five checks in the order of their cost, and nothing after the first that is not passed.

Invariants: an issue has outcomes for a prefix of {py:data}`.CHECKS`; all but the last are passed;
it survives if the last is passed and is the fifth. Each outcome is in the journal before the next
check begins, so that a closed terminal loses nothing that was decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from capstone.records import Journal
from capstone.triage import claimed, reproducible, reviewable, testable, within_map
from capstone.triage.findings import CHECKS, Evidence, Outcome, Verdict
from capstone.triage.setting import Setting

#: Check → the function that decides it.
FUNCTIONS: dict[str, Callable[[Setting], Outcome]] = {
    "claimed": claimed.check,
    "reproducible": reproducible.check,
    "map": within_map.check,
    "testable": testable.check,
    "reviewable": reviewable.check,
}


@dataclass
class Trial:
    r"""One issue's way through the checks, with the minutes that each took."""

    number: int
    title: str
    outcomes: list[Outcome] = field(default_factory=list)
    minutes: list[float] = field(default_factory=list)

    @property
    def survives(self) -> bool:
        r"""Whether every check was passed."""
        return len(self.outcomes) == len(CHECKS) and self.outcomes[-1].passed

    @property
    def verdict(self) -> str:
        r"""The check that ended it, or `survives`."""
        return "survives" if self.survives else self.outcomes[-1].check

    @property
    def decided_by(self) -> Evidence:
        r"""What the verdict rests on."""
        return self.outcomes[-1].decided_by

    @property
    def cost(self) -> int:
        r"""Points of work ahead; the sum of the checks' reasons."""
        return sum(points for outcome in self.outcomes for points, _ in outcome.cost)

    @property
    def open_questions(self) -> list[str]:
        r"""What nobody has answered yet."""
        return [question for outcome in self.outcomes for question in outcome.open_questions]


def run(
    setting: Setting,
    journal: Journal | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    r"""Send one issue through; stops at the first check that it does not pass."""
    trial = Trial(setting.issue.number, setting.issue.title)
    for name in CHECKS:
        start = clock()
        outcome = FUNCTIONS[name](setting)
        said = setting.answers.minutes(trial.number, name)
        minutes = (clock() - start) / 60 if said is None else said
        trial.outcomes.append(outcome)
        trial.minutes.append(minutes)
        if journal is not None:
            _record(journal, trial.number, outcome, minutes)
        if not outcome.passed:
            break
    return trial


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    r"""The survivors, cheapest first; equal ones in the order of their numbers."""
    return sorted((t for t in trials if t.survives), key=lambda t: (t.cost, t.number))


def rejected_minutes(trials: Iterable[Trial]) -> float | None:
    r"""Mean minutes spent on a candidate that was rejected; `None` if none was."""
    spent = [sum(trial.minutes) for trial in trials if not trial.survives]
    return sum(spent) / len(spent) if spent else None


def _record(journal: Journal, number: int, outcome: Outcome, minutes: float) -> None:
    journal.append(
        kind="triage",
        issue=number,
        check=outcome.check,
        verdict=str(outcome.verdict),
        minutes=round(minutes, 3),
        evidence=[
            {"rule": one.rule, "where": one.where, "source": one.source} for one in outcome.evidence
        ],
    )


def is_undecided(trial: Trial) -> bool:
    r"""Whether it was not passed only because nobody could say."""
    return trial.outcomes[-1].verdict is Verdict.UNDECIDED
