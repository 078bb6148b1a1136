r"""Counts what stands on a page, and warns where its declared minutes do not fit.

The counting is done on the document tree, after directives have put docstrings, excerpts and
outputs where the reader sees them. The model is {py:mod}`book.reading_time`. Each build leaves
`reading-times.json` beside the pages: what was counted, what it comes to, what is declared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from labkit import regions
from labkit.catalogue import Catalogue, Lab
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from book._ext.boxes import box
from book._ext.cards import page_of
from book.phases import declared_minutes, others, phase_of
from book.reading_time import WORDS_OF_A_FORMULA, Load, complaint
from upstream_anchors.sphinx_domain.domain import LINK_CLASS

LOGGER = logging.getLogger(__name__)
TYPED = "/02-mini-build"
_UNSEEN = (
    nodes.comment,
    nodes.system_message,
    nodes.substitution_definition,
    nodes.target,
    addnodes.index,
    addnodes.toctree,
    addnodes.pending_xref_condition,
)
_FOLDED = {"tag_hide-input", "tag_remove-input", "tag_hide-cell", "tag_remove-cell"}
_OWN_MINUTES = {"entry", "page-minutes", "recall"}


class Counter:
    """Walks a page once."""

    def __init__(self, *, typed: bool) -> None:
        self.load = Load()
        self.typed = typed
        self.targets: set[str] = set()

    def count(self, document: nodes.document) -> Load:
        """Everything but what the entries say for themselves."""
        self.walk(document)
        self.load.anchors = len(self.targets)
        return self.load

    def walk(self, node: nodes.Node) -> None:
        """Count a node with all that is in it."""
        if isinstance(node, nodes.Text):
            self.load.words += len(node.astext().split())
        elif isinstance(node, _UNSEEN):
            return
        elif isinstance(node, nodes.literal_block):
            self._code(node.astext(), in_cell=False)
        elif isinstance(node, nodes.math_block):
            self.load.equations += 1
        elif isinstance(node, nodes.math):
            self.load.words += WORDS_OF_A_FORMULA
        elif isinstance(node, addnodes.desc_signature):
            self.load.code_lines += 1
        elif isinstance(node, nodes.raw):
            self.load.figures += node.astext().count("<svg")
        elif isinstance(node, nodes.image):
            self.load.figures += 1
        elif isinstance(node, nodes.Element):
            self._element(node)

    def _element(self, node: nodes.Element) -> None:
        classes = set(node.get("classes", ()))
        if isinstance(node, box) and classes & _OWN_MINUTES:
            self.load.recalls += "recall-item" in classes
            for item in node.findall(box) if "recall" in classes else ():
                self.load.recalls += "recall-item" in item["classes"]
            return
        if LINK_CLASS in classes and "up-quiet" not in classes:
            self.targets.add(node.get("refuri", ""))
        self.load.absent += "up-absent" in classes
        if "trace-figure" in classes:
            self.load.players += 1
            captions = [c for c in node.children if isinstance(c, nodes.caption)]
            self._all(captions)
        elif node.get("nb_element") == "mime_bundle":
            self._output(node)
        elif "cell" in classes:
            self._cell(node, folded=bool(classes & _FOLDED))
        else:
            self._all(node.children)

    def _cell(self, cell: nodes.Element, *, folded: bool) -> None:
        for child in cell.children:
            if not isinstance(child, nodes.Element) or "cell_input" not in child["classes"]:
                self._outputs(child)
            elif not folded:
                for block in child.findall(nodes.literal_block):
                    self._code(block.astext(), in_cell=True)

    def _outputs(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.literal_block):
            self.load.output_lines += _lines(node.astext())
        elif isinstance(node, nodes.Element) and node.get("nb_element") == "mime_bundle":
            self._output(node)
        elif isinstance(node, (nodes.image, nodes.raw, nodes.TextElement)):
            self.walk(node)
        else:
            for child in node.children:
                self._outputs(child)

    def _output(self, bundle: nodes.Element) -> None:
        """One of the forms in which a cell's result is offered: the picture, if there is one."""
        if next(bundle.findall(nodes.image), None) is not None:
            self.load.figures += 1
        elif bundle.children:
            self._outputs(bundle.children[-1])

    def _code(self, text: str, *, in_cell: bool) -> None:
        if self.typed and in_cell:
            self.load.typed_lines += _lines(text)
        else:
            self.load.code_lines += _lines(text)

    def _all(self, children: list[nodes.Node]) -> None:
        for child in children:
            self.walk(child)


