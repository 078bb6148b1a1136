r"""Files, imports and calls of a package, as one record that is made once.

Reading 1,758 files twice takes a good part of a minute, so the record is kept as JSON in the
package's cache, one per pin. It holds names and line numbers, and no line of upstream's text.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from upstream_anchors.codebase_map.call_graph import Call, read_calls
from upstream_anchors.codebase_map.definitions import ModuleTable, parse, read_definitions
from upstream_anchors.codebase_map.lookup import Lookup
from upstream_anchors.codebase_map.modules import ModuleNames
from upstream_anchors.pin import CACHE_DIR, Pin
from upstream_anchors.tree import Tree
from upstream_anchors.whole_files import write_whole

# Raise this when a reading learns something, so that old caches are left alone.
_FORMAT = 1

Track = Callable[[list[str], str], Iterable[str]]


@dataclass(frozen=True, order=True)
class Import:
    r"""One name of an import statement that leads to a file of the tree.

    `when` is load, typing or lazy, `form` absolute or relative; `what` says whether the module
    itself was asked for, or a name in it, and `name` is that name.
    """

    importer: str
    imported: str
    line: int
    when: str
    form: str
    what: str
    name: str


@dataclass
class File:
    r"""A file: its size, its public names as `(name, kind, line)`, and the tally of its calls."""

    path: str
    lines: int
    is_empty: bool
    public: list[tuple[str, str, int]]
    calls: int = 0
    outside: int = 0
    unresolved: dict[str, int] = field(default_factory=dict)


@dataclass
class CodeGraph:
    r"""The graph of one package at one pin.

    `files` by path, `imports` and `calls` sorted. `skipped` are files that this Python cannot
    parse: templates, or a newer grammar. Nothing is known about them, and a map says so.
    """

    files: dict[str, File]
    imports: list[Import]
    calls: list[Call]
    skipped: list[str] = field(default_factory=list)

    @classmethod
    def build(cls, tree: Tree, package: str, track: Track = lambda paths, _: paths) -> CodeGraph:
        r"""Read every Python file of a package; `track` may wrap a loop in a progress bar."""
        # Millions of small objects without cycles: collecting them costs a third of the time.
        was_on = gc.isenabled()
        gc.disable()
        try:
            return cls._read(tree, package, track)
        finally:
            if was_on:
                gc.enable()

    @classmethod
    def _read(cls, tree: Tree, package: str, track: Track) -> CodeGraph:
        paths = tree.python_files(package)
        tables: dict[str, ModuleTable] = {}
        skipped = []
        for path in track(paths, "Reading definitions"):
            source = _text(tree, path)
            try:
                tables[path] = read_definitions(path, source, parse(source))
            except SyntaxError:
                skipped.append(path)
        lookup = Lookup(tables, ModuleNames(tables))
        files, calls = {}, []
        for path in track(list(tables), "Resolving calls, once"):
            found = read_calls(path, parse(_text(tree, path)), lookup)
            table = tables[path]
            files[path] = File(
                path,
                table.lines,
                table.is_empty,
                table.public,
                len(found.resolved) + found.outside + found.unresolved.total(),
                found.outside,
                dict(sorted(found.unresolved.items())),
            )
            calls += found.resolved
        return cls(files, _imports(tables, lookup), sorted(calls), skipped)

    @classmethod
    def cached(
        cls,
        tree: Tree,
        pin: Pin,
        track: Track = lambda paths, _: paths,
        cache_dir: Path = CACHE_DIR,
    ) -> CodeGraph:
        r"""The graph of the pinned package, from the cache if one was kept.

        A git checkout with edited files is read anew each time, and not kept.
        """
        if tree.edited:
            return cls.build(tree, pin.project, track)
        file = cache_dir / f"graph-{pin.project}-{pin.version}-{pin.commit}-{_FORMAT}.json"
        try:
            return cls.from_json(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # absent, or cut short by a kill: build it
        graph = cls.build(tree, pin.project, track)
        write_whole(file, json.dumps(graph.as_json()))
        return graph

    # ---- as data ------------------------------------------------------------------------------
    def as_json(self) -> dict[str, Any]:
        r"""The record; paths are written once and pointed to."""
        number = {path: place for place, path in enumerate(self.files)}
        return {
            "files": [asdict(file) for file in self.files.values()],
            "imports": [
                [number[i.importer], number[i.imported], *astuple(i)[2:]] for i in self.imports
            ],
            "calls": [
                [number[c.path], c.caller, c.line, number[c.callee_path], c.callee]
                for c in self.calls
            ],
            "skipped": self.skipped,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CodeGraph:
        r"""Read the record back."""
        files = [File(**entry) for entry in data["files"]]
        for file in files:
            file.public = [(name, kind, line) for name, kind, line in file.public]
        paths = [file.path for file in files]
        return cls(
            dict(zip(paths, files, strict=True)),
            [Import(paths[a], paths[b], *rest) for a, b, *rest in data["imports"]],
            [Call(paths[a], s, line, paths[b], t) for a, s, line, b, t in data["calls"]],
            data["skipped"],
        )

    # ---- questions ----------------------------------------------------------------------------
    @cached_property
    def importers(self) -> dict[str, dict[str, list[Import]]]:
        r"""Imported path → importer's path → its imports of it."""
        found: dict[str, dict[str, list[Import]]] = {path: {} for path in self.files}
        for one in self.imports:
            found[one.imported].setdefault(one.importer, []).append(one)
        return found

    @cached_property
    def imported(self) -> dict[str, dict[str, list[Import]]]:
        r"""Importer's path → imported path → its imports of it."""
        found: dict[str, dict[str, list[Import]]] = {path: {} for path in self.files}
        for one in self.imports:
            found[one.importer].setdefault(one.imported, []).append(one)
        return found

    @cached_property
    def callers(self) -> dict[str, list[Call]]:
        r"""Path → the calls of what it defines, its own calls included."""
        found: dict[str, list[Call]] = {path: [] for path in self.files}
        for call in self.calls:
            found[call.callee_path].append(call)
        return found

    def most_imported(self, count: int) -> list[tuple[str, int]]:
        r"""The files that most files import, with how many do; ties in the order of the paths."""
        counts = [(path, len(importers)) for path, importers in self.importers.items()]
        return sorted(counts, key=lambda item: (-item[1], item[0]))[:count]


def _imports(tables: dict[str, ModuleTable], lookup: Lookup) -> list[Import]:
    found = []
    for path, table in tables.items():
        for one in table.imports:
            target = lookup.module_path(path, one)
            if target is None or target == path:
                continue
            whole = one.name is None or (
                one.name != "*"
                and lookup.names.name(target).endswith(f".{one.name}")
                and lookup.names.name(target) != lookup.names.absolute(path, one.level, one.module)
            )
            what = "module" if whole else "name"
            found.append(Import(path, target, one.line, one.when, one.form, what, one.name or ""))
    return sorted(found)


def _text(tree: Tree, path: str) -> str:
    # Not through the tree's own cache: 25 MB of lines would stay.
    return (tree.root / path).read_text(encoding="utf-8", errors="replace")
