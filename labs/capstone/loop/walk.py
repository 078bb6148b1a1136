r"""How good was the way to the cause?

A tree is walked check by check: choose one, see what it shows, choose the next, and name the cause
when it is known. The good way is that of the tree, from its root. What is looked at instead of the
next check of the way is a **detour**:

- something that tempts and decides nothing;
- a check whose turn had not come, because a cheaper or a more telling one was open;
- a check of a branch that is not this case's;
- anything more, once the cause is certain.

A detour is *dear* if it costs more than the check that was due (or, when none was, more than a
look). Looking at the same thing twice is none.

| points | for |
|---|---|
| 2 | the right cause, every check on the way to it seen, one cheap detour at most |
| 1 | the right cause with more detours than that, with a dear one, or by guessing |
| 0 | another cause, or none |

The points are the most that the layer *mechanism* can have: {py:mod}`capstone.loop.grading`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capstone.loop.plain import plain
from capstone.loop.tree import COSTS, Tempting, Tree

#: How many cheap detours a walk may have at full points.
FORGIVEN = 1


@dataclass(frozen=True)
class Walked:
    r"""What somebody did: the ids looked at, in order, and the cause that was named."""

    looks: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class Detour:
    r"""One look that was not due: why it was none, and whether it cost more than what was."""

    id: str
    why: str
    dear: bool


@dataclass(frozen=True)
class Verdict:
    r"""What a walk is worth; `shown` is whether every check of the way was seen."""

    right: bool
    shown: bool
    detours: tuple[Detour, ...]

    @property
    def points(self) -> int:
        r"""0, 1 or 2, as the table has it."""
        if not self.right:
            return 0
        dear = any(detour.dear for detour in self.detours)
        return 1 if dear or not self.shown or len(self.detours) > FORGIVEN else 2

    def sentences(self) -> list[str]:
        r"""What is said of it: the end first, then each detour with its reason."""
        end = "the right cause" if self.right else "not the cause"
        if self.right and not self.shown:
            end += ", guessed: a check on the way to it was not made"
        many = f"{len(self.detours)} detour{'s' * (len(self.detours) != 1)}"
        least = f": mechanism at most {self.points}" if self.points < 2 else ""
        found = [f"walk: {end}, {many}{least}"]
        for detour in self.detours:
            found.append(f"detour{' (dear)' * detour.dear}: {detour.why}")
        return found


def judge(tree: Tree, walked: Walked) -> Verdict:
    r"""Compare a walk with the way of the tree."""
    way = [check for check, _ in tree.path]
    seen: set[str] = set()
    detours: list[Detour] = []
    for name in walked.looks:
        if name in seen:
            continue
        seen.add(name)
        due = next((check for check in way if check.id not in seen - {name}), None)
        if due is None or due.id != name:
            detours.append(_detour(tree, name, due.id if due else ""))
    shown = all(check.id in seen for check in way)
    return Verdict(walked.cause == tree.case, shown, tuple(detours))


def _detour(tree: Tree, name: str, due: str) -> Detour:
    one, instead = tree.get(name), tree.get(due)
    price = instead.cost if instead else min(COSTS)
    if one is None:
        return Detour(name, f"{name} is not in the catalog any more", True)
    asked = plain(one.ask)
    if isinstance(one, Tempting):
        why = one.why
    elif instead is None:
        why = "the cause was certain already"
    elif name in {check.id for check, _ in tree.path}:
        why = f"first came: {instead.ask}"
    else:
        why = f"that is another case's question; due was: {instead.ask}"
    return Detour(name, f"{asked} {plain(why)}", one.cost > price)


def good(tree: Tree) -> Walked:
    r"""The walk that is the tree's own."""
    looks: Sequence[str] = [check.id for check, _ in tree.path]
    return Walked(tuple(looks), tree.case)
