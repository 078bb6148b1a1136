r"""`{belief}`: what is often said, and beside it what the pinned tree says.

A row that cites nothing is an opinion, so the body of a belief needs at least one {up} anchor. Half
of what is said of an engine is about things that are *gone*, and to what is gone there is no line
to link. Such a row carries `:absent:`, and the build looks: for a folder or file that must not
exist, or for words that must stand in no Python file of a folder. What was looked for is
printed, with the number of files that were read. Without the tree the row says that nobody looked.
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from book._ext.boxes import new_box
from upstream_anchors.absence import Absence, AbsenceError, parse_absences
from upstream_anchors.sphinx_domain.source import source_of

logger = logging.getLogger(__name__)


class BeliefDirective(SphinxDirective):
    """One row: `:often:` is the belief, the body is what the tree says."""

    has_content = True
    required_arguments = 1
    option_spec: ClassVar[dict] = {"often": str, "absent": str}

    def run(self) -> list[nodes.Node]:
        """The two halves; a warning for a row without evidence."""
        name = self.arguments[0]
        often = new_box("belief-often")
        text, messages = self.parse_inline(self.options.get("often", ""))
        often += nodes.paragraph("", "", *text)
        found = new_box("belief-found", *self.parse_content_to_nodes())
        if not any(link.get("up_place") for link in found.findall(nodes.reference)):
            self.warn(f"belief {name}: no anchor, so nothing shows that it is true at the pin")
        if "absent" in self.options:
            found += self.looked_for(name, self.options["absent"])
        row = new_box("belief", often, found)
        row["ids"].append(f"belief-{name}")
        self.state.document.note_explicit_target(row)
        return [row, *messages]

    def looked_for(self, name: str, text: str) -> nodes.Node:
        """The line that says what is not there; a warning for what is."""
        tree = source_of(self.env).tree
        line = nodes.paragraph("", classes=["belief-absent"])
        try:
            absences = parse_absences(text)
            findings = [a.check(tree) if tree else None for a in absences]
        except AbsenceError as error:
            self.warn(f"belief {name}: {error}")
            return line
        line += nodes.Text("Looked for, and not there: " if tree else "Not looked for here: ")
        for i, (absence, count) in enumerate(zip(absences, findings)):
            line += _said(absence, count, first=i == 0)
        line += nodes.Text(".")
        return line

    def warn(self, message: str) -> None:
        """Fatal under `-W`; the page is read again next time, whether it changes or not."""
        logger.warning(message, type="belief", location=self.get_location())
        self.env.note_reread()


def _said(absence: Absence, files_read: int | None, *, first: bool) -> list[nodes.Node]:
    shown: list[nodes.Node] = [] if first else [nodes.Text("; ")]
    if absence.words is None:
        return [*shown, nodes.literal("", absence.path)]
    shown += [nodes.literal("", absence.words), nodes.Text(" in ")]
    if files_read is not None:
        shown.append(nodes.Text(f"the {files_read:,} Python files of "))
    return [*shown, nodes.literal("", f"{absence.path}/")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("belief", BeliefDirective)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