def _lines(text: str) -> int:
    return sum(1 for line in text.splitlines() if line.strip())


def loads(env: BuildEnvironment) -> dict[str, Load]:
    """What has been counted, by document."""
    if not hasattr(env, "reading_loads"):
        env.reading_loads = {}  # type: ignore[attr-defined]
    return env.reading_loads  # type: ignore[attr-defined]


def count(app: Sphinx, doctree: nodes.document) -> None:
    """Count a page of a phase, or one that declares its minutes, when it is read."""
    document = app.env.docname
    if phase_of(document) is None and document not in others():
        return
    load = Counter(typed=document.endswith(TYPED)).count(doctree)
    entries = app.env.get_domain("question").data["entries"].values()
    load.entry_minutes = sum(e["minutes"] for e in entries if e["docname"] == document)
    if lab := _labs(app).get(document):
        # A file that is not there would have the page read again at every build.
        app.env.note_dependency(str(lab.folder / "lab.toml" if lab.is_process else lab.solution))
        load.lab_lines = lines_to_write(lab.solution)
        # The work of a process lab lies outside of its page, and its steps say how long they take.
        load.entry_minutes += sum(step.minutes for step in lab.steps)
    loads(app.env)[document] = load


def lines_to_write(solution: Path) -> int:
    """Lines of a solution that its starter leaves out, comments aside."""
    if not solution.is_file():
        return 0
    lines = solution.read_text(encoding="utf-8").splitlines()
    left_out = [
        line.strip()
        for region in regions.parse("\n".join(lines))
        for line in lines[region.begin : region.end - 1]
    ]
    return sum(1 for line in left_out if line and not line.startswith("#"))


def _labs(app: Sphinx) -> dict[str, Lab]:
    return {page_of(lab): lab for lab in Catalogue(Path(app.srcdir)).labs}


def declared(app: Sphinx) -> dict[str, int]:
    """The minutes of every counted page, from `phases.toml` or from its `lab.toml`."""
    labs = {document: lab.minutes for document, lab in _labs(app).items()}
    pages = {d: declared_minutes(d) for d in loads(app.env)}
    return labs | {document: minutes for document, minutes in pages.items() if minutes}


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of every page whose declared minutes are off."""
    minutes = declared(app)
    for document, load in sorted(loads(env).items()):
        if document not in env.found_docs or document not in minutes:
            continue
        if problem := complaint(minutes[document], load):
            LOGGER.warning(problem, location=document, type="budget", subtype="minutes")


def record(app: Sphinx, exception: Exception | None) -> None:
    """Leave the counts beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    minutes = declared(app)
    data = {
        document: {"declared": minutes.get(document), **load.as_json()}
        for document, load in sorted(loads(app.env).items())
        if document in app.env.found_docs
    }
    target = Path(app.outdir) / "reading-times.json"
    target.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again is counted again."""
    loads(env).pop(docname, None)


def merge(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: Any) -> None:
    """Take over what a parallel reader counted."""
    loads(env).update({d: load for d, load in loads(other).items() if d in docnames})


def setup(app: Sphinx) -> dict[str, object]:
    """Count before the minutes are put on the page; check when all pages have been read."""
    app.connect("doctree-read", count, priority=400)
    app.connect("env-updated", check)  # also when no page was read
    app.connect("build-finished", record)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
