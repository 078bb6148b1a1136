r"""`{question}` and `{exercise}`: the prompt in the open, the answer folded away.

Every entry is also kept in the build environment and exported to `questions.json` beside the pages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.domains import Domain
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from book._ext.boxes import new_box
from book._ext.references import DomainRole
from book.questions import COMPETENCIES, Entry, EntryError, Text, parse_entry

LABELS = {
    "mechanism": "Mechanism",
    "arithmetic": "Invariant and arithmetic",
    "consequence": "Consequence in operation",
    "answer": "",
}
_SUMMARY = {
    "question": "Model answer: say yours aloud first",
    "exercise": "Answer",
}


class details(nodes.Element):
    """A block that opens on a click, and is open in print; the first child is its summary."""


class summary(nodes.TextElement):
    """The line that stays visible."""


class QuestionDomain(Domain):
    """Where every question and exercise stands; {q}`id` links to one."""

    name = "question"
    label = "questions"
    data_version = 1
    initial_data: ClassVar[dict[str, Any]] = {"entries": {}}

    def note(self, docname: str, entry: Entry) -> None:
        """Keep an entry; an id that stands on two pages is refused."""
        known = self.data["entries"].get(entry.id)
        if known is not None and known["docname"] != docname:
            raise EntryError(f"{entry.id} is already asked on {known['docname']}")
        if known is not None:
            raise EntryError(f"{entry.id} is asked twice on this page")
        self.data["entries"][entry.id] = {"docname": docname, **entry.as_json()}

    def clear_doc(self, docname: str) -> None:
        """Forget a page that is read again."""
        entries = self.data["entries"]
        for key in [k for k, value in entries.items() if value["docname"] == docname]:
            del entries[key]

    def merge_domaindata(self, docnames: set[str], otherdata: dict[str, Any]) -> None:
        """Merge what a parallel reader found."""
        for key, value in otherdata["entries"].items():
            if value["docname"] in docnames:
                self.data["entries"][key] = value

    def resolve_any_xref(self, *_: Any) -> list:
        """Plain references never mean a question."""
        return []

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):  # type: ignore[no-untyped-def]
        """Link to the entry's box."""
        entry = self.data["entries"].get(target)
        if entry is None:
            return None
        return make_refnode(
            builder, fromdocname, entry["docname"], anchor(entry["kind"], target), contnode
        )


def anchor(kind: str, name: str) -> str:
    """The id of an entry on its page."""
    return f"{kind}-{name}"


class EntryDirective(SphinxDirective):
    """What questions and exercises share."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict] = {
        "competency": str,
        "minutes": str,
        "tier": str,
    }

    def run(self) -> list[nodes.Node]:
        """Parse, register and lay out one entry."""
        kind = self.name
        options = {key: value or "" for key, value in self.options.items()}
        try:
            entry = parse_entry(kind, self.arguments[0], options, "\n".join(self.content))
            domain = self.env.get_domain("question")
            domain.note(self.env.docname, entry)  # type: ignore[attr-defined]
        except EntryError as problem:
            raise self.error(f"{kind}: {problem}") from problem

        box = new_box(f"entry entry-{kind} tier-{entry.tier}")
        box["ids"].append(anchor(kind, entry.id))
        box += self._header(entry)
        box += self._text(entry.prompt, "entry-prompt")
        fold = details(classes=["entry-answer"])
        fold += summary("", _SUMMARY[kind])
        for name, part in entry.parts.items():
            fold += self._part(name, part)
        box += fold
        return [box]

    def _header(self, entry: Entry) -> nodes.Node:
        header = nodes.paragraph(classes=["entry-header"])
        for text, classes in (
            (entry.tier, ["entry-tier"]),
            (COMPETENCIES[entry.competency], ["entry-competency"]),
            (f"{entry.minutes} min", ["entry-minutes"]),
        ):
            header += nodes.inline(text, text, classes=classes)
        return header

    def _part(self, name: str, part: Text) -> nodes.Node:
        block = new_box(f"entry-part part-{name}")
        if label := LABELS[name]:
            block += nodes.paragraph("", label, classes=["part-label"])
        block += self._text(part, "part-text").children
        return block

    def _text(self, text: Text, css_class: str) -> nodes.Element:
        block = new_box(css_class)
        source, _ = self.get_source_info()
        lines = StringList(text.markdown.splitlines(), source=source)
        self.state.nested_parse(lines, self.content_offset + text.line, block)
        return block


def _visit_details(self: Any, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "details"))


def _depart_details(self: Any, node: nodes.Element) -> None:
    self.body.append("</details>\n")


def _visit_summary(self: Any, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "summary", ""))


def _depart_summary(self: Any, node: nodes.Element) -> None:
    self.body.append("</summary>\n")


def _pass(self: Any, node: nodes.Element) -> None:
    """Other formats print the answer where it stands."""


def export(app: Sphinx, exception: Exception | None) -> None:
    """Write all entries, sorted by id, beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    entries = app.env.get_domain("question").data["entries"]
    target = Path(app.outdir) / "questions.json"
    data = [entries[key] for key in sorted(entries)]
    target.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, object]:
    """Register the domain, the directives and the export."""
    app.add_domain(QuestionDomain)
    other = {"latex": (_pass, _pass), "text": (_pass, _pass)}
    app.add_node(details, html=(_visit_details, _depart_details), **other)
    app.add_node(summary, html=(_visit_summary, _depart_summary), **other)
    app.add_directive("question", EntryDirective)
    app.add_directive("exercise", EntryDirective)
    app.add_role("q", DomainRole("question", "q"))
    app.connect("build-finished", export)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
