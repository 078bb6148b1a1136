r"""Which anchors need a person, and for what?

| kind | what happened | what a person does |
|---|---|---|
| `renamed` | has another name, or is in another file | takes the new target, or another |
| `gone` | found nowhere | rewrites the sentence, or takes the claim out |
| `broken` | the place stands, and what was typed does not match it any more | words it anew |
| `changed` | resolves as it is, and its code says something else | reads the pages that use it |
| `reworded` | differs in comments, docstrings or layout alone | nothing, as a rule |

An anchor that is the same, or whose lines only moved, is on no list: the lock has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from upstream_anchors.drift.fate import RELOCATED, Fate
from upstream_anchors.errors import AnchorError
from upstream_anchors.lock import Lock
from upstream_anchors.pin import Pin
from upstream_anchors.repin.suggesting import suggested_target
from upstream_anchors.resolver import Resolver
from upstream_anchors.scanner import Use
from upstream_anchors.tree import Tree

KINDS = ("renamed", "gone", "broken", "changed", "reworded")


@dataclass(frozen=True)
class Decision:
    r"""One anchor that somebody has to look at.

    `suggestion` is a target that resolves in the new tree, `None` where none was found. `uses` are
    the places in the sources that spell the old target, each file and line once.
    """

    kind: str
    fate: Fate
    suggestion: str | None
    uses: tuple[Use, ...]
    reason: str = ""

    @property
    def target(self) -> str:
        r"""The anchor as the book spells it today."""
        return self.fate.target


@dataclass(frozen=True)
class Move:
    r"""The outcome: the lock of the new pin, and what is left to decide, by kind.

    Every anchor of the old lock is either in the new lock or has a decision; one that still
    resolves and says something else is both.
    """

    lock: Lock
    decisions: tuple[Decision, ...]

    def of_kind(self, kind: str) -> list[Decision]:
        r"""The decisions of one kind, by target."""
        return [decision for decision in self.decisions if decision.kind == kind]


def move(fates: Iterable[Fate], uses: Mapping[str, list[Use]], pin: Pin, tree: Tree) -> Move:
    r"""Resolve every anchor in the new tree, and sort out those that a person must see.

    `fates` are the classes of all anchors of the old lock, `pin` and `tree` the new ones. Nothing
    is written.
    """
    resolver = Resolver(tree, pin)
    lock = Lock(pin)
    decisions = []
    for fate in sorted(fates, key=lambda one: one.target):
        reason = ""
        try:
            place = resolver.resolve(fate.target)
        except AnchorError as error:
            reason = error.reason.removeprefix(f"{fate.target}: ")
        else:
            lock.add(place, tree)
        kind = _kind(fate, resolves=not reason)
        if kind is None:
            continue
        suggestion = suggested_target(fate, resolver) if reason else None
        where = tuple(sorted(uses.get(fate.target, ())))
        decisions.append(Decision(kind, fate, suggestion, where, reason))
    return Move(lock, tuple(decisions))


def _kind(fate: Fate, *, resolves: bool) -> str | None:
    if resolves:
        # It has an address: all that is left to ask is whether it says the same.
        if fate.outcome in RELOCATED:
            return "changed"
        return fate.outcome if fate.outcome in {"changed", "reworded"} else None
    if fate.outcome in RELOCATED:
        return "renamed"
    return "gone" if fate.outcome == "gone" else "broken"
