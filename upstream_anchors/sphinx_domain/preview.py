r"""What stands at the other end of the link, without leaving the page.

The lines of a preview lie beside the file's local page, in a script that the first pointer over a
link of that file asks for. A page of the book therefore carries none of them, however many anchors
it has; and since it is a script and not a request for data, it works from a file as well.

`anchors.js` shows them. A build without local pages has no previews: the links keep their titles.
"""

from __future__ import annotations

import json
from typing import Any

from sphinx.application import Sphinx

from upstream_anchors.resolver import Resolver
from upstream_anchors.sphinx_domain.local_files import LocalFile
from upstream_anchors.sphinx_domain.naming import fragment_of, line_span

# A range of so many lines is shown whole; of a longer one the first lines, and how many follow.
SHOWN_WHOLE = 24
PREVIEW_LINES = 16

# A single line is shown with a few lines before it, for what it belongs to.
_LINES_BEFORE = 4
_LINES_AROUND = 14


def connect_previews(app: Sphinx) -> None:
    r"""Add the script and the style to every page."""
    app.add_js_file("anchors.js", loading_method="defer")
    app.add_css_file("anchors.css")


def snippets_script(resolver: Resolver, file: LocalFile, coloured: list[str]) -> str:
    r"""The script that hands the previews of a file to `anchors.js`.

    `coloured` are the lines of the file as HTML. Keys are the fragments that links end with, and
    the empty key is the whole file.
    """
    snippets = {
        fragment_of(*lines): _snippet(resolver, file, lines, coloured)
        for lines in sorted(file.ranges)
    }
    pin = resolver.pin
    data = {
        "github": pin.permalink(file.path, 1).removesuffix("#L1"),
        "snippets": snippets,
    }
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f"upstreamLines({json.dumps(file.path)},{text});\n"


def _snippet(
    resolver: Resolver, file: LocalFile, lines: tuple[int, int], coloured: list[str]
) -> dict[str, Any]:
    start, end = lines
    plain = resolver.tree.lines(file.path)
    if not start:
        numbers, more = _outline(resolver, file.path)
        where = f"{len(plain)} lines"
    else:
        numbers, more = _window(plain, start, end)
        where = f"{file.path} · {line_span(start, end)}"
    margin = min((_indent(plain[n - 1]) for n in numbers if plain[n - 1].strip()), default=0)
    return {
        "name": file.ranges[lines],
        "where": where,
        "first": numbers[0] if numbers else 1,
        "numbers": numbers if not start else [],
        "code": [_dedent(coloured[n - 1], margin) for n in numbers],
        "marked": start if start and start == end else 0,
        "more": more,
    }


def _window(plain: tuple[str, ...], start: int, end: int) -> tuple[list[int], str]:
    if start == end:
        first = max(1, start - _LINES_BEFORE)
        numbers = list(range(first, min(len(plain), first + _LINES_AROUND - 1) + 1))
        while numbers[0] < start and not plain[numbers[0] - 1].strip():
            numbers.pop(0)
        while numbers[-1] > start and not plain[numbers[-1] - 1].strip():
            numbers.pop()
        return numbers, ""
    last = end if end - start < SHOWN_WHOLE else start + PREVIEW_LINES - 1
    rest = end - last
    return list(range(start, last + 1)), f"{rest} more lines" if rest else ""


def _outline(resolver: Resolver, path: str) -> tuple[list[int], str]:
    # Of a Python file its top-level definitions, of any other its first lines.
    count = len(resolver.tree.lines(path))
    if path.endswith(".py"):
        table = resolver.table(path)
        tops = [table[name] for name in table if "." not in name]
        starts = [s.node.lineno for s in tops if s.kind in {"class", "function"} and s.node]  # type: ignore[attr-defined]
        if starts:
            starts.sort()
            rest = len(starts) - PREVIEW_LINES
            return starts[:PREVIEW_LINES], f"{rest} more definitions" if rest > 0 else ""
    last = min(count, PREVIEW_LINES)
    return list(range(1, last + 1)), f"{count - last} more lines" if count > last else ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _dedent(coloured: str, margin: int) -> str:
    # The blanks of a line inside a string stand inside the string's element.
    if coloured.startswith(" " * margin):
        return coloured[margin:]
    head, closing, rest = coloured.partition(">")
    if closing and head.startswith("<span") and rest.startswith(" " * margin):
        return f"{head}>{rest[margin:]}"
    return coloured
