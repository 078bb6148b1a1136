r"""`python -m capstone.workflow`: what changed files set in motion, or the record of the book."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from upstream_anchors.errors import TreeError
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.workflow.facts import Facts, Reader
from capstone.workflow.triggers import Change


def main(arguments: list[str] | None = None) -> int:
    r"""Print, or write; exit status 2 for a file that is not in the tree."""
    parser = argparse.ArgumentParser(prog="python -m capstone.workflow", description=__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files that a change touches")
    parser.add_argument("--record", action="store_true", help="write what the book draws")
    options = parser.parse_args(arguments)
    try:
        reader = Reader(need_tree(the_pin()))
    except TreeError as error:
        print(error, file=sys.stderr)
        return 2
    if options.record:
        Facts.of(reader).write()
        return 0
    for path in options.paths:
        if not reader.tree.is_file(path):
            print(f"{path}: no such file at the pin", file=sys.stderr)
            return 2
        _show(reader.change(path), path)
    return 0


def _show(change: Change, path: str) -> None:
    print(path)
    if change.everything:
        print(f"  every step: it matches {change.everything} of ci_config.yaml")
    on = Counter(step.runs_on for step in change.steps)
    print(f"  steps of CI: {len(change.steps)}, of which {on['CPU']} on a CPU")
    areas = Counter(step.file.rsplit("/", 1)[1].removesuffix(".yaml") for step in change.steps)
    print(f"  areas: {', '.join(f'{area} {count}' for area, count in areas.most_common())}")
    print(f"  only when somebody asks: {len(change.optional)}")
    print(f"  owners: {', '.join(change.owners) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
