r"""The face of the book: its mark on every page, and the parts of the page it opens with.

- {py:mod}`book._ext.home.first_task`: `{first-task}`, the code of a lab's task and how to grade it.
- {py:mod}`book._ext.home.phase_map`: `{phases}`, all twenty and what leads to what.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from book._ext.home.first_task import FirstTask
from book._ext.home.phase_map import PhaseMap
from book.drawings.mark import header_svg


def add_mark(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give the templates the mark."""
    context["book_mark"] = header_svg()


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives, and connect to the pages."""
    app.setup_extension("book._ext.cards")
    app.add_directive("first-task", FirstTask)
    app.add_directive("phases", PhaseMap)
    app.connect("html-page-context", add_mark)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
