r"""`{career}`: the career map, from `book/career.toml` and from what the book has for it.

Its argument says which part: `roads`, `rows` (a table of what there is, then a card for each
competency, at `#competency-3`) or `artifacts`. A card lists what to read, what to build and what
to answer, with minutes; a row with phases that are not written says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.boxes import new_box
from book._ext.cards import CardDirective, page_of
from book.career import ROADS, Career, Evidence, Road, career, evidence
from book.phases import phases


class CareerDirective(CardDirective):
    """One part of the map."""

    required_arguments = 1
    parts: ClassVar[dict[str, Callable[[CareerDirective], list[nodes.Node]]]] = {}

    def run(self) -> list[nodes.Node]:
        """Lay the part out, and remember what it was made from."""
        part = self.arguments[0]
        if part not in self.parts:
            raise self.error(f"career: {part!r} is none of {', '.join(self.parts)}")
        self.env.career_digest = digest(self.root)  # type: ignore[attr-defined]
        self.env.career_documents = {self.env.docname}  # type: ignore[attr-defined]
        return self.parts[part](self)

    def roads(self) -> list[nodes.Node]:
        """Who decides, what each road trusts, and the rows that it cannot do without."""
        return [new_box("career-roads", *(self._road(road) for road in career().roads))]

    def _road(self, road: Road) -> nodes.Node:
        every = len(career().rows)
        rows = "all eight" if len(road.rows) == every else ""
        facts = self.facts(
            [
                ("It trusts", road.trusts),
                ("Rows", rows or ", ".join(f"[{n}](#competency-{n})" for n in road.rows)),
            ]
        )
        title = self.text(road.title, "career-title")
        return new_box("career-road", title, self.text(road.line, "career-line"), facts)

    def rows(self) -> list[nodes.Node]:
        """The table, and the cards."""
        found = evidence(self.root)
        table = self.parse_text_to_nodes("\n".join(_table(found)))
        cards = [self._card(it) for it in found]
        beside = [(phases()[b.phase], b.why) for b in career().beside]
        listed = "; ".join(f"phase {p.number:02d}, {_small(p.title)} ({why})" for p, why in beside)
        return [*table, *cards, self.text(f"In no row: {listed}.", "career-beside")]

    def _card(self, it: Evidence) -> nodes.Node:
        card = new_box("course-card career-card")
        card["names"].append(f"competency-{it.row.number}")
        self.state.document.note_explicit_target(card)
        card += self.text(f"Row {it.row.number} · {_phases(it)}", "card-kicker")
        card += self.text(it.row.title, "career-title")
        card += self.text(it.row.bar, "career-bar")
        titles = {"maintainer": "To a maintainer", "staff": "To a staff engineer"}
        card += self.facts(
            [(titles.get(road, "To a founder"), getattr(it.row, road)) for road in ROADS]
        )
        rows = [
            (
                "Read",
                self._links([(_name(d), d, f"{m}\N{NO-BREAK SPACE}min") for d, m in it.pages]),
            ),
            (
                "Build",
                self._links(
                    [(x.title, page_of(x), f"{x.minutes}\N{NO-BREAK SPACE}min") for x in it.labs]
                ),
            ),
            ("Answer", self._links(_asked(it))),
        ]
        card += new_box("career-have", self.facts([r for r in rows if r[1]]))
        if it.unwritten:
            names = ", ".join(f"{p.number:02d} {_small(p.title)}" for p in it.unwritten)
            card += self.text(f"Not written yet: {names}.", "career-missing")
        return card

    def _links(self, items: list[tuple[str, str, str]]) -> nodes.Node | str:
        line = nodes.paragraph(classes=["card-value"])
        shown = [item for item in items if item[1] in self.env.found_docs]
        for position, (text, document, note) in enumerate(shown):
            line += [nodes.Text("\N{NO-BREAK SPACE}· ")] if position else []
            line += [self.link(text, document), nodes.Text(f"\N{NO-BREAK SPACE}{note}")]
        return line if shown else ""

    def artifacts(self) -> list[nodes.Node]:
        """The three, each with what it proves and what does not count."""
        made = new_box("career-artifacts")
        for number, it in enumerate(career().artifacts, 1):
            phase = phases()[it.phase]
            where = f"from phase {phase.number:02d} on, {_small(phase.title)}"
            state = "" if phase.written(self.root) else ", not written yet"
            facts = [("What it is", it.what), ("Proves", it.proves), ("Does not count", it.weak)]
            title = self.text(f"{number} · {it.title}", "career-title")
            facts.append(("In the book", where + state))
            made += new_box("career-artifact", title, self.facts(facts))
        return [made]


CareerDirective.parts = {
    "roads": CareerDirective.roads,
    "rows": CareerDirective.rows,
    "artifacts": CareerDirective.artifacts,
}


def _table(found: list[Evidence]) -> list[str]:
    lines = ["| Row | Phases | Written | Questions | Exercises | Labs | Minutes |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    for it in found:
        name = f"[{it.row.number} {it.row.title}](#competency-{it.row.number})"
        numbers = ", ".join(f"{n:02d}" for n in it.row.phases)
        written = f"{len(it.written)} of {len(it.row.phases)}"
        counts = f"{it.count('question')} | {it.count('exercise')} | {len(it.labs)}"
        total = sum(it.minutes.values())
        lines.append(f"| {name} | {numbers} | {written} | {counts} | {total:,} |")
    return lines


def _phases(it: Evidence) -> str:
    numbers = [f"{n:02d}" for n in it.row.phases]
    word = "phase" if len(numbers) == 1 else "phases"
    return f"{word} {', '.join(numbers)}"


def _small(title: str) -> str:
    """A title inside a sentence; one that begins with capitals keeps them."""
    return title if title[:2].isupper() or "-L" in title else title[0].lower() + title[1:]


_NAMES = {"00-guide": "guide", "01-deep-dive": "deep dive", "02-mini-build": "mini-build"}
_NAMES |= {"README": "labs", "CHEATSHEET": "cheat sheet"}
_NAMES |= {"EXERCISES": "exercises", "INTERVIEW": "interview"}


def _name(document: str) -> str:
    folder, _, page = document.rpartition("/")
    name = folder.rpartition("/")[2]
    if name[:6] == "phase-":
        return f"{name.split('-')[1]} {_NAMES.get(page, page)}"
    return f"lesson {int(page[:2])}" if page[:2].isdigit() else page


def _asked(it: Evidence) -> list[tuple[str, str, str]]:
    return [
        (_name(document), document, f"{len(entries)}")
        for document, entries in it.by_document().items()
    ]


def digest(root: Path) -> str:
    """A hash of all that the map shows."""
    shown: tuple[Career, list[Evidence]] = (career(), evidence(root))
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def outdated(app: Sphinx, env: BuildEnvironment, *_: Any) -> list[str]:
    """The map's page, when a question, a lab or a phase came, went or changed."""
    before = getattr(env, "career_digest", None)
    if before is None or before == digest(Path(app.srcdir)):
        return []
    return [d for d in getattr(env, "career_documents", ()) if d in env.found_docs]


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_directive("career", CareerDirective)
    app.connect("env-get-outdated", outdated)
    app.add_css_file("css/career.css", priority=850)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
