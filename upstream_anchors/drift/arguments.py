r"""The options of `drift`, apart from its work: `--help` must not wait for an import."""

from __future__ import annotations

import argparse

from upstream_anchors.drift.fate import OUTCOMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The options of the command."""
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help="releases such as 0.33.0, or `all`"
    )
    parser.add_argument("--diff", action="store_true", help="show a diff of each changed slice")
    parser.add_argument("--anchor", action="append", help="only this anchor; may be repeated")
    parser.add_argument("--only", choices=OUTCOMES, action="append", help="only this class")
    parser.add_argument("--all", action="store_true", help="list also what only moved")
    parser.add_argument("--json", action="store_true", help="print the record instead")
    parser.add_argument("--record", action="store_true", help="write the records of the book")
