r"""The matrix in Markdown: one page that holds the outcome and how it came about."""

from __future__ import annotations

from collections.abc import Sequence

from capstone.loop.item import SESSIONS
from capstone.loop.matrix import Matrix, Result, Revision, Row
from capstone.loop.screen import clock

RULES = (
    "Each answer is graded 0 to 4 in three layers: mechanism, invariant or arithmetic, consequence "
    "in operation. Grades are the candidate's own, against the model answer; a program read the "
    "numbers with their units and the ways to a cause, and lowered what they did not carry. A look "
    "at the model answer, or skipped arithmetic, holds a score at 2. Overtime is shown and not "
    "punished."
)


def number(value: float | None) -> str:
    r"""A mean with one decimal, or a dash."""
    return "–" if value is None else f"{value:.1f}"


def notes(result: Result) -> str:
    r"""What is to be said about one answer beside its score."""
    said = list(result.grade.caps)
    if result.grade.limits.blank:
        said = ["no answer"]
    if result.over:
        said.append(f"{clock(result.seconds - 60 * result.item.minutes)} over")
    return ", ".join(said)


def standing(found: Matrix) -> str:
    r"""How much was answered, and whether the transcript is as it was written."""
    answered = f"{len(found.results)} answer{'s' * (len(found.results) != 1)}"
    if found.open:
        answered += f", {len(found.open)} still open"
    seal = "transcript as written" if found.sealed else "transcript changed after it was written"
    return f"{answered}; {seal}"


def markdown(found: Matrix, todo: Sequence[Revision]) -> str:
    r"""The whole report."""
    lines = [
        "# Competency matrix: mock staff loop",
        "",
        f"Loop `{found.name}`, seed {found.seed}, begun {found.began}. Mean "
        f"{number(found.mean)} of 4 over {standing(found)}.",
        "",
        "| | Competency | Answers | Mean of 4 | |",
        "|--:|---|--:|--:|---|",
        *(_row(row) for row in found.rows),
        "",
        RULES,
        "",
        "## Answers",
        "",
        "| Session | Question | Rows | Layers | Score | Time | |",
        "|---|---|---|---|--:|---|---|",
        *(_answer(result) for result in found.results),
    ]
    if found.open:
        lines += ["", f"Not answered: {', '.join(map(_cell, found.open))}."]
    lines += ["", "## To revise", ""]
    if not todo:
        lines.append("No row that was asked about is below solid.")
    for entry in todo:
        lines += [f"### {entry.row.number}. {entry.row.title} ({number(entry.row.mean)})", ""]
        lines += [f"- {page}" for page in entry.pages]
        lines += [f"- lab: {lab}" for lab in entry.labs]
        lines += [f"- question: {question}" for question in entry.questions]
        lines.append("")
    if found.remarks:
        lines += ["", "## About the transcript", ""]
        lines += [f"- {remark}" for remark in found.remarks]
    return "\n".join(lines).rstrip() + "\n"


def _row(row: Row) -> str:
    return f"| {row.number} | {row.title} | {len(row.results)} | {number(row.mean)} | {row.level} |"


def _answer(result: Result) -> str:
    layers = " + ".join(str(points) for points in result.grade.layers.values())
    time = f"{clock(result.seconds)} of {result.item.minutes}:00"
    rows = ", ".join(map(str, result.item.rows))
    session = SESSIONS[result.item.session]
    return (
        f"| {session} | {_cell(result.item.title)} | {rows} | {layers} | {result.grade.score} "
        f"| {time} | {notes(result)} |"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
