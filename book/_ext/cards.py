r"""Header cards of phases and labs, the list of labs, and the order of their pages.

- `{phase-card}` opens a guide: level, hours, hardware, tools, what the reader walks away with,
  progress, and the way to the phases before and after. It also makes the phase's table of
  contents, so the arrow keys know the order and no guide has to list its pages.
- `{lab-card}` opens a lab's README from its `lab.toml`, with a tick that the browser remembers.
- `{lab-list}` stands on the page of a phase's labs.

The list of all phases is `{phases}`, of {py:mod}`book._ext.home.phase_map`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from labkit.catalogue import Catalogue, Lab
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from book._ext.boxes import new_box
from book.phases import REGISTRY, Phase, phase_of, phases
from book.questions import COMPETENCIES
from book.reading_time import in_words

HOME = "index"


class CardDirective(SphinxDirective):
    """What the cards share: small nodes, links, and remembering which files they read."""

    option_spec: ClassVar[dict] = {}

    @property
    def root(self) -> Path:
        """The repository."""
        return Path(self.env.srcdir)

    def labs(self, folder: str) -> list[Lab]:
        """The labs of a phase that have a page; the card is made again when one of them changes."""
        found = [lab for lab in Catalogue(self.root).labs if lab.phase == folder]
        for lab in found:
            self.env.note_dependency(str(lab.folder / "lab.toml"))
        return [lab for lab in found if page_of(lab) in self.env.found_docs]

    def text(self, text: str, css_class: str) -> nodes.paragraph:
        """A line of inline Markdown."""
        line = nodes.paragraph(classes=css_class.split())
        children, messages = self.parse_inline(text)
        line += children
        line += messages
        return line

    def link(self, text: str, document: str, css_class: str = "") -> nodes.Node:
        """A reference to a document of the book."""
        return addnodes.pending_xref(
            "",
            nodes.inline(text, text, classes=css_class.split()),
            refdomain="std",
            reftype="doc",
            reftarget=f"/{document}",
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )

    def facts(self, rows: list[tuple[str, nodes.Node | str]]) -> nodes.Node:
        """Term and value, side by side."""
        table = new_box("card-facts")
        for term, value in rows:
            if not value:
                continue
            shown = self.text(value, "card-value") if isinstance(value, str) else value
            table += new_box("card-fact", self.text(term, "card-term"), shown)
        return table

    def bullets(self, items: tuple[str, ...]) -> nodes.Node:
        """A list of inline Markdown."""
        listing = nodes.bullet_list(classes=["card-list"])
        for item in items:
            listing += nodes.list_item("", self.text(item, ""))
        return listing

    def progress(self, phase: Phase, labs: list[Lab]) -> nodes.Node:
        """`0 / 5 labs, 5 h 20 min`; the script of the site counts what this browser knows."""
        minutes = sum(lab.minutes for lab in labs)
        line = self.text(f"0 / {len(labs)} labs, {in_words(minutes)}", "progress-text")
        return new_box("progress-holder", line, **{"progress-phase": f"{phase.number:02d}"})

    def contents(self, documents: list[str]) -> list[nodes.Node]:
        """A hidden table of contents, which gives the pages their order."""
        if not documents:
            return []
        lines = ["```{toctree}", ":hidden:", "", *(f"/{d}" for d in documents), "```"]
        return self.parse_text_to_nodes("\n".join(lines))


class PhaseCard(CardDirective):
    """The header card of a guide."""

    def run(self) -> list[nodes.Node]:
        """Card, then the hidden table of contents."""
        phase = phase_of(self.env.docname)
        if phase is None or self.env.docname != phase.guide:
            raise self.error(f"phase-card: {self.env.docname} is no phase's 00-guide")
        self.env.note_dependency(str(REGISTRY))
        labs = self.labs(phase.folder)
        every = phases()
        documents = phase.documents(self.env.found_docs)
        note_contents(self.env, documents)
        card = new_box("course-card phase-card")
        card += self.text(f"Phase {phase.number:02d} of {len(every) - 1}", "card-kicker")
        card += self.text(phase.line, "card-line")
        card += self.facts(
            [
                ("Level", phase.level),
                ("Time", phase.hours(sum(lab.minutes for lab in labs))),
                ("Hardware", phase.hardware),
                ("Tools you'll use", "\N{NO-BREAK SPACE}· ".join(phase.tools)),
            ]
        )
        if phase.walk_away:
            card += new_box(
                "card-walk-away",
                self.text("What you walk away with", "card-term"),
                self.bullets(phase.walk_away),
            )
        if labs:
            card += self.progress(phase, labs)
        card += self._ways(phase, every)
        return [card, *self.contents(documents)]

    def _ways(self, phase: Phase, every: list[Phase]) -> nodes.Node:
        ways = nodes.paragraph(classes=["card-ways"])
        before = every[phase.number - 1] if phase.number else None
        after = every[phase.number + 1] if phase.number + 1 < len(every) else None
        ways += self._way("← ", before)
        ways += self.link("Home", HOME)
        ways += self._way("", after, "\N{NO-BREAK SPACE}→")
        return ways

    def _way(self, left: str, phase: Phase | None, right: str = "") -> nodes.Node:
        if phase is None:
            return nodes.inline("", "")
        label = f"Phase {phase.number:02d}: {phase.title}"
        if phase.written(self.root):
            return self.link(f"{left}{label}{right}", phase.guide)
        unwritten = f"{left}{label}, not written yet{right}"
        return nodes.inline("", unwritten, classes=["not-written"])


class LabCard(CardDirective):
    r"""The header card of a lab; what `lab.toml` does not say is given as options."""

    option_spec: ClassVar[dict] = {
        "level": str,
        "hardware": str,
        "tools": str,
        "walk-away": str,
    }

    def run(self) -> list[nodes.Node]:
        """Card with tag, minutes, competency, and what must come before."""
        folder = (self.root / self.env.docname).parent
        lab = next((x for x in Catalogue(self.root).labs if x.folder == folder.resolve()), None)
        if lab is None:
            raise self.error(f"lab-card: {folder.name} has no lab.toml")
        self.env.note_dependency(str(folder / "lab.toml"))
        number = lab.name.split("-")[1]
        card = new_box("course-card lab-card")
        kind = " · process lab" if lab.is_process else ""
        card += self.text(f"Lab {number} · `[{lab.tag}]`{kind}", "card-kicker")
        before = [x for x in Catalogue(self.root).labs if x.name in lab.after]
        links = nodes.paragraph(classes=["card-value"])
        for position, earlier in enumerate(before):
            links += [nodes.Text(", ")] if position else []
            links += self.link(earlier.title, page_of(earlier))
        card += self.facts(
            [
                ("Level", self.options.get("level", "")),
                ("Time", f"about {in_words(lab.minutes)}"),
                ("Hardware", self.options.get("hardware", "") or _hardware(lab)),
                ("After", links if before else ""),
                ("Tools you'll use", self.options.get("tools", "")),
                ("Competency", _row(lab)),
                ("Steps" if lab.is_process else "Tasks", "\N{NO-BREAK SPACE}· ".join(lab.tasks)),
            ]
        )
        if takeaway := self.options.get("walk-away"):
            items = tuple(part.strip() for part in takeaway.split(";"))
            card += new_box(
                "card-walk-away",
                self.text("What you walk away with", "card-term"),
                self.bullets(items),
            )
        card += new_box("lab-done", lab=lab.short)  # the script puts the tick here
        return [card]


def _row(lab: Lab) -> str:
    return COMPETENCIES.get(lab.competency, "all eight rows")


def _hardware(lab: Lab) -> str:
    return {
        "CPU-OK": "Any CPU",
        "GPU-OPT": "Any CPU; the GPU part is optional",
        "GPU-REQ": "A CUDA device",
    }[lab.tag]


class LabList(CardDirective):
    """The labs of this phase as cards, with the reader's progress."""

    def run(self) -> list[nodes.Node]:
        """Progress, cards, hidden table of contents."""
        phase = phase_of(self.env.docname)
        if phase is None:
            raise self.error(f"lab-list: {self.env.docname} belongs to no phase")
        labs = self.labs(phase.folder)
        if not labs:
            raise self.error(f"lab-list: {phase.folder} has no lab with a README")
        documents = [page_of(lab) for lab in labs]
        note_contents(self.env, documents)
        grid = new_box("lab-grid")
        for lab in labs:
            number = lab.name.split("-")[1]
            facts = f"{lab.tag} · {in_words(lab.minutes, 'min')} · {_row(lab)}"
            title = nodes.paragraph(classes=["lab-tile-title"])
            title += self.link(f"{number} · {lab.title}", page_of(lab))
            grid += new_box("lab-tile", title, self.text(facts, "lab-tile-facts"), lab=lab.short)
        return [self.progress(phase, labs), grid, *self.contents(documents)]


