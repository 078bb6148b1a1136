r"""All that the loop can ask, read from the book and from `bank/`.

Rapid-fire questions are those of the interview pages of phases 0 to 3. The deep dive takes those of
phases 4 to 8: from `bank/phase-NN.md`, a Markdown file of `{question}` entries as
{py:mod}`book.questions` reads them, for as long as the phase is not written; its file moves then to
the phase's folder, as its interview page, and is read there.
Which values of an arithmetic layer a machine looks for: {py:mod}`capstone.loop.checks`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from book.phases import Phase, phases
from book.questions import Entry, EntryError
from book.questions import read as read_entries

from capstone.errors import CapstoneError
from capstone.loop import scenarios, symptoms
from capstone.loop.checks import demand
from capstone.loop.item import SESSIONS, Item

FOLDER = Path(__file__).parent / "bank"
RAPID_FIRE = range(4)
DEEP_DIVE = range(4, 9)


@dataclass(frozen=True)
class Bank:
    r"""Everything that can be asked; ids are unique over all sessions."""

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        seen: dict[str, Item] = {}
        for item in self.items:
            if item.id in seen:
                raise CapstoneError(
                    f"{item.id} is asked twice: in {seen[item.id].source} and in {item.source}"
                )
            seen[item.id] = item

    def of(self, session: str) -> list[Item]:
        r"""The items of one session, in the order of the files."""
        return [item for item in self.items if item.session == session]

    def get(self, name: str) -> Item | None:
        r"""The item with this id, if the bank still has it."""
        return next((item for item in self.items if item.id == name), None)

    def digest(self) -> str:
        r"""Changes when anything that is asked or demanded does."""
        data = json.dumps([asdict(item) for item in self.items], default=str, sort_keys=True)
        return hashlib.sha256(data.encode()).hexdigest()[:12]


def load(root: Path, folder: Path = FOLDER) -> Bank:
    r"""The whole bank of the repository at `root`; complaints name file and entry."""
    items: list[Item] = []
    for phase in phases():
        if phase.number in RAPID_FIRE:
            items += questions(_page(root, phase), "rapid-fire", root)
        elif phase.number in DEEP_DIVE:
            page = _page(root, phase)
            own = folder / f"phase-{phase.number:02d}.md"
            moved = page.is_file() and not own.is_file()
            items += questions(page if moved else own, "deep-dive", root)
    items += scenarios.read(folder / "scenarios.toml")
    items += symptoms.read(folder / "symptoms.toml")
    bank = Bank(tuple(items))
    for session in SESSIONS:
        if not bank.of(session):
            raise CapstoneError(f"{folder}: nothing to ask in the session {SESSIONS[session]}")
    return bank


def _page(root: Path, phase: Phase) -> Path:
    return root / "book" / phase.folder / "INTERVIEW.md"


def questions(path: Path, session: str, root: Path) -> list[Item]:
    r"""The questions of one Markdown file."""
    try:
        found: Sequence[Entry] = [e for e in read_entries(path) if e.kind == "question"]
    except FileNotFoundError as error:
        raise CapstoneError(f"{path}: no such file") from error
    except (EntryError, UnicodeDecodeError) as error:
        raise CapstoneError(f"{path}: {error}") from error
    source = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return [_item(entry, session, source) for entry in found]


def _item(entry: Entry, session: str, source: str) -> Item:
    layers = {name: part.markdown for name, part in entry.parts.items()}
    try:
        wanted = demand(layers["arithmetic"])
    except CapstoneError as error:
        raise CapstoneError(f"{source}: {entry.id}: {error}") from error
    return Item(
        id=entry.id,
        session=session,
        title=entry.id,
        prompt=entry.prompt.markdown,
        minutes=entry.minutes,
        rows=(entry.competency,),
        layers=layers,
        demand=wanted,
        source=source,
    )
