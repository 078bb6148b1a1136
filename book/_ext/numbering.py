r"""Figures, tables and equations count from 1 on every page, and code listings not at all.

Sphinx counts through the whole book, so that a new figure on one page renumbers, and rewrites, all
pages after it. A listing is named by its path and lines; a number would say less.
"""

from __future__ import annotations

import functools
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector

_UNNUMBERED = ("code-block",)


def per_page(numbers: dict[str, dict[str, dict[str, tuple[int, ...]]]]) -> dict[str, Any]:
    """Renumber each kind on each page from 1, in the order that the page has."""
    return {
        docname: {
            kind: {
                name: (position,)
                for position, (name, _) in enumerate(
                    sorted(entries.items(), key=lambda item: item[1]), 1
                )
            }
            for kind, entries in kinds.items()
            if kind not in _UNNUMBERED
        }
        for docname, kinds in numbers.items()
    }


def setup(app: Sphinx) -> dict[str, object]:
    """Wrap the collector's numbering, so that its own comparison sees the final numbers."""
    original = TocTreeCollector.assign_figure_numbers

    @functools.wraps(original)
    def assign(self: TocTreeCollector, env: BuildEnvironment) -> list[str]:
        before = env.toc_fignumbers
        original(self, env)
        env.toc_fignumbers = per_page(env.toc_fignumbers)
        return [d for d, kinds in env.toc_fignumbers.items() if kinds != before.get(d, {})]

    if not getattr(original, "__wrapped__", None):
        TocTreeCollector.assign_figure_numbers = assign  # type: ignore[method-assign]
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
