r"""Code whose lines carry numbers of their file, letters and marks.

A subclass of Docutils' literal block: a builder that knows nothing of it prints the code. HTML gets
the lines highlighted one by one, numbers that are not copied along, and the rest behind a fold.
"""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

#: Letters that a pair may have; each has its colour in beside.css.
LETTERS = "ABCDEF"


class MarkedCode(nodes.literal_block):
    """`rows` are `(number, html, letters that begin here, letters that hold, emphasised)`."""


Row = tuple[int, str, str, str, bool]


def connect_marked_code(app: Sphinx) -> None:
    """Teach the HTML builders to write it; the others write a literal block."""
    app.add_node(MarkedCode, html=(_visit, _depart))


def _visit(translator: Any, node: MarkedCode) -> None:
    rows: list[Row] = node["rows"]
    fold = node["fold"]
    # A fold that hides next to nothing is only in the way.
    cut = len(rows) if len(rows) <= fold + 5 else fold
    translator.body.append(_block(rows[:cut], node["label"]))
    if rest := rows[cut:]:
        said = f"{len(rest)} more lines, to {rest[-1][0]}"
        translator.body.append(f'<details class="beside-rest"><summary>{said}</summary>')
        translator.body.append(_block(rest, f"{node['label']}, continued", before=rows[cut - 1][0]))
        translator.body.append("</details>")
    raise nodes.SkipNode


def _depart(translator: Any, node: MarkedCode) -> None:
    """Never called: the visitor skips."""


def _block(rows: list[Row], label: str, before: int | None = None) -> str:
    lines = []
    for number, html, begins, holds, emphasised in rows:
        if before is not None and number != before + 1:
            lines.append('<span class="bl bl-gap linenos" aria-hidden="true">⋮\n</span>')
        before = number
        classes = [
            "bl",
            *([f"bl-{holds[-1]}"] if holds else []),
            *(["bl-em"] if emphasised else []),
        ]
        letters = f"<b>{begins}</b>" if begins else "<b></b>"
        lines.append(
            f'<span class="{" ".join(classes)}"><span class="linenos"><i>{number}</i>{letters}'
            f"</span>{html}\n</span>"
        )
    code = "".join(lines)
    return f'<div class="highlight"><pre aria-label="{escape(label)}">{code}</pre></div>'
