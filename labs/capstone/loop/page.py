r"""The matrix as one HTML file that needs nothing beside it: to print, or to send.

Style and figure stand in the file; it has no script and asks no other host for anything. It is dark
where its reader's system is, and prints light: on one sheet where the loop has the usual length,
and its questions on the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from book.palette import Palette, palette

from capstone.loop.figure import svg
from capstone.loop.item import SESSIONS
from capstone.loop.matrix import Matrix, Result, Revision
from capstone.loop.report import RULES, notes, number, standing
from capstone.loop.screen import clock

#: The same colours where it is dark; those of the book's own style, as a test holds.
DARK = Palette(
    ink="#dcdfe4",
    muted="#949ca8",
    faint="#353c46",
    paper="#15181d",
    blue="#74aeee",
    orange="#ee9a5b",
    green="#69c493",
    red="#ef7f90",
    purple="#b796ea",
    teal="#5fc3cc",
    gold="#d9b04c",
    blue_soft="#243a55",
    orange_soft="#4d3524",
    green_soft="#22402f",
    red_soft="#4d2a31",
    purple_soft="#382d4c",
)
USED = ("ink", "muted", "faint", "paper", "blue", "green", "red", "gold")


def _variables(colours: Palette) -> str:
    return " ".join(f"--fig-{name}: {getattr(colours, name)};" for name in USED)


STYLE = f"""
:root {{ color-scheme: light dark; {_variables(palette)} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(DARK)} }} }}
@media print {{ :root {{ color-scheme: light; }} }}
body {{ margin: 0 auto; max-width: 52rem; padding: 2rem 1.25rem; background: var(--fig-paper);
  color: var(--fig-ink); font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .5rem; }}
h3 {{ font-size: 1rem; margin: 1rem 0 .25rem; }}
p.facts {{ color: var(--fig-muted); margin: 0 0 1.25rem; }}
p.rules {{ font-size: .875rem; color: var(--fig-muted); }}
svg {{ display: block; width: 100%; min-width: 40rem; height: auto; }}
div.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .875rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--fig-faint); }}
td {{ min-width: 4.5rem; }}
td.number, th.number {{ text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }}
ul {{ margin: .25rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }}
@page {{ margin: 14mm; }}
@media print {{ body {{ background: none; padding: 0; font-size: 11pt; }}
  tr, li, h3 {{ break-inside: avoid; }} h2, h3 {{ break-after: avoid; }}
  h2.answers {{ break-before: page; }} }}
"""


def html(found: Matrix, todo: Sequence[Revision]) -> str:
    r"""The whole page."""
    facts = (
        f"Loop {found.name}, seed {found.seed}, begun {found.began}. Mean {number(found.mean)} "
        f"of 4 over {standing(found)}."
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>Competency matrix: {escape(found.name)}</title>",
            f"<style>{STYLE}</style></head>",
            "<body><main>",
            "<h1>Competency matrix</h1>",
            f'<p class="facts">Mock staff loop. {escape(facts)}</p>',
            f'<div class="wide" tabindex="0">{_figure(found)}</div>',
            f'<p class="rules">{escape(RULES)}</p>',
            *_revision(todo),
            *_answers(found),
            *_remarks(found),
            "</main></body>",
            "</html>",
            "",
        ]
    )


def _figure(found: Matrix) -> str:
    """The figure, with a variable for each colour, so that it follows the page."""
    drawn = svg(found)
    for colour, variable in palette.css().items():
        drawn = drawn.replace(f'"{colour}"', f'"{variable}"')
    return drawn


def _revision(todo: Sequence[Revision]) -> list[str]:
    lines = ["<h2>To revise</h2>"]
    if not todo:
        return [*lines, "<p>No row that was asked about is below solid.</p>"]
    for entry in todo:
        row = entry.row
        lines.append(f"<h3>{row.number}. {escape(row.title)} ({number(row.mean)})</h3><ul>")
        lines += [f"<li>{escape(text)}</li>" for text in entry.pages]
        lines += [f"<li>Lab: {escape(text)}</li>" for text in entry.labs]
        lines += [f"<li>Question: {escape(text)}</li>" for text in entry.questions]
        lines.append("</ul>")
    return lines


def _answers(found: Matrix) -> list[str]:
    head = (
        "<tr><th>Session</th><th>Question</th><th>Rows</th><th>Layers</th>"
        '<th class="number">Score</th><th class="number">Time</th><th>Note</th></tr>'
    )
    return [
        '<h2 class="answers">Answers</h2><div class="wide" tabindex="0"><table>',
        f"<thead>{head}</thead><tbody>",
        *(_answer(result) for result in found.results),
        "</tbody></table></div>",
        *([f"<p>Not answered: {escape(', '.join(found.open))}.</p>"] if found.open else []),
    ]


def _answer(result: Result) -> str:
    item = result.item
    layers = " + ".join(str(points) for points in result.grade.layers.values())
    cells = [SESSIONS[item.session], item.title, ", ".join(map(str, item.rows)), layers]
    texts = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    time = f"{clock(result.seconds)} of {item.minutes}:00"
    return (
        f'<tr>{texts}<td class="number">{result.grade.score}</td>'
        f'<td class="number">{time}</td><td>{escape(notes(result))}</td></tr>'
    )


def _remarks(found: Matrix) -> list[str]:
    if not found.remarks:
        return []
    items = "".join(f"<li>{escape(remark)}</li>" for remark in found.remarks)
    return [f"<h2>About the transcript</h2><ul>{items}</ul>"]
