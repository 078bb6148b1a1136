r"""What does the book remember of the tree when the tree is not there?

For each anchor in use: what it is, where it stands, and a hash of its lines. That is enough to
build every link, and enough to notice that a tree is not the one the book was written against. It
holds no line of upstream's text, except for the fragments that writers typed.

One anchor is one line of the file and the lines are sorted, so a diff of the lock reads as a list
of anchors, and two branches that add different ones merge.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from upstream_anchors.errors import AnchorError, TreeError, nearest_names
from upstream_anchors.pin import PACKAGE_DIR, Pin
from upstream_anchors.place import Place
from upstream_anchors.tree import Tree

LOCK_FILE = PACKAGE_DIR / "lock.json"


@dataclass(frozen=True)
class LockedPlace:
    r"""A place and the SHA-256 of its slice when the lock was made."""

    place: Place
    sha256: str

    def as_json(self) -> str:
        r"""The entry on one line."""
        place = self.place
        lines = None if place.start is None else [place.start, place.end]
        entry = {"kind": place.kind, "path": place.path, "symbol": place.symbol, "lines": lines}
        return json.dumps({**entry, "sha256": self.sha256}, ensure_ascii=False)

    @classmethod
    def from_json(cls, target: str, entry: dict) -> LockedPlace:
        r"""Read an entry back."""
        start, end = entry["lines"] or (None, None)
        place = Place(target, entry["kind"], entry["path"], entry["symbol"], start, end)
        return cls(place, entry["sha256"])


@dataclass
class Lock:
    r"""Target → where it was found, for one pin.

    Answers `resolve` as a resolver does, so that a build without a tree needs nothing else.
    """

    pin: Pin
    entries: dict[str, LockedPlace] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.entries))

    def __contains__(self, target: str) -> bool:
        return target in self.entries

    def resolve(self, text: str) -> Place:
        r"""The place that was locked; {py:class}`.AnchorError` for a target that is not."""
        target = " ".join(text.split())
        if target in self.entries:
            return self.entries[target].place
        raise AnchorError(
            f"{target} is not in the lock, and there is no tree to look it up in; run "
            f"`python -m upstream_anchors fetch` and `lock`",
            nearest_names(target, self.entries, 3),
        )

    def add(self, place: Place, tree: Tree) -> None:
        r"""Lock a place at what the tree has there now."""
        self.entries[place.target] = LockedPlace(place, place.digest(tree))

    @classmethod
    def load(cls, pin: Pin, path: Path = LOCK_FILE) -> Lock:
        r"""Read the lock; an absent file is an empty lock.

        A lock of another pin is a {py:class}`.TreeError`: its line numbers are another release's.
        """
        if not path.exists():
            return cls(pin)
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["pin"] != _identity(pin):
            raise TreeError(
                f"{path.name} was made for {data['pin']['project']} {data['pin']['version']}, the "
                f"pin is {pin}; run `python -m upstream_anchors lock`"
            )
        places = {t: LockedPlace.from_json(t, entry) for t, entry in data["anchors"].items()}
        return cls(pin, places)

    def save(self, path: Path = LOCK_FILE) -> None:
        r"""Write the lock, sorted, one anchor a line."""
        anchors = ",\n".join(
            f"{json.dumps(target, ensure_ascii=False)}: {self.entries[target].as_json()}"
            for target in self
        )
        identity = json.dumps(_identity(self.pin))
        text = f'{{\n"pin": {identity},\n"anchors": {{\n{anchors}\n}}\n}}\n'
        path.write_text(text, encoding="utf-8")

    def changes(self, newer: Lock) -> list[str]:
        r"""What became of each anchor between this lock and a newer one, one line each."""
        lines = []
        for target in sorted({*self.entries, *newer.entries}):
            old, new = self.entries.get(target), newer.entries.get(target)
            if old is None and new is not None:
                lines.append(f"+ {target}  ({new.place.where})")
            elif new is None and old is not None:
                lines.append(f"- {target}")
            elif old is not None and new is not None and old != new:
                lines.append(f"~ {target}: {describe_change(old, new)}")
        return lines


def describe_change(old: LockedPlace, new: LockedPlace) -> str:
    r"""How an anchor differs: moved, body changed, or both."""
    parts = []
    if old.place.where != new.place.where:
        parts.append(f"moved from {old.place.where} to {new.place.where}")
    if old.sha256 != new.sha256:
        parts.append("its text changed")
    if old.place.kind != new.place.kind:
        parts.append(f"was a {old.place.kind}, is a {new.place.kind}")
    return "; ".join(parts) or "its symbol is spelled differently"


def make_lock(pin: Pin, tree: Tree, places: Iterable[Place]) -> Lock:
    r"""A lock of these places in this tree."""
    lock = Lock(pin)
    for place in places:
        lock.add(place, tree)
    return lock


def _identity(pin: Pin) -> dict[str, str]:
    return {
        "project": pin.project,
        "version": pin.version,
        "commit": pin.commit,
        "sdist_sha256": pin.sdist_sha256,
    }
