r"""`{recall}` at the end of a chapter, and `{recall-due}`: all of them on one page.

Without scripts both are folded questions. With them (`recall.js`) the reader marks what was known;
what was not comes back first, and the rest after intervals that grow.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book._ext.boxes import new_box
from book._ext.invariants import owner_modules
from book._ext.questions import LABELS, details, summary
from book.phases import Phase, phase_of, phases
from book.questions import EntryError, Text
from book.recall import Item, RecallError, interview, items


class Recall(SphinxDirective):
    r"""The questions of this page's phase.

    `:ids:` is read from the deep dive's source by {py:mod}`book.recall`; on any other page the
    directive takes no list.
    """

    option_spec: ClassVar[dict] = {"ids": str}

    @property
    def root(self) -> Path:
        """The repository."""
        return Path(self.env.srcdir)

    def run(self) -> list[nodes.Node]:
        """One box with its items."""
        phase = phase_of(self.env.docname)
        if phase is None:
            raise self.error(f"recall: {self.env.docname} belongs to no phase")
        if "ids" in self.options and not self.env.docname.endswith("/01-deep-dive"):
            raise self.error("recall: the list of a phase stands in its deep dive")
        return [self.component(phase)]

    def component(self, phase: Phase) -> nodes.Element:
        """The items of a phase; the page is made again when one of their sources changes."""
        package = Path(self.config.invariants_package)
        for path in (*(path for _, path in owner_modules(package)), interview(self.root, phase)):
            self.env.note_dependency(str(path))
        self.env.note_dependency(str(self.root / "book" / phase.folder / "01-deep-dive.md"))
        _pages(self.env).add(self.env.docname)
        try:
            found = items(self.root, package, phase)
        except (RecallError, EntryError) as problem:
            raise self.error(f"recall: {problem}") from problem
        return new_box("recall", *(self._item(item) for item in found))

    def _item(self, item: Item) -> nodes.Element:
        box = new_box("recall-item", recall=item.key)
        kind = "Invariant" if item.kind == "invariant" else "Question"
        box += nodes.paragraph("", kind, classes=["recall-kind"])
        fold = details(classes=["entry-answer"])
        fold += summary("", "Answer: say yours aloud first")
        if item.kind == "invariant":
            asked = nodes.paragraph("", "State the invariant ")
            asked += [nodes.literal("", item.id), nodes.Text(".")]
            box += new_box("recall-prompt", asked)
            fold += self._text(Text(item.source.statement, 0), "entry-part")
        else:
            box += self._text(item.source.prompt, "recall-prompt")
            for name, part in item.source.parts.items():
                block = new_box(f"entry-part part-{name}")
                block += nodes.paragraph("", LABELS[name], classes=["part-label"])
                block += self._text(part, "part-text").children
                fold += block
        box += fold
        return box

    def _text(self, text: Text, css_class: str) -> nodes.Element:
        block = new_box(css_class)
        source, _ = self.get_source_info()
        lines = StringList(text.markdown.splitlines(), source=source)
        self.state.nested_parse(lines, self.content_offset, block)
        return block


class RecallDue(Recall):
    """The lists of all written phases; the script hides what is not due."""

    option_spec: ClassVar[dict] = {}

    def run(self) -> list[nodes.Node]:
        """One component a phase, under its name."""
        holder = new_box("recall-due")
        for phase in phases():
            if phase.guide in self.env.found_docs:
                component = self.component(phase)
                title = f"Phase {phase.number:02d}: {phase.title}"
                heading = nodes.rubric("", title, classes=["recall-phase"])
                heading["heading-level"] = 2
                component.insert(0, heading)
                holder += component
        return [holder]


def _pages(env: Any) -> set[str]:
    if not hasattr(env, "recall_pages"):
        env.recall_pages = set()
    return env.recall_pages


def add_script(app: Sphinx, pagename: str, template: str, context: dict, doctree: Any) -> None:
    """On the pages that ask something, and on no others."""
    if pagename in _pages(app.env):
        app.add_css_file("css/recall.css", priority=860)
        app.add_js_file("js/recall.js", loading_method="defer", priority=500)


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """A page that is read again starts without."""
    _pages(env).discard(docname)


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives; `progress` brings the store that the script uses."""
    app.setup_extension("book._ext.progress")
    app.add_directive("recall", Recall)
    app.add_directive("recall-due", RecallDue)
    app.connect("html-page-context", add_script)
    app.connect("env-purge-doc", forget)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
