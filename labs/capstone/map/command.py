r"""`capstone map`: make the frame, be told what to read next, see what is left, check, print.

Exit status: 0 if there is nothing to complain of, 1 for complaints or a map with blanks left, 2 for
a file that is no map.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from upstream_anchors.codebase_map import (
    CodeGraph,
    FileEntry,
    MapDocument,
    Part,
    choose_part,
    write_map,
)
from upstream_anchors.codebase_map.command import read_graph
from upstream_anchors.errors import AnchorError, TreeError
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree, need_tree

from capstone.errors import CapstoneError
from capstone.map import tour
from capstone.map.pace import Pace, saved_at
from capstone.map.rules import complaints
from capstone.map.sheet import write_sheets
from capstone.records import Journal, record_folder, write_document
from labkit.catalogue import Catalogue

TITLE = "# The tour: what each file is for, in my words"
_MAP = Path("MAP.md")
_FEW = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The command line of `map`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("new", "the frame; over a map, the facts are written anew and your words stay"),
        ("next", "the file to read next, and the clock for it"),
        ("left", "what is left, and how fast you are"),
        ("check", "coverage, stale paths, blanks, one page a folder"),
        ("sheet", "one page a folder: file, role, callers, drawing"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("file", type=Path, nargs="?", default=_MAP, help="the map (MAP.md)")
        if name == "new":
            action.add_argument(
                "--hours", type=float, help=f"how long the tour may take ({tour.HOURS:g})"
            )
            action.add_argument("--all", action="store_true", help="every file of the folders")
            action.add_argument(
                "--part", nargs="+", default=[], metavar="PART", help="more: folders, files"
            )
        if name == "sheet":
            action.add_argument("--out", type=Path, help="the folder for the pages (map-sheets)")


def run(options: argparse.Namespace, console: Console) -> int:
    r"""Do one action; the map is only ever written by `new`, and then by a rename."""
    journal = Journal(record_folder(Catalogue(None).root) / "map.jsonl")
    return act(options, console, journal)


def act(options: argparse.Namespace, console: Console, journal: Journal) -> int:
    r"""Do one action, with a journal of one's own."""
    try:
        tree = need_tree(the_pin())
        graph = read_graph(tree, the_pin())
        if options.action == "new":
            return _new(options, graph, console)
        document = _parse(options.file, _read(options.file))
        part = _part(options.file, document, graph)
    except (AnchorError, TreeError) as error:
        raise CapstoneError(str(error)) from error
    if options.action == "check":
        return _check(options.file, document, part, graph, tree, console)
    if options.action == "sheet":
        return _sheet(options, document, graph, console)
    pace = Pace.read(journal)
    done = pace.settle(document, saved_at(options.file), journal)
    for path in done:
        slow = f", and {tour.MINUTES_A_FILE} are enough" if path in pace.over else ""
        console.print(f"✓ {path}: {pace.minutes[path]:g} min{slow}")
    if options.action == "next":
        return _next(options.file, document, part, pace, journal, console)
    return _left(document, part, graph, pace, console)


def _new(options: argparse.Namespace, graph: CodeGraph, console: Console) -> int:
    if options.hours is not None and options.hours * 60 < tour.MINUTES_A_FILE:
        raise CapstoneError(
            f"--hours {options.hours:g}: a file takes {tour.MINUTES_A_FILE} minutes; give more"
        )
    text, old = None, None
    names: list[str] = []
    if options.file.exists():
        text = _read(options.file)
        old = _parse(options.file, text)
        names += _still_there(graph, old.parts)
    chosen = not options.all and (options.hours is not None or not names)
    if options.all:
        names = [*tour.folders(), *names]
    elif chosen:
        names += tour.stops(graph, options.hours or tour.HOURS)
    part = choose_part(graph, list(dict.fromkeys([*names, *options.part])))
    before = old or MapDocument(part.names, str(the_pin()), title=TITLE)
    write_document(options.file, write_map(part, str(the_pin()), before), expected=text)
    filled = len(_filled(before, part))
    hours = len(part.entries) * tour.MINUTES_A_FILE / 60
    every = len(tour.whole(graph).entries)
    console.print(
        f"{options.file}: {len(part.entries)} files, {filled} with a sentence; "
        f"{hours:.1f} h at {tour.MINUTES_A_FILE} minutes a file"
    )
    if not options.all:
        most = "; those with the most traffic were chosen" if chosen else ""
        console.print(
            f"The folders of the tour have {every} files with statements, "
            f"{every * tour.MINUTES_A_FILE / 60:.1f} h{most}."
        )
    return 0


def _still_there(graph: CodeGraph, names: Iterable[str]) -> list[str]:
    # A file that a newer pin has no longer leaves the header; its sentence stays, at the end.
    found = []
    for name in names:
        try:
            choose_part(graph, [name])
        except AnchorError:
            continue
        found.append(name)
    return found