def add_missing_card(app: Sphinx, docname: str, source: list[str]) -> None:
    """A lab's README has its card, and the list of labs its list, also when it was forgotten."""
    parts = docname.split("/")
    if parts[0] != "labs" or parts[-1] != "README" or not parts[1].startswith("phase-"):
        return
    directive = "lab-list" if len(parts) == 3 else "lab-card"
    if f"{{{directive}}}" in source[0]:
        return
    head, newline, rest = source[0].partition("\n")
    if head.startswith("# "):
        source[0] = f"{head}{newline}\n:::{{{directive}}}\n:::\n{rest}"


def page_of(lab: Lab) -> str:
    """The document of a lab."""
    return f"labs/{lab.phase}/{lab.name}/README"


def note_contents(env: BuildEnvironment, documents: list[str]) -> None:
    """Remember which pages a table of contents was made from."""
    if not hasattr(env, "card_contents"):
        env.card_contents = {}  # type: ignore[attr-defined]
    env.card_contents[env.docname] = documents


def _outdated(app: Sphinx, env: BuildEnvironment, *_: Any) -> list[str]:
    """Pages whose table of contents changes because a page of their phase came or went."""
    stale = []
    for document, before in getattr(env, "card_contents", {}).items():
        if document not in env.found_docs:
            continue
        phase = phase_of(document)
        if document == HOME:
            now = [p.guide for p in phases() if p.written(Path(app.srcdir))]
        elif phase is not None and document == phase.guide:
            now = phase.documents(env.found_docs)
        elif phase is not None:
            labs = [lab for lab in Catalogue(Path(app.srcdir)).labs if lab.phase == phase.folder]
            now = [page_of(lab) for lab in labs if page_of(lab) in env.found_docs]
        else:
            continue
        if now != before:
            stale.append(document)
    return stale


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directives."""
    app.add_directive("phase-card", PhaseCard)
    app.add_directive("lab-card", LabCard)
    app.add_directive("lab-list", LabList)
    app.connect("env-get-outdated", _outdated)
    app.connect("source-read", add_missing_card)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
