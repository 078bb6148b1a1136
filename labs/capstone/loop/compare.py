r"""Two loops beside one another: what has moved?

Means are compared row by row, and scores question by question where both loops asked the same.
A row that only one of them asked about is said to be so, and is not called a change.
"""

from __future__ import annotations

from capstone.loop.matrix import Matrix
from capstone.loop.report import number, standing


def moved(before: float | None, after: float | None) -> str:
    r"""The change from one mean to the other, with its sign."""
    if before is None or after is None:
        return "–"
    return f"{after - before:+.1f}" if after != before else "same"


def markdown(first: Matrix, second: Matrix) -> str:
    r"""The comparison, from `first` to `second`."""
    lines = [
        f"# From {first.name} to {second.name}",
        "",
        f"`{first.name}`: seed {first.seed}, begun {first.began}; {standing(first)}.",
        f"`{second.name}`: seed {second.seed}, begun {second.began}; {standing(second)}.",
        "",
        f"| | Competency | {first.name} | {second.name} | Change |",
        "|--:|---|--:|--:|--:|",
    ]
    for old, new in zip(first.rows, second.rows, strict=True):
        change = moved(old.mean, new.mean)
        lines.append(
            f"| {old.number} | {old.title} | {number(old.mean)} | {number(new.mean)} | {change} |"
        )
    total = moved(first.mean, second.mean)
    lines.append(f"| | All answers | {number(first.mean)} | {number(second.mean)} | {total} |")
    before, after = first.scores(), second.scores()
    both = [name for name in before if name in after]
    lines += ["", f"Asked in both: {len(both)}."]
    if both:
        lines += ["", "| Question | Before | After |", "|---|--:|--:|"]
        lines += [f"| {name} | {before[name]} | {after[name]} |" for name in both]
    for matrix in (first, second):
        lines += [f"\n{matrix.name}: {remark}." for remark in matrix.remarks]
    return "\n".join(lines) + "\n"
