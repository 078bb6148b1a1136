r"""Which files does a map show, and what stands beside each of them?

A part is what somebody wants to read next: a folder, several, a file, a dotted module. Beside each
of its files stands what a reader would look up first: how long it is, what it defines, what it
leans on inside the part, who leans on it, and from where it is called.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from upstream_anchors.codebase_map.graph import CodeGraph, File, Import
from upstream_anchors.codebase_map.imports import MOMENTS
from upstream_anchors.errors import AnchorError


@dataclass(frozen=True)
class Neighbour:
    r"""A file at the other end of an import.

    `when` is the earliest moment at which it happens (load, typing, lazy), `names` are what is
    asked for, `*` or `""` for the module itself.
    """

    path: str
    when: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Caller:
    r"""A definition of another file that calls one of this file, and on which lines."""

    path: str
    caller: str
    callee: str
    lines: tuple[int, ...]


@dataclass(frozen=True)
class FileEntry:
    r"""One file of a part, with all its neighbours, nearest first."""

    file: File
    public: tuple[tuple[str, str, int], ...]
    imports: tuple[Neighbour, ...]
    importers: tuple[Neighbour, ...]
    callers: tuple[Caller, ...]

    @property
    def path(self) -> str:
        r"""The file's path in the tree."""
        return self.file.path

    @property
    def folder(self) -> str:
        r"""The folder it stands in."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True)
class Part:
    r"""The files of one map: `names` as they were asked for, `entries` in the order of paths.

    A file in which no statement stands needs no sentence: those are in `empty`.
    """

    names: tuple[str, ...]
    entries: tuple[FileEntry, ...]
    empty: tuple[str, ...]

    @property
    def paths(self) -> frozenset[str]:
        r"""Every file of the part."""
        return frozenset(entry.path for entry in self.entries) | frozenset(self.empty)

    @property
    def folders(self) -> list[str]:
        r"""The folders of the part that hold a file with something in it."""
        return sorted({entry.folder for entry in self.entries})

    def outside_importers(self, entry: FileEntry) -> int:
        r"""How many files outside the part import a file of it."""
        return sum(one.path not in self.paths for one in entry.importers)


def choose_part(graph: CodeGraph, names: Sequence[str]) -> Part:
    r"""The part that these names stand for: folders, files, dotted modules.

    {py:class}`.AnchorError` for a name that is none of them, with the nearest there are.
    """
    wanted: set[str] = set()
    shown = []
    for name in names:
        path, files = _files_of(graph, name.strip())
        shown.append(path)
        wanted |= files
    paths = sorted(wanted)
    return Part(
        tuple(dict.fromkeys(shown)),
        tuple(_entry(graph, path, wanted) for path in paths if not graph.files[path].is_empty),
        tuple(path for path in paths if graph.files[path].is_empty),
    )


def nearest_paths(path: str, known: Iterable[str], limit: int = 3) -> list[str]:
    r"""The paths that were most likely meant: of the same file name first, then alike."""
    paths = sorted(known)
    name = path.rpartition("/")[2]
    same = [other for other in paths if other.rpartition("/")[2] == name]
    same.sort(key=lambda other: (-_shared(path, other), other))
    close = difflib.get_close_matches(path, paths, n=limit, cutoff=0.7)
    return list(dict.fromkeys([*same[:limit], *close]))[:limit]


def _files_of(graph: CodeGraph, name: str) -> tuple[str, set[str]]:
    path = name.removeprefix("./").rstrip("/")
    if "/" not in path and not path.endswith(".py"):
        path = path.replace(".", "/")
    if path in graph.files:
        return path, {path}
    if f"{path}.py" in graph.files:
        return f"{path}.py", {f"{path}.py"}
    files = {other for other in graph.files if other.startswith(f"{path}/")}
    if files:
        return path, files
    folders = {other.rpartition("/")[0] for other in graph.files}
    near = nearest_paths(path, folders if not path.endswith(".py") else graph.files)
    raise AnchorError(f"{name} is no folder, file or module with Python in it", near)


def _entry(graph: CodeGraph, path: str, part: set[str]) -> FileEntry:
    file = graph.files[path]
    asked = {one.name for found in graph.importers[path].values() for one in found}
    public = tuple(
        item
        for item in file.public
        # A lower-case variable is the file's own business, unless somebody imports it.
        if item[1] != "constant" or not item[0].islower() or item[0] in asked
    )
    inside = [
        _neighbour(other, found)
        for other, found in graph.imported[path].items()
        if other in part and not graph.files[other].is_empty
    ]
    importers = [_neighbour(other, found) for other, found in graph.importers[path].items()]
    importers.sort(key=lambda one: (-_shared(path, one.path), -len(one.names), one.path))
    lines: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for call in graph.callers[path]:
        if call.path != path:
            lines[call.path, call.caller, call.callee].append(call.line)
    callers = [Caller(*key, tuple(sorted(found))) for key, found in lines.items()]
    callers.sort(key=lambda c: (-_shared(path, c.path), -len(c.lines), c.path, c.caller, c.callee))
    return FileEntry(
        file, public, tuple(sorted(inside, key=lambda n: n.path)), tuple(importers), tuple(callers)
    )


def _neighbour(path: str, imports: list[Import]) -> Neighbour:
    when = min((one.when for one in imports), key=MOMENTS.index)
    return Neighbour(path, when, tuple(sorted({one.name for one in imports})))


def _shared(left: str, right: str) -> int:
    # How many folders two paths have in common from the top.
    count = 0
    for one, other in zip(left.split("/")[:-1], right.split("/")[:-1], strict=False):
        if one != other:
            break
        count += 1
    return count
