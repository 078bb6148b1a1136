r"""The order of reading: a page with all its sections, then the pages below it.

A card at the head of a page brings the list of the pages below it, and Sphinx counts such a list
among the sections where it stands: in the contents of an ePub the sections of a guide would come
after its labs. So hidden lists move to the end of their page ({py:class}`AfterTheSections`).

`contents.json` beside the pages lists every page in that order, with its depth. Whoever makes
another edition from the pages (see {py:mod}`book.downloads`) finds the order nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform


class AfterTheSections(SphinxTransform):
    """Move a page's hidden lists of pages, in their order, behind its last section."""

    default_priority = 870

    def apply(self, **kwargs: Any) -> None:
        """Before Sphinx collects sections and pages. A list that is shown stays where it is."""
        lists = [node for node in self.document.findall(addnodes.toctree) if node["hidden"]]
        for node in lists:
            wrapper = node.parent
            page = wrapper
            while page is not None and not isinstance(page.parent, nodes.document):
                page = page.parent
            if isinstance(page, nodes.section):
                wrapper.parent.remove(wrapper)
                page += wrapper


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
    """Order the lists when pages are read, export when they are written."""
    app.add_transform(AfterTheSections)
    app.connect("build-finished", export)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
