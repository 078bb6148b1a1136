r"""The matrix as a drawing: eight bars of 0 to 4, a dot for each answer, every number in words.

Drawn as SVG by hand, in the book's colours, with no reference to anything outside. Colour repeats
what the text at the end of each bar says.
"""

from __future__ import annotations

from collections import Counter
from html import escape

from book.palette import palette

from capstone.loop.grading import BEST
from capstone.loop.matrix import SOLID, Matrix, Row
from capstone.loop.report import number

WIDTH = 820
LEFT, RIGHT = 275, 595  # where 0 and 4 stand
TOP, STEP, BAR = 40, 34, 16
FILL = {
    "staff level": palette.green,
    "solid": palette.blue,
    "shaky": palette.gold,
    "to learn": palette.red,
}


def x_of(score: float) -> float:
    r"""Where a score stands."""
    return round(LEFT + (RIGHT - LEFT) * score / BEST, 1)


def svg(found: Matrix) -> str:
    r"""The figure; `role` and `title` tell a screen reader what it shows."""
    height = TOP + STEP * len(found.rows) + 34
    said = "; ".join(f"{row.title} {number(row.mean)}, {row.level}" for row in found.rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>Mean score of each competency, 0 to 4: {escape(said)}</title>",
    ]
    bottom = TOP + STEP * len(found.rows)
    for score in range(BEST + 1):
        x = x_of(score)
        parts.append(
            f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{bottom}" stroke="{palette.faint}"/>'
            f"{_text(x, bottom + 18, str(score), palette.muted, 'middle')}"
        )
    x = x_of(SOLID)
    parts.append(
        f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{bottom}" stroke="{palette.ink}" '
        f'stroke-dasharray="3 3"/>{_text(x, TOP - 14, "solid from here", palette.muted, "middle")}'
    )
    for index, row in enumerate(found.rows):
        parts += _bar(row, TOP + STEP * index)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _bar(row: Row, top: float) -> list[str]:
    middle = top + STEP / 2
    parts = [_text(LEFT - 12, middle + 4, f"{row.number}  {row.title}", palette.ink, "end")]
    if row.mean is None:
        return [*parts, _text(RIGHT + 28, middle + 4, row.level, palette.muted)]
    colour = FILL[row.level]
    parts.append(
        f'<rect x="{LEFT}" y="{middle - BAR / 2}" width="{round(x_of(row.mean) - LEFT, 1)}" '
        f'height="{BAR}" rx="2" fill="{colour}" fill-opacity="0.3"/>'
        f'<rect x="{round(x_of(row.mean) - 1.5, 1)}" y="{middle - BAR / 2}" width="3" '
        f'height="{BAR}" fill="{colour}"/>'
    )
    for score, count in sorted(Counter(r.grade.score for r in row.results).items()):
        for place in range(count):
            # Equal scores stand beside one another, around their place.
            x = round(x_of(score) + 9 * (place - (count - 1) / 2), 1)
            parts.append(f'<circle cx="{x}" cy="{middle}" r="3.5" fill="{colour}"/>')
    answers = f"{len(row.results)} answer{'s' * (len(row.results) != 1)}"
    label = f"{number(row.mean)} {row.level}, {answers}"
    return [*parts, _text(RIGHT + 28, middle + 4, label, palette.ink)]


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}" '
        f'xml:space="preserve">{escape(text)}</text>'
    )
