r"""The records, asked the questions that the page about drift asks.

Nothing here opens a tree: records, the lock and the list of users are all it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from upstream_anchors.drift.fate import RELOCATED, Fate
from upstream_anchors.drift.records import Record, read_records
from upstream_anchors.drift.users import read_users
from upstream_anchors.lock import Lock
from upstream_anchors.pin import the_pin

# Whole files and folders change with every release, and lines belong to definitions.
DEFINITIONS = ("method", "function", "class")


def other_lines(fate: Fate) -> bool:
    r"""Whether a line number copied at the pin would be wrong."""
    return fate.outcome != "same"


def says_otherwise(fate: Fate) -> bool:
    r"""Whether what stands there now says something else, or nothing stands anywhere."""
    return fate.outcome == "gone" or fate.text == "changed"


def needs_a_person(fate: Fate) -> bool:
    r"""Whether the anchor as typed does not resolve."""
    return not fate.holds


QUESTIONS: dict[str, Callable[[Fate], bool]] = {
    "other lines": other_lines,
    "says something else": says_otherwise,
    "does not resolve as typed": needs_a_person,
}


@dataclass(frozen=True)
class Volatile:
    r"""A definition, how many steps from release to release changed it, and how far it has come."""

    target: str
    steps: int
    last: Fate
    lines: int


class Story:
    r"""All records of one lock, and who uses what."""

    def __init__(self, lock: Lock, records: list[Record], users: dict[str, list[str]]) -> None:
        self.lock = lock
        self.records = records
        self.users = users

    @classmethod
    def committed(cls) -> Story:
        r"""The records of the book."""
        lock = Lock.load(the_pin())
        return cls(lock, read_records(lock), read_users())

    @property
    def versions(self) -> list[str]:
        r"""The releases, oldest first."""
        return [record.version for record in self.records]

    @property
    def last(self) -> Record:
        r"""The newest release."""
        return self.records[-1]

    @cached_property
    def sections(self) -> dict[str, list[str]]:
        r"""Section → its anchors that every record covers; phases first."""
        found: dict[str, list[str]] = {}
        for target in sorted(self.covered):
            for section in self.users.get(target, []):
                found.setdefault(section, []).append(target)
        return dict(sorted(found.items(), key=lambda item: (item[0] == "reference", item[0])))

    @cached_property
    def covered(self) -> set[str]:
        r"""The anchors that every record has."""
        return set.intersection(*(set(record.fates) for record in self.records))

    def count(
        self, question: Callable[[Fate], bool], record: Record, targets: Iterable[str] | None = None
    ) -> int:
        r"""How many anchors of a release a question is answered *yes* for."""
        asked = self.covered if targets is None else targets
        return sum(question(record.fates[target]) for target in asked)

    def share(self, question: Callable[[Fate], bool], record: Record, section: str) -> float:
        r"""The same as a share of a section's anchors."""
        targets = self.sections[section]
        return self.count(question, record, targets) / len(targets)

    def definitions(self) -> list[str]:
        r"""The anchors that name a method, a function or a class."""
        kinds = {target: self.lock.entries[target].place.kind for target in self.covered}
        return sorted(
            target
            for target, kind in kinds.items()
            if kind in DEFINITIONS and not target.startswith("py:")
        )

    def lines(self, target: str) -> int:
        r"""How many lines an anchor covers at the pin."""
        place = self.lock.entries[target].place
        return 0 if place.start is None or place.end is None else place.end - place.start + 1

    def stable(self, number: int) -> list[str]:
        r"""The longest definitions that read word for word the same in every release."""
        kept = [
            target
            for target in self.definitions()
            if all(record.fates[target].text == "same" for record in self.records)
        ]
        return sorted(kept, key=lambda target: (-self.lines(target), target))[:number]

    def untouched(self) -> int:
        r"""How many definitions read the same in every release."""
        return len(self.stable(len(self.covered)))

    def volatile(self, number: int) -> list[Volatile]:
        r"""The methods and functions that most steps changed; of those, the ones changed most.

        Classes are left out: a class of seven thousand lines changes with everything in it.
        """
        found = []
        for target in self.definitions():
            if self.lock.entries[target].place.kind == "class":
                continue
            fates = [record.fates[target] for record in self.records]
            sizes = [(0, 0), *((fate.added, fate.removed) for fate in fates)]
            steps = sum(before != after for before, after in pairwise(sizes))
            found.append(Volatile(target, steps, fates[-1], self.lines(target)))

        def rank(it: Volatile) -> tuple[int, int, str]:
            return (-it.steps, -(it.last.added + it.last.removed), it.target)

        return sorted(found, key=rank)[:number]

    def first_change(
        self, target: str, question: Callable[[Fate], bool] = says_otherwise
    ) -> str | None:
        r"""The first release for which a question about an anchor is answered *yes*."""
        for record in self.records:
            if question(record.fates[target]):
                return record.version
        return None

    def relocated(self, record: Record, section: str) -> list[str]:
        r"""A section's anchors that have another path or name in a release."""
        fates = record.fates
        return [t for t in self.sections[section] if fates[t].outcome in RELOCATED]
