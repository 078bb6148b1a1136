r"""`contents.json` beside the pages: every page of the book in reading order, with its depth.

Whoever makes another edition from the pages (see {py:mod}`book.downloads`) needs the order that
the tables of contents give them, and finds it nowhere else in the build.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def in_order(env: BuildEnvironment, page: str, depth: int = 0) -> Iterator[dict[str, object]]:
    """A page, then those below it. The home page's children are as high as itself."""
    yield {"page": page, "title": env.titles[page].astext(), "depth": depth}
    below = depth if page == env.config.root_doc else depth + 1
    for child in env.toctree_includes.get(page, []):
        if child in env.titles:
            yield from in_order(env, child, below)


def export(app: Sphinx, exception: Exception | None) -> None:
    """Write the list; only an HTML build has pages to find."""
    if exception is not None or app.builder.name != "html":
        return
    seen: set[str] = set()
    entries = []
    for entry in in_order(app.env, app.config.root_doc):
        if entry["page"] not in seen:
            seen.add(str(entry["page"]))
            entries.append(entry)
    text = json.dumps(entries, indent=1, ensure_ascii=False)
    (Path(app.outdir) / "contents.json").write_text(text + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    """Export when the pages are written."""
    app.connect("build-finished", export)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
