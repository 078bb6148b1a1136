r"""`{lessons}`: the lessons of a module outside the phases, with minutes and progress.

A module is a folder of `book/` whose pages declare minutes in `phases.toml` under `[minutes]`. Its
lessons are those with a number in front of their names; the rest is read once one has them. The
directive stands on the folder's `index`, lists the lessons that exist in the order of their file
names, and makes their table of contents; so the page cannot promise one that nobody wrote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.boxes import new_box
from book._ext.cards import CardDirective
from book.phases import is_lesson, others
from book.reading_time import in_words


def lessons(folder: str, known: set[str]) -> list[tuple[str, int]]:
    """Documents of a module with their minutes, in reading order, as far as they exist."""
    return sorted(
        (document, minutes)
        for document, minutes in others().items()
        if document.startswith(f"{folder}/") and is_lesson(document) and document in known
    )


def title_of(page: Path) -> str:
    """The first heading of a Markdown page."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line.removeprefix("# ").strip()
    raise ValueError(f"{page}: no heading")


class Lessons(CardDirective):
    """Progress, a tile for each lesson, hidden table of contents."""

    def run(self) -> list[nodes.Node]:
        """Refuse a module without a lesson."""
        folder = self.env.docname.rpartition("/")[0]
        found = lessons(folder, self.env.found_docs)
        if not found:
            raise self.error(f"lessons: no page of {folder} declares minutes in phases.toml")
        _noted(self.env)[self.env.docname] = found
        total = sum(minutes for _, minutes in found)
        line = self.text(f"0 / {len(found)} lessons, {in_words(total)}", "progress-text")
        name = {"progress-phase": folder.rpartition("/")[2], "progress-form": "lessons"}
        grid = new_box("lab-grid")
        for number, (document, minutes) in enumerate(found, 1):
            page = self.root / f"{document}.md"
            self.env.note_dependency(str(page))
            title = nodes.paragraph(classes=["lab-tile-title"])
            title += self.link(f"{number} · {title_of(page)}", document)
            grid += new_box(
                "lesson-tile lab-tile", title, self.text(in_words(minutes, "min"), "lab-tile-facts")
            )
        contents = self.contents([document for document, _ in found])
        return [new_box("progress-holder", line, **name), grid, *contents]


def _noted(env: BuildEnvironment) -> dict[str, list[tuple[str, int]]]:
    if not hasattr(env, "module_lessons"):
        env.module_lessons = {}  # type: ignore[attr-defined]
    return env.module_lessons  # type: ignore[attr-defined]


def outdated(app: Sphinx, env: BuildEnvironment, *_: Any) -> list[str]:
    """Modules to which a lesson came, or whose minutes changed."""
    return [
        document
        for document, before in _noted(env).items()
        if document in env.found_docs
        and lessons(document.rpartition("/")[0], env.found_docs) != before
    ]


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_directive("lessons", Lessons)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
