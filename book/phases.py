r"""The phases of the book as they stand: read from `phases.toml` and from what is on disk.

A phase is written when its guide exists. Nothing else says so, and nothing can claim it early.

What leads to what is data as well. `needs` names the phases whose work a phase picks up and goes
on with: without them its labs could not be begun. Only the nearest are named, since what those
need is needed too; so the list of the last phase is what nothing else goes on from. `place` is
where the phase stands on the map of the home page, as row and column, the way down being the way
on. {py:func}`leads_to` turns the arrows round.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = Path(__file__).with_name("phases.toml")

# In this order the arrow keys lead through a phase; {labs} stands for the labs' own pages.
BEFORE_LABS = ("01-deep-dive", "02-mini-build")
AFTER_LABS = ("EXERCISES", "INTERVIEW", "CHEATSHEET")


@dataclass(frozen=True)
class Phase:
    """One phase: its number, names, and what its header card says."""

    number: int
    slug: str
    title: str
    line: str
    level: str = ""
    hardware: str = ""
    tools: tuple[str, ...] = ()
    walk_away: tuple[str, ...] = ()
    minutes: dict[str, int] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    place: tuple[int, int] = (0, 0)

    @property
    def folder(self) -> str:
        """`phase-01-architecture-and-request-lifecycle`, below `book/` and below `labs/`."""
        return f"phase-{self.number:02d}-{self.slug}"

    @property
    def guide(self) -> str:
        """The document that opens the phase."""
        return f"book/{self.folder}/00-guide"

    @property
    def labs_page(self) -> str:
        """The document that opens the phase's labs."""
        return f"labs/{self.folder}/README"

    def written(self, root: Path = ROOT) -> bool:
        """Whether there is a guide to read."""
        return (root / f"{self.guide}.md").is_file()

    def hours(self, lab_minutes: int) -> str:
        """What the header card says of the time: the sum of the pages and of the labs."""
        pages, labs = round(sum(self.minutes.values()) / 60), round(lab_minutes / 60)
        if not pages:
            return f"About {labs} hours of labs" if labs else ""
        return f"About {pages + labs} hours: {pages} of pages and exercises, {labs} of labs"

    def budget(self, document: str) -> int | None:
        """The minutes that a page of this phase is said to take; `labs` is the labs' own page."""
        name = "labs" if document == self.labs_page else document.rsplit("/", 1)[1]
        return self.minutes.get(name) if document.startswith(("book/", self.labs_page)) else None

    def documents(self, known: set[str]) -> list[str]:
        """The phase's pages in reading order, without the guide, as far as they exist."""
        before = [f"book/{self.folder}/{name}" for name in BEFORE_LABS]
        after = [f"book/{self.folder}/{name}" for name in AFTER_LABS]
        wanted = [*before, self.labs_page, *after]
        extra = sorted(d for d in known if d.startswith(f"book/{self.folder}/") and d not in wanted)
        return [d for d in [*wanted, *extra] if d in known and d != self.guide]


def phases() -> list[Phase]:
    """All phases, in order; a key that a phase does not have is refused."""
    return list(_read(REGISTRY, _stamp(REGISTRY))[0])


def declared_minutes(document: str) -> int | None:
    """The minutes that a page is said to take: from its phase, or from the table of the others."""
    if phase := phase_of(document):
        return phase.budget(document)
    return others().get(document)


def others() -> dict[str, int]:
    """Pages that are read through and belong to no phase, with their minutes."""
    return dict(_read(REGISTRY, _stamp(REGISTRY))[1])


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=4)
def _read(path: Path, stamp: tuple[int, int]) -> tuple[tuple[Phase, ...], dict[str, int]]:
    # Every page asks for its phase, several times, so a file that stays as it is is read once.
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    result = []
    for number, entry in enumerate(data["phase"]):
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()
        }
        result.append(Phase(number=number, **values))
    return tuple(result), data.get("minutes", {})


def is_lesson(document: str) -> bool:
    """Whether a page beside the phases is a lesson of its module: its file name has a number."""
    folder, _, name = document.rpartition("/")
    return folder.startswith("book/") and re.match(r"\d\d-", name) is not None


def leads_to(every: list[Phase]) -> dict[str, list[Phase]]:
    """For each phase, by slug, those that name it among their needs."""
    known = {phase.slug for phase in every}
    onward: dict[str, list[Phase]] = {slug: [] for slug in known}
    for phase in every:
        for slug in phase.needs:
            if slug not in known:
                raise ValueError(f"phase {phase.slug} needs {slug!r}, which is no phase")
            onward[slug].append(phase)
    return onward


def phase_of(document: str) -> Phase | None:
    """The phase that a document below `book/phase-NN-*` or `labs/phase-NN-*` belongs to."""
    parts = document.split("/")
    if len(parts) < 3 or not parts[1].startswith("phase-"):
        return None
    return next((p for p in phases() if p.folder == parts[1]), None)