def _part(file: Path, document: MapDocument, graph: CodeGraph) -> Part:
    names = _still_there(graph, document.parts)
    if not names:
        raise CapstoneError(f"{file}: nothing that it was made for is in the tree any more")
    return choose_part(graph, names)


def _check(
    file: Path,
    document: MapDocument,
    part: Part,
    graph: CodeGraph,
    tree: Tree,
    console: Console,
) -> int:
    found = complaints(document, part, graph, tree, str(the_pin()))
    for one in found:
        console.print(f"{file}:{one.line}: {one}")
    filled = len(_filled(document, part))
    if found:
        console.print(f"{len(found)} to do; {filled} of {len(part.entries)} files have a sentence")
        return 1
    console.print(f"{file}: {filled} files, each with a sentence of its own, a page a folder")
    return 0


def _next(
    file: Path,
    document: MapDocument,
    part: Part,
    pace: Pace,
    journal: Journal,
    console: Console,
) -> int:
    blank = [e for e in tour.in_order(part) if e.path not in _filled(document, part)]
    if not blank:
        console.print(f"No file is left; `capstone map check {file}` has the last word.")
        return 0
    # One that was opened and not written comes first, so that the clock speaks of one file.
    entry = next((one for one in blank if one.path in pace.open), blank[0])
    spent = pace.elapsed(entry.path)
    pace.start(entry.path, journal)
    total = len(part.entries)
    section = document.files.get(entry.path)
    place = f"{file}:{section.line}" if section else f"{file}, after `capstone map new {file}`"
    console.print(
        f"{total - len(blank) + 1} of {total}  {entry.path}  ({entry.file.lines:,} lines)"
    )
    for line in _facts(entry):
        console.print(f"    {line}")
    if spent > tour.MINUTES_A_FILE:
        console.print(
            f"    open for {spent:.0f} min: write down what you know, a question mark if you "
            "must, and go on"
        )
    else:
        left = tour.MINUTES_A_FILE - spent
        console.print(f"    {left:.0f} min from now; the sentence goes to {place}")
    return 1


def _facts(entry: FileEntry) -> list[str]:
    # Classes and functions say more of a file than its constants and aliases do.
    order = {"class": 0, "function": 1}
    ranked = sorted(entry.public, key=lambda one: order.get(one[1], 2))
    names = [name for name, _, _ in ranked]
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    facts = [f"defines {', '.join(names[:_FEW])}{more}" if names else "defines no public name"]
    callers = list(dict.fromkeys(one.path for one in entry.callers))
    if callers:
        more = f" and {len(callers) - _FEW} more files" if len(callers) > _FEW else ""
        facts.append(f"called from {', '.join(callers[:_FEW])}{more}")
    facts.append(f"imported by {len(entry.importers)} files")
    return facts


def _left(document: MapDocument, part: Part, graph: CodeGraph, pace: Pace, console: Console) -> int:
    filled = _filled(document, part)
    rest = tour.beyond(graph, part)
    for folder in tour.folders():
        mine = [e.path for e in part.entries if e.path.startswith(f"{folder}/")]
        done = sum(path in filled for path in mine)
        later = f", {len(rest[folder])} not on this map" if rest[folder] else ""
        console.print(f"{folder:<38} {done:>3} of {len(mine):>3}{later}")
    others = [e.path for e in part.entries if tour.stage_of(e.path) == len(tour.STAGES)]
    if others:
        done = sum(path in filled for path in others)
        console.print(f"{'what you added':<38} {done:>3} of {len(others):>3}")
    blank = len(part.entries) - len(filled)
    console.print(f"{blank} left, {_clock(blank * tour.MINUTES_A_FILE)} at the cap")
    if pace.usual is not None:
        own = _clock(math.ceil(blank * pace.usual))
        slow = len(pace.over)
        console.print(
            f"{len(pace.minutes)} timed: {pace.usual:.1f} min in the median, {slow} over the cap; "
            f"at your pace {own}"
        )
    return 1 if blank else 0


def _clock(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _sheet(
    options: argparse.Namespace, document: MapDocument, graph: CodeGraph, console: Console
) -> int:
    to = options.out or options.file.with_name("map-sheets")
    part = _part(options.file, document, graph)
    pages = write_sheets(document, part, graph, tour.folders(), to)
    for page in pages:
        console.print(str(page))
    if not pages:
        raise CapstoneError(f"{options.file}: no file of it lies in a folder of the tour")
    return 0


def _filled(document: MapDocument, part: Part) -> set[str]:
    return {path for path, s in document.files.items() if s.is_filled and path in part.paths}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CapstoneError(f"{file}: no such file; `capstone map new {file}` makes it") from error
    except UnicodeDecodeError as error:
        raise CapstoneError(f"{file}: not UTF-8 text") from error


def _parse(file: Path, text: str) -> MapDocument:
    try:
        return MapDocument.parse(text)
    except AnchorError as error:
        raise CapstoneError(f"{file}: {error.reason}; it was left as it is") from error
