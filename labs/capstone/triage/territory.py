r"""The files for which the learner has written a sentence: the map as a set.

A section with the placeholder in it is not knowledge, and a section without a sentence is not
either, so only filled ones count. The format is the one of
{py:class}`upstream_anchors.codebase_map.document.MapDocument`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from upstream_anchors.codebase_map.document import MapDocument
from upstream_anchors.errors import AnchorError
from upstream_anchors.tree import Tree

from capstone.errors import CapstoneError


@dataclass(frozen=True)
class Territory:
    r"""The files that are known, with the line of the map that says so (0: given as a folder)."""

    lines: dict[str, int]
    source: str

    def __contains__(self, path: str) -> bool:
        return path in self.lines

    def where(self, path: str) -> str:
        r"""Where the map says it."""
        return f"{self.source}, line {self.lines[path]}" if self.lines[path] else self.source

    @classmethod
    def of_folders(cls, tree: Tree, parts: Iterable[str]) -> Territory:
        r"""Every file below some folders, as if each had its sentence: for trying the checks."""
        wanted = tuple(parts)
        known = {
            path: 0
            for path in tree.files
            if any(path == part or path.startswith(f"{part}/") for part in wanted)
        }
        return cls(known, "the folders of the profile")


def read_territory(path: Path) -> Territory:
    r"""The territory of a MAP.md; {py:class}`.CapstoneError` for another file, or an empty map."""
    try:
        document = MapDocument.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CapstoneError(
            f"{path}: no such file; make a map with `python -m upstream_anchors map`"
        ) from error
    except (UnicodeDecodeError, AnchorError) as error:
        raise CapstoneError(f"{path}: {error}") from error
    known = {name: s.line for name, s in document.files.items() if s.is_filled}
    if not known:
        count = len(document.files)
        raise CapstoneError(
            f"{path}: none of its {count} files has a sentence yet; a map that says nothing "
            "cannot say what lies within it"
        )
    return Territory(known, path.name)
