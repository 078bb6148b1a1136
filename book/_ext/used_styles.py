r"""The theme's styles without the rules that no page of this book can meet.

Theme and extensions bring half a megabyte of styles, most of it for buttons, grids and icons that
stand on none of our pages. When the pages are written, a rule whose classes occur neither in a
page nor in a script is left out. What a build has once seen is remembered, so that an incremental
build reads only the pages that it wrote. Our own styles are left as they are.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from book._ext.notebooks import state

#: Whose rules are chosen from, below `_static`: files that Sphinx copies anew in each build. Those
#: of MyST-NB it refuses to copy over what has changed.
FOREIGN = (
    "styles/pydata-sphinx-theme.css",
    "styles/sphinx-book-theme.css",
    "sphinx-design.min.css",
    "basic.css",
    "pygments.css",
)
_CLASSES = re.compile(r'\bclass="([^"]*)"')
_WORD = re.compile(r"-?[A-Za-z_][\w-]*")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_MARK = re.compile(r"[{}\"']")
_NEEDED = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
_COMMA = re.compile(r",(?![^()]*\))")
# What stands in brackets is a choice or a denial: no class in it is needed.
_BRACKETS = re.compile(r"\[[^\]]*\]|\([^()]*\)")
_NESTING = ("@media", "@supports", "@layer", "@container")


def rules(text: str) -> Iterator[tuple[str, str | None]]:
    """Heads and bodies of the rules at the outermost level; a statement has no body."""
    at = 0
    while at < len(text):
        brace, semicolon = text.find("{", at), text.find(";", at)
        if semicolon != -1 and (brace == -1 or semicolon < brace):
            yield text[at : semicolon + 1].strip(), None
            at = semicolon + 1
            continue
        if brace == -1:
            return
        end = _closing(text, brace)
        yield text[at:brace].strip(), text[brace + 1 : end]
        at = end + 1


def _closing(text: str, brace: int) -> int:
    """Where the block that opens at `brace` ends; braces in quotes do not count."""
    depth, at = 1, brace + 1
    while depth:
        mark = _MARK.search(text, at)
        if mark is None:
            raise ValueError(f"a style's block is not closed: {text[brace - 40 : brace + 20]!r}")
        at = mark.end()
        if mark[0] in "{}":
            depth += 1 if mark[0] == "{" else -1
        else:
            at = text.index(mark[0], at) + 1
    return at - 1


def met(selector: str, known: set[str]) -> bool:
    """Whether some element may have every class that the selector asks for."""
    before = ""
    while before != selector:
        before, selector = selector, _BRACKETS.sub("", selector)
    return all(name in known for name in _NEEDED.findall(selector))


def pruned(text: str, known: set[str]) -> str:
    """The rules that can be met."""
    kept = []
    for head, body in rules(text):
        if body is None:
            kept.append(head)
        elif head.startswith(_NESTING):
            inner = pruned(body, known)
            kept += [f"{head}{{{inner}}}"] if inner else []
        elif head.startswith("@"):
            kept.append(f"{head}{{{body}}}")
        elif selectors := [s.strip() for s in _COMMA.split(head) if met(s, known)]:
            kept.append(f"{','.join(selectors)}{{{body}}}")
    return "".join(kept)


def classes_of(page: str) -> set[str]:
    """Every class on a page."""
    return {name for value in set(_CLASSES.findall(page)) for name in value.split()}


def remembered(path: Path) -> set[str]:
    """The classes that earlier builds have seen."""
    with contextlib.suppress(OSError, ValueError):
        return set(json.loads(path.read_text(encoding="utf-8")))
    return set()


def seen(app: Sphinx, written: Iterable[Path]) -> set[str]:
    """Classes of the pages just written, of every earlier one, and all words of the scripts."""
    store = state(app, ".classes.json")
    known = remembered(store)
    if not known:
        written = app.outdir.rglob("*.html")
    found = known.union(*(classes_of(page.read_text("utf-8")) for page in written if page.exists()))
    if found != known:
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(json.dumps(sorted(found)), encoding="utf-8")
    scripts = (app.outdir / "_static").rglob("*.js")
    return found.union(*(_WORD.findall(s.read_text("utf-8", errors="replace")) for s in scripts))


def note(app: Sphinx, page: str, *_: object) -> None:
    """Remember that this page is being written."""
    _written(app).append(app.outdir / app.builder.get_output_path(page))


def _written(app: Sphinx) -> list[Any]:
    if not hasattr(app, "pages_written"):
        app.pages_written = []  # type: ignore[attr-defined]
    return app.pages_written


def prune(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the styles that the build has just copied; its next run copies them again."""
    if exception is not None or app.builder.name != "html":
        return
    static = app.outdir / "_static"
    known = seen(app, _written(app))
    for pattern in FOREIGN:
        for path in static.glob(pattern):
            text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
            path.write_text(pruned(text, known), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    """Connect last: the pages, and whatever adds to them, are there."""
    app.setup_extension("book._ext.notebooks")  # which says where state is kept
    app.connect("html-page-context", note)
    app.connect("build-finished", prune, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
