r"""What is on the cards: questions, invariants, and numbers worth knowing by heart.

A note is one thing to know. Its guid is made of its kind and its id and of nothing else, so that a
reader who imports a later edition keeps the history of every card, whatever has been reworded; a
thing that gets another id is another thing. The kinds:

- a question of the interview pages, with its model answer in three layers;
- an invariant of the engine's registry: its name on the front, the statement behind it;
- a quantity that stands on a cheat sheet: what it is on the front, the value behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from book._ext.invariants import registry as invariants_of
from book.flash_cards.markup import html
from book.phases import Phase, phases
from book.quantities import registry as quantities
from book.questions import COMPETENCIES, read

#: The parts of a note's fields, in the order in which Anki keeps them; the id comes first.
FIELDS = {
    "question": ("Id", "Prompt", "Mechanism", "Arithmetic", "Consequence", "Place"),
    "fact": ("Id", "Prompt", "Answer", "Source", "Place"),
}


@dataclass(frozen=True)
class CardNote:
    """One note: `model` names its fields, `phase` its deck."""

    kind: str
    id: str
    model: str
    phase: Phase
    fields: tuple[str, ...]
    tags: tuple[str, ...]

    @property
    def guid(self) -> str:
        """By this Anki knows a note again."""
        return stable_hex(f"note/{self.kind}/{self.id}", 20)


def stable_hex(name: str, digits: int) -> str:
    """A name of ours as hexadecimal digits that never change."""
    return hashlib.sha256(f"inside-the-engine/{name}".encode()).hexdigest()[:digits]


def stable_number(name: str) -> int:
    """A name of ours as an id of a deck or a note type: as large as the times that Anki takes."""
    return (1 << 40) + int(stable_hex(name, 10), 16)


def all_notes(root: Path) -> list[CardNote]:
    """Every note of the written phases, in the order of the book."""
    written = [phase for phase in phases() if phase.written(root)]
    invariants = list(invariants_of((root / "mini_vllm").resolve()).values())
    found: list[CardNote] = []
    for phase in written:
        found += _questions(root, phase)
        for entry in invariants:
            if entry.phase == phase.number:
                found.append(_invariant(phase, entry.id, entry.statement))
        found += _quantities(phase)
    return found


def _tags(kind: str, phase: Phase, *more: str) -> tuple[str, ...]:
    return (f"phase::{phase.number:02d}-{phase.slug}", f"kind::{kind}", *more)


def _place(phase: Phase) -> str:
    return f"Phase {phase.number:02d}: {phase.title}"


def _questions(root: Path, phase: Phase) -> Iterator[CardNote]:
    page = root / "book" / phase.folder / "INTERVIEW.md"
    if not page.is_file():
        return
    for entry in read(page):
        competency = COMPETENCIES[entry.competency]
        layers = (entry.parts[part] for part in ("mechanism", "arithmetic", "consequence"))
        yield CardNote(
            "question",
            entry.id,
            "question",
            phase,
            (
                entry.id,
                html(entry.prompt.markdown),
                *(html(layer.markdown) for layer in layers),
                f"{_place(phase)} · {competency}",
            ),
            _tags(
                "question",
                phase,
                f"competency::{entry.competency}-{competency.lower().replace(' ', '-')}",
                f"tier::{entry.tier}",
            ),
        )


def _invariant(phase: Phase, id: str, statement: str) -> CardNote:
    prompt = f"<p>State the invariant <code>{id}</code>.</p>"
    fields = (id, prompt, html(statement), "", f"{_place(phase)} · invariant")
    return CardNote("invariant", id, "fact", phase, fields, _tags("invariant", phase))


def _quantities(phase: Phase) -> Iterator[CardNote]:
    for entry in quantities.all_quantities(phase.number):
        if entry.phases[0] != phase.number:
            continue  # one card each, in the first phase that lists it
        prompt = f'<p class="ask">How much?</p>{html(entry.description)}'
        value = f'<p class="value">{entry.text()}</p>'
        fields = (entry.name, prompt, value, html(entry.source), f"{_place(phase)} · number")
        yield CardNote("number", entry.name, "fact", phase, fields, _tags("number", phase))
