r"""What became of one line?

A line has no name. Its anchor names a symbol, which is followed first, and a fragment, which is
then looked for in what the symbol has become. That fails in two ways, and both still have an
answer: the line was edited, so that the fragment no longer matches, but it stands where it stood,
between the same neighbours; or it went to another definition of its file, word for word, when a
function was taken apart.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from upstream_anchors.drift.search import Found, Lost, Search
from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.symbols import SymbolTable

# How alike a line must be to pass for the same line, edited: where its neighbours were kept, and
# anywhere else in its symbol.
_EDITED_IN_PLACE = 0.6
_EDITED_ANYWHERE = 0.8
_MARGIN = 0.05

# A shorter line (`continue`, `return None`) proves nothing about where it went.
_TELLING = 16


@dataclass(frozen=True)
class LineFound:
    r"""A line of the newer tree, inside which definition, and whether the fragment names it."""

    path: str
    symbol: str | None
    number: int
    score: float | None = None
    holds: bool = True
    note: str = ""


def follow_line(search: Search, place: Place, fragment: str) -> LineFound | Lost:
    r"""Where the one line that an anchor names is in the newer tree."""
    home = search.definition(place.path, place.symbol) if place.symbol else search.file(place.path)
    old_first, old = _slice(search, place, search.old)
    wanted = (place.start or old_first) - old_first
    if isinstance(home, Found):
        where = Place(place.target, "line", home.path, home.symbol, home.start, home.end)
        first, new = _slice(search, where, search.new, given=True)
        found = _within(old, wanted, new, fragment)
        if found is not None:
            offset, in_place, note = found
            holds = in_place and home.holds and home.score is None
            note = note or home.note
            return LineFound(home.path, home.symbol, first + offset, home.score, holds, note)
    elsewhere = _in_another_definition(search, place, old[wanted], home)
    if elsewhere is not None:
        return elsewhere
    if isinstance(home, Found):
        what = "symbol" if place.symbol else "file"
        return Lost(f"its {what} stands" if home.score is None else f"its {what} is {_name(home)}")
    return Lost(home.note)


def _name(found: Found) -> str:
    return f"{found.path}#{found.symbol}" if found.symbol else found.path


def _slice(search: Search, place: Place, resolver, *, given: bool = False) -> tuple[int, list[str]]:
    # Of an old place the lines of its symbol, of a new one the lines that were found.
    lines = resolver.tree.lines(place.path)
    if place.symbol is None:
        return 1, list(lines)
    if given and place.start is not None and place.end is not None:
        start, end = place.start, place.end
    else:
        symbol = resolver.symbol(place.path, place.symbol)
        start, end = symbol.start, symbol.end
    return start, list(lines[start - 1 : end])


def _within(
    old: list[str], wanted: int, new: list[str], fragment: str
) -> tuple[int, bool, str] | None:
    r"""Offset in the new slice, whether the fragment still names it, and a note."""
    hits = [offset for offset, line in enumerate(new) if fragment in line]
    if len(hits) == 1:
        return hits[0], True, ""
    if hits:
        chosen = _aligned(old, wanted, new, hits)
        return chosen, False, f"the fragment is on {len(hits)} lines now"
    counterparts = _counterparts(old, wanted, new)
    best = _most_alike(old[wanted], [(new[at], at) for at in counterparts], _EDITED_IN_PLACE)
    if best is None:
        best = _most_alike(
            old[wanted], [(line, at) for at, line in enumerate(new)], _EDITED_ANYWHERE
        )
    return None if best is None else (best, False, "edited; the fragment no longer matches")


def _blocks(old: list[str], new: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    stripped = [line.strip() for line in old], [line.strip() for line in new]
    return difflib.SequenceMatcher(None, *stripped, autojunk=False).get_opcodes()


def _counterparts(old: list[str], wanted: int, new: list[str]) -> range:
    r"""The new lines that stand between the neighbours which the old line kept."""
    for tag, i1, i2, j1, j2 in _blocks(old, new):
        if i1 <= wanted < i2:
            return range(j1, j2) if tag == "replace" else range(0)
    return range(0)


def _aligned(old: list[str], wanted: int, new: list[str], hits: list[int]) -> int:
    for tag, i1, i2, j1, _ in _blocks(old, new):
        if tag == "equal" and i1 <= wanted < i2 and j1 + wanted - i1 in hits:
            return j1 + wanted - i1
    around = [line.strip() for line in old[max(0, wanted - 3) : wanted + 4]]

    def likeness(hit: int) -> float:
        other = [line.strip() for line in new[max(0, hit - 3) : hit + 4]]
        return difflib.SequenceMatcher(None, around, other, autojunk=False).ratio()

    return max(hits, key=lambda hit: (likeness(hit), -hit))


def _most_alike(line: str, others: list[tuple[str, int]], threshold: float) -> int | None:
    wanted = line.strip()
    scored = sorted(
        (-difflib.SequenceMatcher(None, wanted, other.strip(), autojunk=False).ratio(), at)
        for other, at in others
        if other.strip()
    )
    if not scored or -scored[0][0] < threshold:
        return None
    if len(scored) > 1 and scored[1][0] - scored[0][0] < _MARGIN:
        return None
    return scored[0][1]


def _in_another_definition(
    search: Search, place: Place, line: str, home: Found | Lost
) -> LineFound | None:
    r"""The same line, once in the whole file and in no other definition before."""
    wanted = line.strip()
    if len(wanted) < _TELLING:
        return None
    file = search.file(place.path)
    path = home.path if isinstance(home, Found) else getattr(file, "path", "")
    if not search.new.tree.is_file(path):
        return None
    before = [text.strip() for text in search.old.tree.lines(place.path)].count(wanted)
    hits = [n for n, text in enumerate(search.new.tree.lines(path), 1) if text.strip() == wanted]
    if before != 1 or len(hits) != 1:
        return None
    symbol = enclosing(search.new, path, hits[0])
    if symbol is None and place.symbol is not None:
        return None
    note = "" if symbol is None else f"now in {symbol.rsplit('.', 1)[-1]}"
    return LineFound(path, symbol, hits[0], 1.0, False, note)


def enclosing(resolver, path: str, number: int) -> str | None:
    r"""The innermost function or class of a Python file that has this line."""
    if not path.endswith(".py"):
        return None
    try:
        table: SymbolTable = resolver.table(path)
    except AnchorError:
        return None
    around = [
        table[name]
        for name in table
        if table[name].kind in {"function", "method", "class"}
        and table[name].start <= number <= table[name].end
    ]
    return max(around, key=lambda symbol: (symbol.start, -symbol.end)).name if around else None
