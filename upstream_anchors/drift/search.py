r"""Where did a definition go, and where a file?

From the outside in. A method is looked for after its class, since a class that moved takes its
methods along; a class after its file. So a whole file that changed its folder is found once, and
everything in it follows. Only what its owner did not take along is searched for by likeness.

**Place**, the third part of the score, is 1 for the place that the evidence points to and less the
further away a candidate stands:

| the candidate stands | place |
|---|---|
| where the owner, or the file, went | 1 |
| where the old module now imports this name from | 1 |
| in a base of where the owner went | 0.9 |
| elsewhere in the same file | 0.7 |
| elsewhere | half of how alike the two paths are |

A file is looked for among the files that only the newer tree has: by the lines that both share, the
name, and the folder. Two halves of a file that was split are each about half alike, so neither is
taken for it, and its definitions are found one by one.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from upstream_anchors.c_symbols import C_SUFFIXES, c_definitions
from upstream_anchors.drift.likeness import (
    BODY,
    MARGIN,
    NAME,
    PLACE,
    SMALL,
    THRESHOLD,
    name_likeness,
    overlap,
)
from upstream_anchors.drift.pool import GROUPS, Definition, Pool
from upstream_anchors.errors import AnchorError
from upstream_anchors.resolver import Resolver
from upstream_anchors.symbols import Symbol

_SHORTLIST = 25
_FILE_THRESHOLD = 0.55


@dataclass(frozen=True)
class Found:
    r"""A place in the newer tree; `score` is `None` when path and name still stand."""

    path: str
    symbol: str | None = None
    start: int | None = None
    end: int | None = None
    score: float | None = None
    holds: bool = True
    note: str = ""


@dataclass(frozen=True)
class Lost:
    r"""Nowhere, and what there is to say about it."""

    note: str = ""


class Search:
    r"""Two trees, and where each definition of the older one is in the newer.

    Answers are kept. `package` is the folder whose Python files are searched.
    """

    def __init__(self, old: Resolver, new: Resolver, package: str) -> None:
        self.old = old
        self.new = new
        self.package = package
        self._symbols: dict[tuple[str, str], Found | Lost] = {}
        self._files: dict[str, Found | Lost] = {}
        self._sought: set[tuple[str, str]] = set()

    @cached_property
    def pool(self) -> Pool:
        r"""The candidates, collected when the first definition is missing."""
        return Pool.build(self.old, self.new, self.package)

    def file(self, path: str) -> Found | Lost:
        r"""Where a file is."""
        if path not in self._files:
            in_place = self.new.tree.is_file(path)
            self._files[path] = Found(path) if in_place else self._moved_file(path)
        return self._files[path]

    def definition(self, path: str, name: str) -> Found | Lost:
        r"""Where a definition, or a section of a text, is."""
        key = (path, name)
        if key not in self._symbols:
            self._sought.add(key)
            self._symbols[key] = self._in_place(path, name) or self._elsewhere(path, name)
            self._sought.discard(key)
        return self._symbols[key]

    # Where it was.

    def _in_place(self, path: str, name: str) -> Found | None:
        if not self.new.tree.is_file(path):
            return None
        if path.endswith(C_SUFFIXES):
            return self._c_in_place(path, name)
        try:
            here = self.new.symbol(path, name)
        except AnchorError:
            return None
        old = self.old.symbol(path, name)
        if GROUPS.get(here.kind, here.kind) != GROUPS.get(old.kind, old.kind):
            return None  # only an alias was left behind
        return Found(path, name, here.start, here.end)

    def _c_in_place(self, path: str, name: str) -> Found | None:
        found = c_definitions(self.new.tree.text(path)).get(name, [])
        if not found:
            return None
        old = Definition.of(self.old.tree, path, self.old.symbol(path, name))
        best = max(found, key=lambda it: (self._body(old, self._defined(path, it)), -it.start))
        note = "" if len(found) == 1 else f"one of {len(found)} definitions of that name"
        return Found(path, name, best.start, best.end, holds=len(found) == 1, note=note)

    def _defined(self, path: str, symbol: Symbol) -> Definition:
        return Definition.of(self.new.tree, path, symbol)

    def _body(self, old: Definition, new: Definition) -> float:
        return self.pool.rarity.likeness(old.features, new.features)

    # Elsewhere.

    def _elsewhere(self, path: str, name: str) -> Found | Lost:
        if not path.endswith((".py", *C_SUFFIXES)):
            return self._section(path, name)
        old = Definition.of(self.old.tree, path, self.old.symbol(path, name))
        followed = self._with_its_owner(old)
        if isinstance(followed, Found):
            return followed
        scored = sorted(
            ((self._score(old, it), it) for it in self._candidates(old)),
            key=lambda pair: (-pair[0], pair[1].path, pair[1].name, pair[1].start),
        )
        if not scored or scored[0][0] < THRESHOLD:
            return Lost()
        close = [it for score, it in scored if scored[0][0] - score < MARGIN]
        chosen = self._called_instead(old, close) if len(close) > 1 else close
        if len(chosen) != 1:
            names = " and ".join(f"{it.path}#{it.name}" for it in close[:2])
            return Lost(f"torn between {names}")
        winner = chosen[0]
        best = next(score for score, it in scored if it is winner)
        return Found(
            winner.path, winner.name, winner.start, winner.end, round(best, 2), holds=False
        )

    def _called_instead(self, old: Definition, close: list[Definition]) -> list[Definition]:
        r"""Those of several equally good candidates that the callers name in its place."""
        from upstream_anchors.drift.callers import called_instead

        calls = called_instead(self, old)
        most = max(calls[it.tail] for it in close)
        return [it for it in close if most and calls[it.tail] == most]

    def is_being_sought(self, path: str, name: str) -> bool:
        r"""Whether a search for this definition has begun and not ended."""
        return (path, name) in self._sought

    def _with_its_owner(self, old: Definition) -> Found | None:
        r"""The same name, in the class or the file that its own class or file became."""
        if old.owner:
            owner = self.definition(old.path, old.owner)
        else:
            owner = self.file(old.path)
        if isinstance(owner, Lost) or (owner.path, owner.symbol or "") == (old.path, old.owner):
            return None
        name = f"{owner.symbol}.{old.tail}" if owner.symbol else old.tail
        if old.path.endswith(C_SUFFIXES):
            here = self._c_in_place_at(owner.path, old)
        else:
            try:
                here = self._defined(owner.path, self.new.symbol(owner.path, name))
            except AnchorError:
                here = None
        if here is None or here.group != old.group:
            return None
        score = round(BODY * self._body(old, here) + NAME + PLACE, 2)
        return Found(here.path, here.name, here.start, here.end, score, holds=False)

    def _c_in_place_at(self, path: str, old: Definition) -> Definition | None:
        symbols = c_definitions(self.new.tree.text(path)).get(old.name, [])
        found = [self._defined(path, symbol) for symbol in symbols]
        return max(found, key=lambda it: (self._body(old, it), -it.start), default=None)

    def _candidates(self, old: Definition) -> list[Definition]:
        r"""The same last name anywhere; the same file; and the nearest by their identifiers."""
        home = self.file(old.path)
        found = [*self.pool.named[old.group, old.tail], *self.pool.within[old.group, old.path]]
        if isinstance(home, Found) and home.path != old.path:
            found += self.pool.within[old.group, home.path]
        if old.group != "value":
            words = old.words
            likely = [(overlap(words, it.words), it) for it in self.pool.groups[old.group]]
            likely = sorted(
                (pair for pair in likely if pair[0] >= 0.35),
                key=lambda pair: (-pair[0], pair[1].path, pair[1].name),
            )
            found += [it for _, it in likely[:_SHORTLIST]]
        once = {(it.path, it.name, it.start): it for it in found}.values()
        return [it for it in once if not self._is_another_implementation(old, it)]

    def _is_another_implementation(self, old: Definition, new: Definition) -> bool:
        r"""A method of the same name in a class that has nothing to do with the old one.

        When the owner stands and many classes have such a method, each has its own.
        """
        if not (old.owner and new.owner) or old.tail != new.tail:
            return False
        owner = self.definition(old.path, old.owner)
        if isinstance(owner, Lost) or owner.symbol is None or new.path == owner.path:
            return False
        if self._is_base(new, owner):
            return False
        defined = rb"def %s\b" % re.escape(old.tail).encode()
        return any(path != old.path for path in self.old.tree.files_matching(defined, self.package))

    def _score(self, old: Definition, new: Definition) -> float:
        name = name_likeness(old.name, new.name)
        if name < 1 and sum(old.features.values()) < SMALL:
            return 0.0
        if old.group == "value" and name < 1:
            return 0.0
        body = self._body(old, new)
        return BODY * body + NAME * name + PLACE * self._place(old, new)

    def _place(self, old: Definition, new: Definition) -> float:
        if old.owner:
            owner = self.definition(old.path, old.owner)
            if isinstance(owner, Found) and owner.symbol is not None:
                if (new.path, new.owner) == (owner.path, owner.symbol):
                    return 1.0
                if self._is_base(new, owner):
                    return 0.9
        elif (new.path, new.name) == self._trail(old):
            return 1.0
        home = self.file(old.path)
        if isinstance(home, Found) and new.path == home.path:
            return 1.0 if not old.owner and not new.owner else 0.7
        return 0.5 * path_likeness(old.path, new.path)

    def _is_base(self, new: Definition, owner: Found) -> bool:
        r"""Whether the candidate's class is a base of the owner."""
        return new.owner.rsplit(".", 1)[-1] in self._bases(owner.path, owner.symbol or "")

    def _bases(self, path: str, name: str) -> set[str]:
        try:
            node = self.new.symbol(path, name).node
        except AnchorError:
            return set()
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        return {ast.unparse(base).split("[")[0].rsplit(".", 1)[-1] for base in bases}

    def _trail(self, old: Definition) -> tuple[str, str] | None:
        r"""Where the old module, if it is still there, now has this name from."""
        module = old.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        try:
            place = self.new.resolve(f"py:{module}.{old.name}")
        except AnchorError:
            return None
        return (place.path, place.symbol or "")

    # Files and sections.

    @cached_property
    def _new_files(self) -> dict[str, list[str]]:
        by_suffix: dict[str, list[str]] = {}
        for path in sorted(self.new.tree.files - self.old.tree.files):
            by_suffix.setdefault(path.rsplit(".", 1)[-1], []).append(path)
        return by_suffix

    def _moved_file(self, path: str) -> Found | Lost:
        old = _telling_lines(self.old.tree.lines(path))
        scored = []
        for other in self._new_files.get(path.rsplit(".", 1)[-1], []):
            name = name_likeness(_stem(path), _stem(other))
            shared = _shared(old, _telling_lines(self.new.tree.lines(other)))
            if shared >= 0.2:
                score = 0.6 * shared + 0.2 * name + 0.2 * path_likeness(path, other)
                scored.append((score, other))
        scored.sort(key=lambda pair: (-pair[0], pair[1]))
        if not scored or scored[0][0] < _FILE_THRESHOLD:
            return Lost()
        if len(scored) > 1 and scored[0][0] - scored[1][0] < MARGIN:
            return Lost(f"torn between {scored[0][1]} and {scored[1][1]}")
        return Found(scored[0][1], score=round(scored[0][0], 2), holds=False)

    def _section(self, path: str, name: str) -> Found | Lost:
        home = self.file(path)
        if isinstance(home, Lost) or home.path == path:
            return Lost()
        try:
            here = self.new.symbol(home.path, name)
        except AnchorError:
            return Lost()
        return Found(home.path, here.name, here.start, here.end, home.score, holds=False)


def path_likeness(left: str, right: str) -> float:
    r"""How many folders and words of the file's name two paths share."""
    *folders, stem = left.split("/")
    *others, other_stem = right.split("/")
    return (overlap(folders, others) + name_likeness(_stem(stem), _stem(other_stem))) / 2


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _telling_lines(lines: tuple[str, ...]) -> Counter[str]:
    # Brackets, blank lines and the licence at the top are in every file.
    stripped = (line.strip() for line in lines)
    return Counter(line for line in stripped if len(line) > 3 and not line.startswith("# SPDX"))


def _shared(left: Counter[str], right: Counter[str]) -> float:
    total = sum(left.values()) + sum(right.values())
    return 2 * sum((left & right).values()) / total if total else 1.0
