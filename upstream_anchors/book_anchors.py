r"""Does the book say what the tree says?

Three sets have to agree: the targets that the sources use, the targets that the tree answers, and
the lock. `check_book` compares all three and changes nothing; `relock_book` makes the third from
the first two. Every disagreement names the files that use the anchor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from upstream_anchors.errors import AnchorError, TreeError
from upstream_anchors.lock import LOCK_FILE, Lock, describe_change, make_lock
from upstream_anchors.pin import PROJECT_ROOT, Pin
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.scanner import Use, scan_book
from upstream_anchors.tree import Tree


@dataclass
class BookReport:
    r"""The outcome of a check or a relock: what is wrong, what changed, and one line of summary."""

    summary: str
    problems: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)

    def print(self, console: Console) -> None:
        r"""Changes first, then problems, then the summary, so that it is the last thing read."""
        for line in [*self.changes, *self.problems]:
            console.print(line)
        console.print(self.summary)


def check_book(
    pin: Pin, tree: Tree, root: Path = PROJECT_ROOT, lock_file: Path = LOCK_FILE
) -> BookReport:
    r"""Resolve every used anchor anew, and hold the lock against the answers.

    A problem is an anchor that does not resolve, one that is used and not locked, one that is
    locked and not used, or one whose lines or text are not what the lock says.
    """
    uses, places, problems = _read_book(pin, tree, root)
    lock = Lock.load(pin, lock_file)
    fresh = make_lock(pin, tree, places)
    for target in fresh:
        if target not in lock:
            problems.append(f"not in the lock: {target}\n{_where(uses[target])}")
        elif lock.entries[target] != fresh.entries[target]:
            change = describe_change(lock.entries[target], fresh.entries[target])
            problems.append(f"differs from the lock: {target}: {change}\n{_where(uses[target])}")
    problems += [f"in the lock, but nothing uses it: {t}" for t in lock if t not in uses]
    for path in sorted({place.path for place in places} & set(tree.edited)):
        problems.append(f"edited in this checkout, so its lines are not the pin's: {path}")
    verdict = "all good" if not problems else _count(len(problems), "problem")
    if problems:
        verdict += "; `python -m upstream_anchors lock` makes the lock anew"
    return BookReport(f"{_summary(uses, pin)}: {verdict}.", problems)


def relock_book(
    pin: Pin, tree: Tree, root: Path = PROJECT_ROOT, lock_file: Path = LOCK_FILE
) -> BookReport:
    r"""Lock what the sources use now, and say what changed.

    An anchor that does not resolve is reported and left out; the others are locked all the same,
    so that one bad name does not hold up a whole book.
    """
    uses, places, problems = _read_book(pin, tree, root)
    try:
        old = Lock.load(pin, lock_file)
    except TreeError:
        old = Lock(pin)  # the pin has moved: everything is new
    new = make_lock(pin, tree, places)
    changes = old.changes(new)
    new.save(lock_file)
    verdict = _count(len(changes), "change") if changes else "nothing changed"
    if problems:
        verdict += f", {_count(len(problems), 'problem')}"
    return BookReport(f"{_summary(uses, pin)}: {verdict}.", problems, changes)


def _read_book(
    pin: Pin, tree: Tree, root: Path
) -> tuple[dict[str, list[Use]], list[Place], list[str]]:
    # Uses by target, the places of those that resolve, and the problems of the rest.
    scanned, problems = scan_book(root, pin)
    uses: dict[str, list[Use]] = {}
    for use in scanned:
        uses.setdefault(use.target, []).append(use)
    resolver = Resolver(tree, pin)
    places = []
    for target, where in uses.items():
        try:
            places.append(resolver.resolve(target))
        except AnchorError as error:
            reason = str(error).removeprefix(f"{target}: ")
            problems.append(f"does not resolve: {target}: {reason}\n{_where(where)}")
    return uses, places, problems


def _where(uses: list[Use]) -> str:
    return "\n".join(f"    used in {use.file}, line {use.line}" for use in uses[:5])


def _summary(uses: dict[str, list[Use]], pin: Pin) -> str:
    files = {use.file for group in uses.values() for use in group}
    return f"{_count(len(uses), 'anchor')} in {_count(len(files), 'file')} into {pin}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
