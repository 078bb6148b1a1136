r"""What is the path of the class whose name I remember?

At a shell nobody types `vllm/v1/engine/core.py#EngineCore.step`; they type `EngineCore.step`. The
index answers such a bare name: every symbol of the package by name, with the files that define it.
Parsing 1,758 files takes some ten seconds, so it is done once per pin and kept as JSON in the
package's cache. Pages may not use bare names: a name that is unique today need not be at the next
release, and the path is half of what a reader wants to learn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from upstream_anchors.errors import AnchorError, nearest_names
from upstream_anchors.pin import CACHE_DIR, Pin
from upstream_anchors.symbols import SymbolTable
from upstream_anchors.tree import Tree
from upstream_anchors.whole_files import write_whole

# Raise this when SymbolTable learns to see other names, so that old caches are left alone.
_FORMAT = 1

_SHOWN = 12


class NameIndex:
    r"""Symbol name → the files of the package that define it, in path order."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names

    @classmethod
    def build(
        cls, tree: Tree, package: str, track: Callable[[list[str]], Iterable[str]] = iter
    ) -> NameIndex:
        r"""Parse every Python file of a package; `track` may wrap the loop in a progress bar."""
        names: dict[str, list[str]] = {}
        for path in track(tree.python_files(package)):
            try:
                table = SymbolTable(tree.text(path))
            except SyntaxError:
                continue  # a template or a newer grammar: such a file has no names for us
            for name in table:
                names.setdefault(name, []).append(path)
        return cls(names)

    @classmethod
    def cached(
        cls,
        tree: Tree,
        pin: Pin,
        track: Callable[[list[str]], Iterable[str]] = iter,
        cache_dir: Path = CACHE_DIR,
    ) -> NameIndex:
        r"""The index of the pinned package, from the cache if one was kept.

        A git checkout with edited files is indexed anew each time, and not kept.
        """
        file = cache_dir / f"names-{pin.project}-{pin.version}-{pin.commit}-{_FORMAT}.json"
        if tree.edited:
            return cls.build(tree, pin.project, track)
        try:
            return cls(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            pass  # absent, or cut short by a kill: build it
        index = cls.build(tree, pin.project, track)
        write_whole(file, json.dumps(index.names, sort_keys=True))
        return index

    def find(self, name: str) -> str:
        r"""The one target that a bare name stands for.

        In this order: the whole name of a symbol, possibly behind the last parts of its module
        (`core.EngineCore.step`), then the end of a longer name (`step` of one class only).
        {py:class}`.AnchorError` lists the candidates when there are several, and the nearest names
        when there is none.
        """
        hits = self._whole(name) or self._ending(name)
        if len(hits) == 1:
            return hits[0]
        if hits:
            more = f", of which {_SHOWN} are shown" if len(hits) > _SHOWN else ""
            raise AnchorError(f"{name} is {len(hits)} things{more}", hits[:_SHOWN])
        near = nearest_names(name, self.names)
        raise AnchorError(
            f"the package defines no {name}",
            [f"{path}#{other}" for other in near for path in self.names[other][:2]][:8],
        )

    def _whole(self, name: str) -> list[str]:
        parts = name.split(".")
        for skipped in range(len(parts)):
            module = parts[:skipped]
            symbol = ".".join(parts[skipped:])
            hits = [
                f"{path}#{symbol}"
                for path in self.names.get(symbol, [])
                if _module_parts(path)[-skipped:] == module or not module
            ]
            if hits:
                return hits
        return []

    def _ending(self, name: str) -> list[str]:
        tail = f".{name}"
        return [
            f"{path}#{symbol}"
            for symbol, paths in sorted(self.names.items())
            if symbol.endswith(tail)
            for path in paths
        ]


def _module_parts(path: str) -> list[str]:
    return path.removesuffix(".py").removesuffix("/__init__").split("/")
