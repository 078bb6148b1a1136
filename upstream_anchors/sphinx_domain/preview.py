r"""What stands at the other end of the link, without leaving the page.

Each page carries the first lines of every anchor it links to, highlighted when the book was built:
no request, no server, and it works from a file. A snippet is stored once however often it is
linked. The script that shows them is `anchors.js`; a page built without the tree carries none, and
the links keep their plain titles.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.sphinx_domain.excerpt import language_of
from upstream_anchors.sphinx_domain.role import shown_name
from upstream_anchors.sphinx_domain.source import source_of

# Lines of a preview: what fits above or below a link on a laptop's screen.
PREVIEW_LINES = 14

# A single line is shown with a few lines before it, for what it belongs to.
_LINES_BEFORE = 4

_SPACE_SPAN = re.compile(r'<span class="w">(\s*)</span>')


def connect_previews(app: Sphinx) -> None:
    r"""Add the script and the style to every page, and to each page its snippets."""
    app.add_js_file("anchors.js", loading_method="defer")
    app.add_css_file("anchors.css")
    app.connect("html-page-context", _embed)


def _embed(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    source = source_of(app.env)
    if doctree is None or source.resolver is None:
        return
    snippets: dict[str, dict[str, str]] = {}
    for link in doctree.findall(nodes.reference):
        target = link.get("up_target")
        if target is None or link["refuri"] in snippets:
            continue
        try:
            place = source.resolver.resolve(target)
        except AnchorError:
            continue
        snippet = make_snippet(app, source.resolver, place)
        if snippet is not None:
            snippets[link["refuri"]] = snippet
    if snippets:
        # "</" would end the script element early.
        data = json.dumps(snippets, ensure_ascii=False, sort_keys=True).replace("</", "<\\/")
        context["body"] += f'<script type="application/json" id="up-previews">{data}</script>'


def make_snippet(app: Sphinx, resolver: Resolver, place: Place) -> dict[str, str] | None:
    r"""Title and highlighted code of a place; `None` for a folder, which has no code."""
    if place.kind == "folder":
        return None
    if place.start is None:
        numbers, more = _outline(resolver, place)
    else:
        numbers, more = _window(resolver, place)
    lines = resolver.tree.lines(place.path)
    marked = [place.start] if place.kind == "line" and place.start else []
    count = len(lines)
    return {
        "name": shown_name(place),
        "where": f"{count} lines" if place.start is None else f"{place.path} · {_span(place)}",
        "code": _highlight(app, place.path, lines, numbers, marked),
        "more": more,
    }


def _window(resolver: Resolver, place: Place) -> tuple[list[int], str]:
    lines = resolver.tree.lines(place.path)
    start, end = place.start or 1, place.end or 1
    if place.kind == "line":
        first = max(1, start - _LINES_BEFORE)
        numbers = list(range(first, min(len(lines), first + PREVIEW_LINES - 1) + 1))
        while not lines[numbers[0] - 1].strip():
            numbers.pop(0)
        while not lines[numbers[-1] - 1].strip():
            numbers.pop()
        return numbers, ""
    last = min(end, start + PREVIEW_LINES - 1)
    rest = end - last
    more = f"{rest} more line{'s' if rest > 1 else ''}" if rest else ""
    return list(range(start, last + 1)), more


def _outline(resolver: Resolver, place: Place) -> tuple[list[int], str]:
    # Of a Python file its top-level definitions, of any other its first lines.
    count = len(resolver.tree.lines(place.path))
    if place.path.endswith(".py"):
        table = resolver.table(place.path)
        tops = [table[name] for name in table if "." not in name]
        starts = [s.node.lineno for s in tops if s.kind in {"class", "function"} and s.node]  # type: ignore[attr-defined]
        if starts:
            starts.sort()
            rest = len(starts) - PREVIEW_LINES
            return starts[:PREVIEW_LINES], f"{rest} more definitions" if rest > 0 else ""
    last = min(count, PREVIEW_LINES)
    return list(range(1, last + 1)), f"{count - last} more lines" if count > last else ""


def _highlight(
    app: Sphinx, path: str, lines: tuple[str, ...], numbers: list[int], marked: list[int]
) -> str:
    builder = cast(StandaloneHTMLBuilder, app.builder)  # html-page-context has no other
    texts = [lines[number - 1].rstrip() for number in numbers]
    margin = min((len(t) - len(t.lstrip()) for t in texts if t), default=0)
    code = "\n".join(text[margin:] for text in texts)
    html = builder.highlighter.highlight_block(code, language_of(path), force=True)
    body = re.sub(r"^.*?<pre>(?:<span></span>)?|</pre>.*$", "", html, flags=re.DOTALL)
    # Spaces in a span of their own are a quarter of the bytes, and no style gives them a colour.
    body = _SPACE_SPAN.sub(r"\1", body)
    width = len(str(numbers[-1])) if numbers else 1
    rows = []
    for number, row in zip(numbers, body.removesuffix("\n").split("\n")):
        mark = ' class="up-marked"' if number in marked else ""
        rows.append(f"<span{mark}><i>{number:>{width}}</i> {row}</span>")
    return "".join(rows)


def _span(place: Place) -> str:
    return str(place.start) if place.start == place.end else f"{place.start}–{place.end}"
