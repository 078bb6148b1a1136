r"""The command line of `pin`, apart from what it imports when it runs."""

from __future__ import annotations

import argparse


def add_pin_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The command line of `pin`."""
    parser.add_argument("version", metavar="VERSION", help="the release to move to: 0.23.0")
    parser.add_argument("--dry-run", action="store_true", help="list, and write nothing")
    parser.add_argument(
        "--apply-renames", action="store_true", help="put new targets into the pages, printing each"
    )
