r"""`python -m upstream_anchors map`: make a map, make it again, check it.

| call | what it does |
|---|---|
| `map PART…` | the map of a part, as Markdown on standard output |
| `map PART… --out MAP.md` | into a file; over an old map, the reader's sentences stay |
| `map PART… --picture MAP.svg` | the drawing as well |
| `map PART… --json` | everything that is known of the part, as data |
| `map check MAP.md` | coverage, stale paths, lengths; exit status 1 with a line a complaint |
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from upstream_anchors.codebase_map.checking import check_map
from upstream_anchors.codebase_map.document import MapDocument
from upstream_anchors.codebase_map.graph import CodeGraph
from upstream_anchors.codebase_map.page import write_map
from upstream_anchors.codebase_map.part import Part, choose_part
from upstream_anchors.codebase_map.picture import standalone
from upstream_anchors.errors import AnchorError
from upstream_anchors.pin import Pin, the_pin
from upstream_anchors.tree import Tree, need_tree
from upstream_anchors.whole_files import write_whole


def add_map_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The command line of `map`."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="PART",
        help="a folder, a file or a dotted module of the tree; or `check MAP.md`",
    )
    parser.add_argument("--out", type=Path, help="write the map here; your sentences stay")
    parser.add_argument("--picture", type=Path, help="draw the part's imports into this SVG")
    parser.add_argument("--json", action="store_true", help="print everything as data")


def run_map(options: argparse.Namespace, console: Console) -> int:
    r"""Make or check a map; the exit status is 1 when a check finds something."""
    pin = the_pin()
    tree = need_tree(pin, options.tree)
    if options.words[0] == "check":
        return _check(options, tree, pin, console)
    part = choose_part(read_graph(tree, pin), options.words)
    if options.picture:
        write_whole(options.picture, standalone(part))
        console.print(f"{options.picture}: {len(part.entries)} files drawn")
    if options.json:
        console.print(json.dumps(part_as_json(part, pin), indent=1))
    elif options.out:
        old = None
        if options.out.exists():
            old = _read(options.out)
        link = _relative(options.picture, options.out) if options.picture else ""
        write_whole(options.out, write_map(part, str(pin), old, link))
        filled = sum(s.is_filled for p, s in old.files.items() if p in part.paths) if old else 0
        console.print(f"{options.out}: {len(part.entries)} files, {filled} with a sentence")
    elif not options.picture:
        console.print(write_map(part, str(pin)), end="")
    return 0


def read_graph(tree: Tree, pin: Pin) -> CodeGraph:
    r"""The graph of the pinned package, with a progress bar on stderr the first time."""
    console = Console(stderr=True)

    def tracked(paths: list[str], description: str) -> Iterable[str]:
        return track(paths, description=description, console=console, transient=True)

    return CodeGraph.cached(tree, pin, tracked)


def part_as_json(part: Part, pin: Pin) -> dict[str, object]:
    r"""Everything that is known of a part, as plain data; nothing is shortened."""
    return {
        "pin": str(pin),
        "part": list(part.names),
        "files": [asdict(entry) for entry in part.entries],
        "empty": list(part.empty),
    }


def _check(options: argparse.Namespace, tree: Tree, pin: Pin, console: Console) -> int:
    if len(options.words) != 2:
        raise AnchorError("`map check` takes one file: map check MAP.md")
    file = Path(options.words[1])
    document = _read(file)
    part = choose_part(read_graph(tree, pin), document.parts)
    complaints = check_map(document, part, str(pin), tree.files)
    for complaint in complaints:
        console.print(f"{file}:{complaint.line}: {complaint}")
    if not complaints:
        console.print(f"{file}: {len(part.entries)} files, each with a sentence of its own")
    return 1 if complaints else 0


def _read(file: Path) -> MapDocument:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AnchorError(f"{file} is not there") from None
    try:
        return MapDocument.parse(text)
    except AnchorError as error:
        raise AnchorError(f"{file}: {error.reason}; it was left as it is") from None


def _relative(picture: Path, page: Path) -> str:
    return Path(os.path.relpath(picture.resolve(), page.resolve().parent)).as_posix()
