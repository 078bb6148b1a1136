r"""Where does each file stand in a drawing of imports?

An importer stands above what it imports, so that the eye can go down from what is used by nobody
else to what everybody uses. Only imports that run at load decide the height: they have no cycles,
or Python would not get through them. What remains of a cycle is broken where a walk first meets it,
and drawn upwards.

An import that a longer chain already implies is left out of the drawing and counted: `a` imports
`c` is seen in `a` → `b` → `c`. Long lines are led past the boxes of the rows between by
places that hold nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

#: More boxes than this in a row and the row is cut in two.
WIDEST = 5
_SWEEPS = 12


@dataclass
class Route:
    r"""One import as it is drawn: the two files, and the empty places between them."""

    importer: str
    imported: str
    when: str
    via: list[str] = field(default_factory=list)


@dataclass
class Layers:
    r"""`rows` from the top, each with its files and empty places from left to right.

    `implied` counts the imports that the drawing leaves out.
    """

    rows: list[list[str]]
    routes: list[Route]
    implied: int

    @property
    def height(self) -> dict[str, int]:
        r"""The row of each file and each empty place."""
        return {name: row for row, names in enumerate(self.rows) for name in names}


def arrange(files: Sequence[str], imports: Mapping[tuple[str, str], str]) -> Layers:
    r"""Rows and lines for these files; `imports` maps (importer, imported) to when it runs."""
    loads = {edge for edge, when in imports.items() if when == "load"}
    forward = _without_cycles(files, loads)
    rank = _ranks(files, forward)
    drawn = {edge for edge in forward if not _implied(edge, forward)}
    later = {
        edge for edge in imports if edge not in forward and not _reaches(edge[0], edge[1], forward)
    }
    order = sorted(files, key=lambda name: (rank[name], name))
    rows = _rows(order, rank)
    row_of = {name: row for row, names in enumerate(rows) for name in names}
    routes = []
    for importer, imported in sorted(drawn | later):
        route = Route(importer, imported, imports[importer, imported])
        first, last = sorted((row_of[importer], row_of[imported]))
        for row in range(first + 1, last):
            place = f"{importer}>{imported}@{row}"
            rows[row].append(place)
            route.via.append(place)
        if row_of[importer] > row_of[imported]:
            route.via.reverse()
        routes.append(route)
    _untangle(rows, routes)
    return Layers(rows, routes, len(imports) - len(routes))


def _without_cycles(files: Sequence[str], edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    # Depth first; an edge back to a file that is still open would close a cycle.
    below: dict[str, list[str]] = {name: [] for name in files}
    for importer, imported in sorted(edges):
        below[importer].append(imported)
    kept: set[tuple[str, str]] = set()
    state: dict[str, int] = {}

    def walk(name: str) -> None:
        state[name] = 1
        for other in below[name]:
            if state.get(other) != 1:
                kept.add((name, other))
            if other not in state:
                walk(other)
        state[name] = 2

    for name in files:
        if name not in state:
            walk(name)
    return kept


def _ranks(files: Sequence[str], edges: set[tuple[str, str]]) -> dict[str, int]:
    # The longest way up: whoever nobody imports is at the top.
    above: dict[str, list[str]] = {name: [] for name in files}
    for importer, imported in edges:
        above[imported].append(importer)
    rank: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in rank:
            rank[name] = 1 + max((of(other) for other in above[name]), default=-1)
        return rank[name]

    for name in files:
        of(name)
    return rank


def _reaches(start: str, goal: str, edges: set[tuple[str, str]]) -> bool:
    seen, pending = {start}, [start]
    while pending:
        name = pending.pop()
        for importer, imported in edges:
            if importer == name and imported not in seen:
                if imported == goal:
                    return True
                seen.add(imported)
                pending.append(imported)
    return False


def _implied(edge: tuple[str, str], edges: set[tuple[str, str]]) -> bool:
    return _reaches(edge[0], edge[1], edges - {edge})


def _rows(order: Sequence[str], rank: Mapping[str, int]) -> list[list[str]]:
    rows: list[list[str]] = []
    for height in range(max(rank.values(), default=-1) + 1):
        names = [name for name in order if rank[name] == height]
        pieces = -(-len(names) // WIDEST)
        size = -(-len(names) // pieces) if pieces else 0
        rows += [names[at : at + size] for at in range(0, len(names), size)] if names else []
    return rows


def _untangle(rows: list[list[str]], routes: Sequence[Route]) -> None:
    # Sweeps down and up: each place moves to the middle of its neighbours in the row before.
    near: dict[str, set[str]] = {name: set() for row in rows for name in row}
    for route in routes:
        chain = [route.importer, *route.via, route.imported]
        for one, other in pairwise(chain):
            near[one].add(other)
            near[other].add(one)
    best, fewest = [list(row) for row in rows], _crossings(rows, near)
    for sweep in range(_SWEEPS):
        order = range(1, len(rows)) if sweep % 2 == 0 else range(len(rows) - 2, -1, -1)
        for at in order:
            beside = rows[at - 1 if sweep % 2 == 0 else at + 1]
            place = {name: index / max(len(beside) - 1, 1) for index, name in enumerate(beside)}
            own = {name: index / max(len(rows[at]) - 1, 1) for index, name in enumerate(rows[at])}

            def middle(name: str, place: dict = place, own: dict = own) -> float:
                found = [place[other] for other in near[name] if other in place]
                return sum(found) / len(found) if found else own[name]

            rows[at].sort(key=middle)
        count = _crossings(rows, near)
        if count < fewest:
            best, fewest = [list(row) for row in rows], count
    rows[:] = best


def _crossings(rows: Sequence[Sequence[str]], near: Mapping[str, set[str]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {name: index for index, name in enumerate(lower)}
        lines = [
            (at, place[other])
            for at, name in enumerate(upper)
            for other in near[name]
            if other in place
        ]
        total += sum(
            (a - c) * (b - d) < 0 for i, (a, b) in enumerate(lines) for c, d in lines[i + 1 :]
        )
    return total
