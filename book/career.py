r"""The career map: what it says, read from `career.toml`, and what the book has for each row.

Questions, exercises and labs name the row that they train; a page belongs to the row of its phase.
So nobody writes down how much a row has: it is counted, from what is on disk.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from labkit.catalogue import Catalogue, Lab

from book.phases import ROOT, Phase, phases
from book.questions import COMPETENCIES, Entry, read_text

REGISTRY = Path(__file__).with_name("career.toml")
ROADS = ("maintainer", "staff", "founder")
#: Their minutes are those of the entries on them, which are counted by themselves.
ENTRY_PAGES = ("EXERCISES", "INTERVIEW")


class CareerError(ValueError):
    """A map that says something impossible."""


@dataclass(frozen=True)
class Road:
    """One of the three tracks; `rows` are the competencies that it cannot do without."""

    id: str
    title: str
    line: str
    trusts: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One competency: who teaches it, what staff level looks like, what it is worth on a road."""

    number: int
    phases: tuple[int, ...]
    bar: str
    maintainer: str
    staff: str
    founder: str

    @property
    def title(self) -> str:
        """The name under which questions and labs are filed."""
        return COMPETENCIES[self.number]


@dataclass(frozen=True)
class Beside:
    """A phase that belongs to no row, and why."""

    phase: int
    why: str


@dataclass(frozen=True)
class Artifact:
    """One of the three things to show: what it is, what it proves, and what does not count."""

    title: str
    phase: int
    what: str
    proves: str
    weak: str


@dataclass(frozen=True)
class Career:
    """The whole map."""

    roads: tuple[Road, ...]
    rows: tuple[Row, ...]
    beside: tuple[Beside, ...]
    artifacts: tuple[Artifact, ...]


def career(path: Path = REGISTRY) -> Career:
    """Read the map; one that misses a row or a phase, or has one twice, is refused."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        read = Career(
            roads=tuple(Road(**{**r, "rows": tuple(r["rows"])}) for r in data["road"]),
            rows=tuple(Row(**{**r, "phases": tuple(r["phases"])}) for r in data["row"]),
            beside=tuple(Beside(**b) for b in data["beside"]),
            artifacts=tuple(Artifact(**a) for a in data["artifact"]),
        )
    except (KeyError, TypeError) as problem:
        raise CareerError(f"{path.name}: {problem}") from problem
    if [row.number for row in read.rows] != list(COMPETENCIES):
        numbers = [row.number for row in read.rows]
        raise CareerError(f"{path.name}: rows {numbers}, not {list(COMPETENCIES)}")
    if tuple(road.id for road in read.roads) != ROADS:
        raise CareerError(f"{path.name}: the roads are {', '.join(ROADS)}, in this order")
    taught = [n for row in read.rows for n in row.phases] + [b.phase for b in read.beside]
    if sorted(taught) != [phase.number for phase in phases()]:
        raise CareerError(f"{path.name}: phases {sorted(taught)}: each one once, none missing")
    for road in read.roads:
        if not set(road.rows) <= set(COMPETENCIES):
            raise CareerError(f"{path.name}: {road.id} names rows {road.rows}")
    return read


@dataclass(frozen=True)
class Evidence:
    """What the book has for one row, each with its document."""

    row: Row
    written: tuple[Phase, ...]
    unwritten: tuple[Phase, ...]
    pages: tuple[tuple[str, int], ...]
    labs: tuple[Lab, ...]
    entries: tuple[tuple[str, Entry], ...]

    def count(self, kind: str) -> int:
        """How many questions, or exercises."""
        return sum(entry.kind == kind for _, entry in self.entries)

    @property
    def minutes(self) -> dict[str, int]:
        """Minutes of pages, of labs, and of questions with exercises."""
        return {
            "pages": sum(minutes for _, minutes in self.pages),
            "labs": sum(lab.minutes for lab in self.labs),
            "entries": sum(entry.minutes for _, entry in self.entries),
        }

    def by_document(self) -> dict[str, list[Entry]]:
        """The entries, under the pages on which they stand."""
        found: dict[str, list[Entry]] = {}
        for document, entry in self.entries:
            found.setdefault(document, []).append(entry)
        return found


def evidence(root: Path = ROOT, path: Path = REGISTRY) -> list[Evidence]:
    """Count, row by row."""
    labs = Catalogue(root).labs
    entries = list(_entries(root))
    every = phases()
    found = []
    for row in career(path).rows:
        taught = [every[number] for number in row.phases]
        written = tuple(phase for phase in taught if phase.written(root))
        found.append(
            Evidence(
                row=row,
                written=written,
                unwritten=tuple(phase for phase in taught if phase not in written),
                pages=tuple(page for phase in written for page in _pages(phase)),
                labs=tuple(lab for lab in labs if lab.competency == row.number),
                entries=tuple(x for x in entries if x[1].competency == row.number),
            )
        )
    return found


def _pages(phase: Phase) -> list[tuple[str, int]]:
    folder = {"labs": phase.labs_page}
    return [
        (folder.get(name, f"book/{phase.folder}/{name}"), minutes)
        for name, minutes in phase.minutes.items()
        if name not in ENTRY_PAGES
    ]


def _entries(root: Path) -> list[tuple[str, Entry]]:
    found = []
    for page in sorted(root.glob("book/**/*.md")):
        document = page.relative_to(root).with_suffix("").as_posix()
        if "/_" in document or "/model/" in document:
            continue
        text = page.read_text(encoding="utf-8")
        if "{question}" in text or "{exercise}" in text:
            found += [(document, entry) for entry in read_text(text)]
    return found
