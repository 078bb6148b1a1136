r"""A debugging tree: checks, what each outcome means, and the one case that it is walked for.

A check costs as much as what has to be done for it: a look at something that is there, a comparison
that somebody makes, an experiment that changes something. Below a check there is none that costs
less, so walking from the root is walking from the cheap to the dear; and each check of the way
divides what is still possible, or it would not be one.

Beside the tree stand checks that tempt: they are done every day, cost what they cost, and tell
nothing about which of the causes it is. Each has what one would see, and why that decides nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

#: What a check costs, in words.
COSTS = {1: "a look", 2: "a comparison", 3: "an experiment"}


@dataclass(frozen=True)
class Branch:
    r"""One outcome of a check: on to another check, or a finding with its remedy.

    `here` marks the finding that the model answer is about: the case that is walked.
    """

    when: str
    go: str = ""
    finding: str = ""
    remedy: str = ""
    here: bool = False


@dataclass(frozen=True)
class Check:
    r"""One question of a debugging tree, and where to look for its answer."""

    id: str
    ask: str
    look: str
    cost: int
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Tempting:
    r"""A check that decides nothing: what it shows, and why that is so."""

    id: str
    ask: str
    look: str
    cost: int
    shows: str
    why: str


@dataclass(frozen=True)
class Cause:
    r"""A finding as it can be named: `check.number`, the number that of the branch."""

    id: str
    finding: str
    remedy: str


@dataclass(frozen=True)
class Tree:
    r"""The checks of one symptom, the first one its root, and those that tempt."""

    checks: tuple[Check, ...]
    tempting: tuple[Tempting, ...]

    @cached_property
    def path(self) -> tuple[tuple[Check, Branch], ...]:
        r"""The checks from the root to the case, each with what is seen."""
        return next(way for way in self._ways(self.checks[0]) if way[-1][1].here)

    @cached_property
    def causes(self) -> tuple[Cause, ...]:
        r"""Every finding of the tree."""
        return tuple(
            Cause(f"{check.id}.{number}", branch.finding, branch.remedy)
            for check in self.checks
            for number, branch in enumerate(check.branches, start=1)
            if branch.finding
        )

    @property
    def every(self) -> tuple[Check | Tempting, ...]:
        r"""All that can be looked at."""
        return (*self.checks, *self.tempting)

    @property
    def case(self) -> str:
        r"""The cause that it is."""
        check, branch = self.path[-1]
        return f"{check.id}.{check.branches.index(branch) + 1}"

    def get(self, name: str) -> Check | Tempting | None:
        r"""What can be looked at under this id, if the catalog has it."""
        return next((one for one in self.every if one.id == name), None)

    def seen(self, name: str) -> str:
        r"""What somebody sees who looks there, in this case."""
        for check, branch in self.path:
            if check.id == name:
                return f"{branch.when[:1].upper()}{branch.when[1:]}."
        one = self.get(name)
        if isinstance(one, Tempting):
            return one.shows
        return "Nothing out of the ordinary."

    def offered(self, seed: int) -> list[str]:
        r"""The ids of all that can be looked at, in an order that says nothing."""
        ids = sorted(one.id for one in self.every)
        random.Random(f"{seed}/looks/{'/'.join(ids)}").shuffle(ids)
        return ids

    def named(self, seed: int) -> list[Cause]:
        r"""The causes, in an order that says nothing."""
        causes = sorted(self.causes, key=lambda cause: cause.id)
        random.Random(f"{seed}/causes/{'/'.join(one.id for one in causes)}").shuffle(causes)
        return causes

    def _ways(self, check: Check) -> Iterator[tuple[tuple[Check, Branch], ...]]:
        for branch in check.branches:
            step = ((check, branch),)
            below = next((one for one in self.checks if one.id == branch.go), None)
            if below is None:
                yield step
            else:
                yield from ((*step, *rest) for rest in self._ways(below))


def drawn(tree: Tree) -> list[str]:
    r"""The tree as indented lines, in Markdown; the case is marked."""
    by_id = {check.id: check for check in tree.checks}
    lines: list[str] = []

    def draw(check: Check, depth: int) -> None:
        indent = "   " * depth
        lines.append(f"{indent}? {check.ask} ({COSTS[check.cost]}: {check.look})")
        for branch in check.branches:
            if branch.go:
                lines.append(f"{indent}├ {branch.when}:")
                draw(by_id[branch.go], depth + 1)
            else:
                mark = " ← this case" if branch.here else ""
                lines.append(f"{indent}├ {branch.when}: {branch.finding} → {branch.remedy}{mark}")

    draw(tree.checks[0], 0)
    return lines
