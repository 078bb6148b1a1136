r"""Which questions does the end of a chapter ask?

Each written phase has one short list, named by id in the `{recall}` directive of its deep dive:
invariants of the engine's registry and questions of the phase's interview page. The cheat sheet and
the page of everything that is due take the same list from there, so it stands in one place. A
phase without a list gets {py:data}`COUNT`: its first invariants, then its first questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from book._ext.invariants import registry
from book.phases import Phase
from book.questions import Entry, blocks, read

COUNT = 5
LEAST, MOST = 4, 6


class RecallError(ValueError):
    """A list that names what does not exist, or that is too long to be answered in passing."""


@dataclass(frozen=True)
class Item:
    """One thing to recall; `source` is an entry of an interview page or an invariant."""

    kind: str
    id: str
    source: Any

    @property
    def key(self) -> str:
        """Under this the browser keeps the reader's marks: it must not change."""
        return f"{self.kind}/{self.id}"


def interview(root: Path, phase: Phase) -> Path:
    """The page on which a phase's questions stand."""
    return root / "book" / phase.folder / "INTERVIEW.md"


def listed(root: Path, phase: Phase) -> list[str]:
    """The ids that the deep dive names; none when it names none."""
    page = root / "book" / phase.folder / "01-deep-dive.md"
    if not page.is_file():
        return []
    for kind, _, body, _ in blocks(page.read_text(encoding="utf-8").splitlines()):
        if kind == "recall":
            options = [line.removeprefix(":ids:") for line in body if line.startswith(":ids:")]
            return " ".join(options).replace(",", " ").split()
    return []


def items(root: Path, package: Path, phase: Phase) -> list[Item]:
    """What a phase asks, in the order of its list."""
    path = interview(root, phase)
    questions: dict[str, Entry] = {e.id: e for e in read(path)} if path.is_file() else {}
    invariants = {i.id: i for i in registry(package).values() if i.phase == phase.number}
    known = {id: Item("invariant", id, entry) for id, entry in invariants.items()}
    known |= {id: Item("question", id, entry) for id, entry in questions.items()}
    wanted = listed(root, phase)
    if not wanted:
        first = list(invariants)[: COUNT // 2]
        wanted = [*first, *list(questions)[: COUNT - len(first)]]
    missing = [id for id in wanted if id not in known]
    if missing:
        raise RecallError(f"phase {phase.number:02d} has no {', '.join(missing)}")
    if len(set(wanted)) < len(wanted) or not LEAST <= len(wanted) <= MOST:
        raise RecallError(f"{len(wanted)} ids: a recall asks {LEAST} to {MOST} different ones")
    return [known[id] for id in wanted]
