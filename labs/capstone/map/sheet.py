r"""One page a folder: file, role, callers, and the drawing of who imports whom.

The map is the place to write in. The sheet is what it was written for: it is made from the map,
holds no word that the map has not, and is thrown away and made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from upstream_anchors.codebase_map import (
    CodeGraph,
    FileEntry,
    MapDocument,
    Part,
    choose_part,
    standalone,
)

from capstone.map.tour import traffic
from capstone.records import write_document

_FEW = 3


def write_sheets(
    document: MapDocument, part: Part, graph: CodeGraph, groups: list[str], to: Path
) -> list[Path]:
    r"""Write a Markdown page and an SVG for each folder of `groups`; returns the pages."""
    written = []
    for folder in groups:
        paths = [entry.path for entry in part.entries if entry.path.startswith(f"{folder}/")]
        if not paths:
            continue
        name = folder.replace("/", "-")
        write_document(to / f"{name}.svg", standalone(choose_part(graph, paths)))
        entries = sorted(
            (entry for entry in part.entries if entry.path in paths),
            key=lambda one: (-traffic(one), one.path),
        )
        page = to / f"{name}.md"
        write_document(page, "\n".join(_page(folder, name, entries, document)) + "\n")
        written.append(page)
    return written


def _page(folder: str, name: str, entries: list[FileEntry], document: MapDocument) -> Iterator[str]:
    yield from (f"# `{folder}/`", "", f"![Who imports whom]({name}.svg)", "")
    yield from ("| file | role | called from |", "|---|---|---|")
    for entry in entries:
        section = document.files.get(entry.path)
        filled = section is not None and section.is_filled
        role = (section.sentence if section and filled else "") or "*no sentence yet*"
        short = entry.path.removeprefix(f"{folder}/")
        yield f"| `{short}` | {role.replace('|', chr(92) + '|')} | {_callers(entry)} |"


def _callers(entry: FileEntry) -> str:
    files = list(dict.fromkeys(one.path for one in entry.callers))
    few = ", ".join(f"`{path}`" for path in files[:_FEW])
    more = f" and {len(files) - _FEW} more" if len(files) > _FEW else ""
    return few + more or "nobody that could be followed"
