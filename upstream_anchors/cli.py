r"""The shell's way in: `python -m upstream_anchors COMMAND`.

| command | what it does |
|---|---|
| `fetch` | get the pinned tree, verify it, unpack it; nothing if it is there |
| `show NAME` | path, lines, permalink and code of a target or of a bare name |
| `check` | every target of the book resolves, and the lock says where |
| `lock` | make the lock again, and print what changed |
| `pin VERSION` | move the pin on a branch, and list what a person has to decide |
| `map PART` | file, role, callers of a part of the tree, with blanks to fill; `map check` |
| `drift VERSION` | what became of every anchor in another release, or in `all` later ones |

Exit status: 0 done, 1 an anchor is wrong, 2 the command line is wrong, 3 there is no tree.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from upstream_anchors.drift.arguments import add_arguments as add_drift_arguments
from upstream_anchors.errors import AnchorError, TreeError, UnreachableError
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import TREE_VARIABLE


def main(arguments: Sequence[str] | None = None) -> int:
    r"""Run one command and return its exit status; errors go to stderr as one message."""
    options = _parser().parse_args(arguments)
    # Targets and paths are full of brackets and numbers that rich would read as markup.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    try:
        return options.run(options, console)
    except AnchorError as error:
        print(error, file=sys.stderr)
        return 1
    except TreeError as error:
        print(error, file=sys.stderr)
        return 3


def _parser() -> argparse.ArgumentParser:
    pin = the_pin()
    parser = argparse.ArgumentParser(
        prog="python -m upstream_anchors",
        description=f"Anchors into {pin}.",
        epilog=f"{TREE_VARIABLE} may name a git checkout or an unpacked sdist of {pin.tag}.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--tree", type=Path, help="use this tree of the pinned version")
        sub.set_defaults(run=run)
        return sub

    fetch = command("fetch", _fetch, "get the pinned tree, verify it and unpack it")
    fetch.add_argument(
        "--optional", action="store_true", help="without a network, say so and go on"
    )
    show = command("show", _show, "print path, lines, permalink and code of an anchor")
    show.add_argument(
        "name", help="a target such as vllm/v1/engine/core.py#EngineCore.step, or a bare name"
    )
    command("check", _check, "check that every anchor of the book resolves and is in the lock")
    command("lock", _lock, "make the lock again and print what changed")
    from upstream_anchors.codebase_map.command import add_map_arguments, run_map

    add_map_arguments(command("map", run_map, "map a part of the tree, or check such a map"))
    from upstream_anchors.repin.arguments import add_pin_arguments

    add_pin_arguments(command("pin", _pin, "move the pin on a branch; list what is to be decided"))
    drift = command("drift", _drift, "what became of every anchor in another release")
    add_drift_arguments(drift)
    return parser


def _fetch(options: argparse.Namespace, console: Console) -> int:
    from upstream_anchors.fetch import provide_tree

    try:
        tree, done = provide_tree(the_pin(), root=options.tree, console=console)
    except UnreachableError as error:
        if not options.optional:
            raise
        console.print(f"{error}\nGoing on without the tree: links come from the lock.")
        return 0
    console.print(f"{the_pin()} is at {tree.root} ({done}).")
    for path in tree.edited:
        console.print(f"  edited in this checkout: {path}")
    return 0


def _show(options: argparse.Namespace, console: Console) -> int:
    from upstream_anchors.name_index import NameIndex
    from upstream_anchors.resolver import Resolver
    from upstream_anchors.showing import is_bare, print_place
    from upstream_anchors.tree import need_tree

    pin = the_pin()
    tree = need_tree(pin, options.tree)
    resolver = Resolver(tree, pin)
    name: str = options.name.strip()
    if is_bare(name, tree):

        def tracked(paths: list[str]) -> Iterable[str]:
            # On stderr: what is piped on is the code.
            bar = Console(stderr=True)
            return track(paths, description="Indexing names, once", console=bar, transient=True)

        name = NameIndex.cached(tree, pin, tracked).find(name)
    print_place(resolver, resolver.resolve(name), console)
    return 0


def _check(options: argparse.Namespace, console: Console) -> int:
    from upstream_anchors.book_anchors import check_book
    from upstream_anchors.tree import need_tree

    report = check_book(the_pin(), need_tree(the_pin(), options.tree))
    report.print(console)
    return 1 if report.problems else 0


def _lock(options: argparse.Namespace, console: Console) -> int:
    from upstream_anchors.book_anchors import relock_book
    from upstream_anchors.tree import need_tree

    report = relock_book(the_pin(), need_tree(the_pin(), options.tree))
    report.print(console)
    return 1 if report.problems else 0


def _drift(options: argparse.Namespace, console: Console) -> int:
    from upstream_anchors.drift.command import run

    return run(options, console)


def _pin(options: argparse.Namespace, console: Console) -> int:
    from upstream_anchors.repin.command import run_pin

    return run_pin(options, console)
