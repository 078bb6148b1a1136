r"""From a transcript to the competency matrix, and to what should be read again.

A row's mean is over all answers that count for it, each with the same weight; a design may count
for several rows. Nothing is said about a row that nothing was asked about.

| mean | word |
|---|---|
| 3.5 and more | staff level |
| 3 and more | solid |
| 2 and more | shaky |
| less | to learn |

Rows below solid make the revision list: the pages and labs that the book has for the row, and the
questions that cost the points. A row without a written page says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from book.career import career
from book.phases import phases
from book.questions import COMPETENCIES

from capstone.errors import CapstoneError
from capstone.loop.catalogue import Bank
from capstone.loop.grading import Grade
from capstone.loop.interview import complete, result
from capstone.loop.item import Item
from capstone.loop.transcript import State, Transcript
from labkit.catalogue import Catalogue, LabError

#: Row of the competency map → the phases that teach it.
ROW_PHASES: dict[int, tuple[int, ...]] = {row.number: row.phases for row in career().rows}
SOLID = 3.0
LEVELS = ((3.5, "staff level"), (SOLID, "solid"), (2.0, "shaky"), (0.0, "to learn"))
NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Result:
    r"""One answered item."""

    item: Item
    grade: Grade
    seconds: float

    @property
    def over(self) -> bool:
        r"""Whether it took longer than its minutes."""
        return self.seconds > 60 * self.item.minutes


@dataclass(frozen=True)
class Row:
    r"""One row of the matrix."""

    number: int
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        r"""What the career map calls the row."""
        return COMPETENCIES[self.number]

    @property
    def mean(self) -> float | None:
        r"""Mean score, 0 to 4; none if nothing was asked."""
        scores = [r.grade.score for r in self.results]
        return sum(scores) / len(scores) if scores else None

    @property
    def level(self) -> str:
        r"""The mean in a word."""
        if self.mean is None:
            return NOT_ASKED
        return next(word for least, word in LEVELS if self.mean >= least)


@dataclass(frozen=True)
class Revision:
    r"""What to go back to for one row: pages, labs, and the questions that cost points."""

    row: Row
    pages: tuple[str, ...]
    labs: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    r"""The outcome of one loop, complete or not."""

    name: str
    seed: int
    began: str
    rows: tuple[Row, ...]
    results: tuple[Result, ...]
    open: tuple[str, ...]
    remarks: tuple[str, ...]
    sealed: bool

    @property
    def mean(self) -> float | None:
        r"""Mean over all answered items."""
        scores = [r.grade.score for r in self.results]
        return sum(scores) / len(scores) if scores else None

    def scores(self) -> dict[str, int]:
        r"""Item → score."""
        return {r.item.id: r.grade.score for r in self.results}


def matrix(bank: Bank, transcript: Transcript) -> Matrix:
    r"""Grade every complete answer of a transcript; a file without a first line is refused."""
    state = transcript.state
    if not state.asked:
        detail = "; ".join(state.remarks) or "the file is empty or not there"
        raise CapstoneError(f"{transcript.path}: no loop begins in it: {detail}")
    remarks = list(state.remarks)
    if state.bank != bank.digest():
        remarks.append(
            "the bank has changed since this loop began: answers are graded by what it says now"
        )
    results, left = _results(bank, state, remarks)
    rows = tuple(
        Row(number, tuple(r for r in results if number in r.item.rows)) for number in COMPETENCIES
    )
    return Matrix(
        transcript.name,
        state.seed,
        state.began,
        rows,
        tuple(results),
        tuple(left),
        tuple(remarks),
        state.sealed,
    )


def _results(bank: Bank, state: State, remarks: list[str]) -> tuple[list[Result], list[str]]:
    results: list[Result] = []
    left: list[str] = [] if state.chosen else ["the design scenario"]
    for name in state.order():
        item = bank.get(name)
        if item is None:
            remarks.append(f"{name} is no longer in the bank: its answer is kept and not graded")
            continue
        progress = state.progress.get(name)
        if progress is not None and complete(item, progress):
            results.append(Result(item, result(item, progress), progress.seconds))
        else:
            left.append(item.title)
    return results, left


def revision(found: Matrix, root: Path) -> list[Revision]:
    r"""For each row below solid, weakest first: where the book at `root` has it."""
    low = [row for row in found.rows if row.mean is not None and row.mean < SOLID]
    by_number = {phase.number: phase for phase in phases()}
    labs = _labs(root)
    todo: list[Revision] = []
    for row in sorted(low, key=lambda row: (row.mean or 0.0, row.number)):
        pages: list[str] = []
        for number in ROW_PHASES[row.number]:
            phase = by_number[number]
            if phase.written(root):
                pages.append(f"phase {number:02d}, {phase.title}: book/{phase.folder}/00-guide.md")
            else:
                pages.append(f"phase {number:02d}, {phase.title}: not written yet")
        lost = sorted(
            (r for r in row.results if r.grade.score < SOLID),
            key=lambda r: (r.grade.score, r.item.id),
        )
        questions = tuple(f"{r.item.title} ({r.grade.score} of 4): {r.item.source}" for r in lost)
        todo.append(Revision(row, tuple(pages), labs.get(row.number, ()), questions))
    return todo


def _labs(root: Path) -> Mapping[int, tuple[str, ...]]:
    """Row → the labs that carry it."""
    try:
        every = Catalogue(root).labs
    except LabError as error:
        raise CapstoneError(str(error)) from error
    found: dict[int, tuple[str, ...]] = {}
    for lab in every:
        line = f"{lab.short}, {lab.title} ({lab.minutes} min)"
        found[lab.competency] = (*found.get(lab.competency, ()), line)
    return found
