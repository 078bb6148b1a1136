r"""Lines of code that are longer than the page is wide: they go on below, and a mark says so.

Pygments closes its spans at the end of each line, so highlighted code may be cut there and nowhere
else. Only a line that is too long is touched; it becomes an element of its own, whose second and
further rows the style sheet indents and marks.
"""

from __future__ import annotations

import re
from html import unescape

COLUMNS = 100  # as many as the project's own lines may have
_TAG = re.compile(r"<[^>]*>")


def columns(line: str) -> int:
    """How many characters of a line of markup are seen."""
    return len(unescape(_TAG.sub("", line)))


def wrap_long(markup: str, limit: int = COLUMNS) -> str:
    """The inside of a `<pre>`, with each line beyond `limit` in an element of class `long`."""
    lines = markup.split("\n")
    return "\n".join(_wrapped(line) if columns(line) > limit else line for line in lines)


def _wrapped(line: str) -> str:
    # A marked line begins with the mark's own tag, which ends after the line break: leave both out.
    head, opening, rest = line.partition('<span class="hll">')
    if opening and not _TAG.sub("", head):
        return f'{head}{opening}<span class="long">{rest}</span>'
    closing = ""
    while line.startswith("</span>"):
        line, closing = line.removeprefix("</span>"), closing + "</span>"
    return f'{closing}<span class="long">{line}</span>'
