r"""What is in a file: its classes, functions and methods, or the headings of a Markdown file."""

from __future__ import annotations

from dataclasses import dataclass, field

from upstream_anchors.c_symbols import C_SUFFIXES, c_definitions
from upstream_anchors.errors import AnchorError
from upstream_anchors.resolver import Resolver
from upstream_anchors.symbols import markdown_headings

_SHOWN = {"class", "function", "method"}


@dataclass
class Entry:
    r"""A name, its first line, and what stands inside it."""

    name: str
    line: int
    inside: list[Entry] = field(default_factory=list)


def outline_of(resolver: Resolver, path: str) -> list[Entry]:
    r"""The entries of a file in the order of their lines; empty where nothing is known of it."""
    if path.endswith(".md"):
        headings = markdown_headings(resolver.tree.lines(path)).values()
        return [Entry(symbol.name, symbol.start) for symbol in headings]
    if path.endswith(C_SUFFIXES):
        found = c_definitions(resolver.tree.text(path)).values()
        symbols = sorted((s.start, s.name) for same in found for s in same)
        return [Entry(name, line) for line, name in symbols]
    if not path.endswith(".py"):
        return []
    try:
        table = resolver.table(path)
    except AnchorError:
        return []  # no Python that this interpreter reads; the lines are shown all the same
    entries: dict[str, Entry] = {}
    tops: list[Entry] = []
    for symbol in sorted((table[name] for name in table), key=lambda s: (s.start, s.name)):
        if symbol.kind not in _SHOWN:
            continue
        outer, _, name = symbol.name.rpartition(".")
        entry = entries[symbol.name] = Entry(name, symbol.start)
        if not outer:
            tops.append(entry)
        elif outer in entries and table[outer].kind == "class":
            entries[outer].inside.append(entry)
    return tops
