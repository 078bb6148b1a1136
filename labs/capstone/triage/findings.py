r"""What a check found: the verdict, the rule that gave it, and where it stands.

A finding never holds a word of the issue. It says `comment 2, characters 10 to 41`, so that the
evidence can be looked up for as long as the issue exists, and the journal holds nobody's text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

CHECKS = ("claimed", "reproducible", "map", "testable", "reviewable")


class Verdict(StrEnum):
    r"""A check is passed or it is not; what could not be decided was not passed."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Evidence:
    r"""One fact: the rule, where it was found, and who says so.

    `source` is `export`, `tree`, `map` or `answer`.
    """

    rule: str
    where: str
    source: str = "export"


@dataclass(frozen=True)
class Outcome:
    r"""A check's answer about one issue, with at least one piece of evidence.

    `cost` is what passing will cost later, in points, each with its reason.
    """

    check: str
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    cost: tuple[tuple[int, str], ...] = ()
    open_questions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError(f"{self.check}: {self.verdict} without evidence")

    @property
    def passed(self) -> bool:
        r"""Whether the next check is worth its time."""
        return self.verdict is Verdict.PASSED

    @property
    def decided_by(self) -> Evidence:
        r"""The evidence that the verdict rests on: the last that was found."""
        return self.evidence[-1]


@dataclass
class Notes:
    r"""Evidence as a check collects it; `fail`, `undecided` and `done` end the check."""

    check: str
    evidence: list[Evidence] = field(default_factory=list)
    cost: list[tuple[int, str]] = field(default_factory=list)
    open_questions: list[str] = field(default_factory=list)

    def add(self, rule: str, where: str, source: str = "export") -> None:
        r"""Keep one fact."""
        self.evidence.append(Evidence(rule, where, source))

    def fail(self, rule: str, where: str, source: str = "export") -> Outcome:
        r"""The outcome that this fact ends the issue."""
        return self._end(Verdict.FAILED, rule, where, source)

    def undecided(self, rule: str, where: str, source: str = "export") -> Outcome:
        r"""The outcome that nobody could say, which does not pass."""
        return self._end(Verdict.UNDECIDED, rule, where, source)

    def done(self, rule: str, where: str, source: str = "export") -> Outcome:
        r"""The outcome that the check is passed."""
        return self._end(Verdict.PASSED, rule, where, source)

    def _end(self, verdict: Verdict, rule: str, where: str, source: str) -> Outcome:
        self.add(rule, where, source)
        return Outcome(
            self.check,
            verdict,
            tuple(self.evidence),
            tuple(self.cost),
            tuple(self.open_questions),
        )


def span(place: str, start: int, end: int) -> str:
    r"""A position in a text: `body, characters 10 to 41`."""
    return f"{place}, characters {start} to {end}"
