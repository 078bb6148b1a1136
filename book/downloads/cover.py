r"""The front of the book: the drawing of `book.drawings.cover` where it exists, else type alone."""

from __future__ import annotations

from importlib import import_module, util

PLAIN = """
<div class="cover-plain">
<p class="cover-kicker">From first principles to vLLM maintainer</p>
<p class="cover-title">Inside<br>the Engine</p>
<p class="cover-line">An executable book on LLM inference, its own engine, and labs that grade</p>
<p class="cover-pin">with line-exact links into vLLM 0.22.1</p>
</div>"""


def drawn() -> str | None:
    """The drawn cover as an `<svg>` element, if the book has one."""
    if util.find_spec("book.drawings.cover") is None:
        return None
    return str(import_module("book.drawings.cover").cover_svg())


def cover() -> str:
    """The first page."""
    return f'<section class="cover" id="cover" aria-label="Cover">{drawn() or PLAIN}</section>'
