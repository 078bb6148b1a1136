r"""What the theme and Markdown leave unsaid to those who do not see the page.

- The corner cell of a table with headings on two sides is empty, and an empty heading says nothing:
  it becomes a plain cell.
- The parameters of a long signature are a list of definitions without a term, which is no list:
  they become plain lines.
- The papers are a list, and each has a role that went out of use and that no list may hold: it is
  an item of the list.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_EMPTY_HEADING = re.compile(r"<th class=\"head([^\"]*)\">(?:<p></p>|\s*)</th>")

_PAPER = 'role="doc-biblioentry"'
_PARAMETERS = re.compile(r'<dl>\n((?:<dd><em class="sig-param">.*?</dd>\n)+)</dl>', re.DOTALL)


def as_lines(match: re.Match[str]) -> str:
    """The parameters of a signature, each in a line of its own."""
    lines = match[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
    return f'<span class="sig-lines">\n{lines}</span>'


def complete(app: Sphinx, page: str, template: str, context: dict[str, Any], *_: object) -> None:
    """Mend the tables of the page."""
    if "<th" in context.get("body", ""):
        context["body"] = _EMPTY_HEADING.sub(r'<td class="corner\1"></td>', context["body"])
    if "sig-param" in context.get("body", ""):
        context["body"] = _PARAMETERS.sub(as_lines, context["body"])
    if _PAPER in context.get("body", ""):
        context["body"] = context["body"].replace(_PAPER, 'role="listitem"')


def setup(app: Sphinx) -> dict[str, object]:
    """Connect last, when the page is what it will be."""
    app.connect("html-page-context", complete, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
