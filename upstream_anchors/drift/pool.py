r"""Which definitions could a lost one have become?

Only those that the newer tree has and the older one has not, by path and name: what was there
before is itself, and no successor of something else. That leaves some thousands instead of a
hundred thousand, and files that are equal in both trees need not be parsed at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache, cached_property

from upstream_anchors.c_symbols import C_SUFFIXES, c_definitions
from upstream_anchors.drift.likeness import Feature, Rarity, features, identifiers
from upstream_anchors.resolver import Resolver
from upstream_anchors.symbols import Symbol, SymbolTable
from upstream_anchors.tree import Tree

# What may become what: a method may become a function, never a class.
GROUPS = {
    "function": "callable",
    "method": "callable",
    "class": "class",
    "attribute": "value",
    "constant": "value",
}


@dataclass(frozen=True, eq=False)
class Definition:
    r"""One definition with its text, as something to compare."""

    path: str
    name: str
    kind: str
    start: int
    end: int
    text: str

    @classmethod
    def of(cls, tree: Tree, path: str, symbol: Symbol) -> Definition:
        r"""The definition that a symbol of a file stands for."""
        text = "\n".join(tree.lines(path)[symbol.start - 1 : symbol.end])
        return cls(path, symbol.name, symbol.kind, symbol.start, symbol.end, text)

    @property
    def group(self) -> str:
        r"""Callables, classes and values are never compared with each other."""
        return GROUPS.get(self.kind, self.kind)

    @property
    def tail(self) -> str:
        r"""The last part of the name."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def owner(self) -> str:
        r"""The name of what it is defined in; empty for the module."""
        return self.name.rpartition(".")[0]

    @cached_property
    def words(self) -> frozenset[str]:
        r"""The identifiers in its text."""
        return identifiers(self.text)

    @cached_property
    def features(self) -> Counter[Feature]:
        r"""What its body is compared by."""
        return features(self.text, self.name, self.path.endswith(".py"))


class Pool:
    r"""The definitions that only the newer tree has, by group, last name and file."""

    def __init__(self, definitions: list[Definition]) -> None:
        self.groups: dict[str, list[Definition]] = defaultdict(list)
        self.named: dict[tuple[str, str], list[Definition]] = defaultdict(list)
        self.within: dict[tuple[str, str], list[Definition]] = defaultdict(list)
        for it in definitions:
            self.groups[it.group].append(it)
            self.named[it.group, it.tail].append(it)
            self.within[it.group, it.path].append(it)
        self.rarity = Rarity(it.words for it in definitions)

    @classmethod
    def build(cls, old: Resolver, new: Resolver, package: str) -> Pool:
        r"""Parse what differs between the two trees: the package's Python, and C below `csrc/`."""
        found: list[Definition] = []
        for path in sorted(new.tree.files):
            if not _is_code(path, package) or _unchanged(old.tree, new.tree, path):
                continue
            known = _names(old, path)
            for symbol in _symbols(path.endswith(C_SUFFIXES), new.tree.text(path)):
                if symbol.kind in GROUPS and symbol.name not in known:
                    found.append(Definition.of(new.tree, path, symbol))
        return cls(found)


def _is_code(path: str, package: str) -> bool:
    if path.startswith(f"{package}/"):
        return path.endswith(".py")
    return path.startswith("csrc/") and path.endswith(C_SUFFIXES)


def _unchanged(old: Tree, new: Tree, path: str) -> bool:
    # Bytes first: most files are read only to find that nothing is new in them.
    return old.is_file(path) and (old.root / path).read_bytes() == (new.root / path).read_bytes()


def _names(resolver: Resolver, path: str) -> frozenset[str]:
    if not resolver.tree.is_file(path):
        return frozenset()
    return _names_in(path.endswith(C_SUFFIXES), resolver.tree.text(path))


@cache
def _names_in(is_c: bool, source: str) -> frozenset[str]:
    # One process holds the same pinned tree against several releases.
    return frozenset(symbol.name for symbol in _symbols(is_c, source))


def _symbols(is_c: bool, source: str) -> list[Symbol]:
    # Not by the resolver, which would keep the syntax trees of the whole package.
    if is_c:
        found = c_definitions(source)
        return [symbol for name in sorted(found) for symbol in found[name]]
    try:
        table = SymbolTable(source)
    except SyntaxError:
        return []  # a template, or a grammar newer than this interpreter
    return [table[name] for name in sorted(table)]
