r"""`capstone`: the commands of the last phase.

A command is a module with `add_arguments(parser)` and `run(options, console) -> int`, listed in
{py:data}`COMMANDS` and imported when it is called for.

Exit status: 0 nothing to complain of, 1 complaints, 2 input that cannot be used, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rich.console import Console

from capstone.errors import CapstoneError

#: Command → its module, and what it is for in one line.
COMMANDS: dict[str, tuple[str, str]] = {
    "loop": ("capstone.loop.command", "a mock staff interview: four timed sessions, graded"),
    "map": ("capstone.map.command", "the tour of the code: one sentence a file, timed and checked"),
    "plan": ("capstone.plan.command", "draft and check plan, comment and description of a change"),
    "triage": ("capstone.triage.command", "send issues through five checks, cheapest first"),
    "rehearse": (
        "capstone.rehearsal.command",
        "a real defect of the pinned vLLM, from the report to the pull request",
    ),
}


def build_parser() -> argparse.ArgumentParser:
    r"""The parser with every command; help costs no import but that of the command named."""
    parser = argparse.ArgumentParser(prog="capstone", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        commands.add_parser(name, help=text, description=text, add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    r"""Run one command and return its exit status; what cannot be used is said on stderr."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    if not given or given[0] not in COMMANDS:
        build_parser().parse_args(given)  # help, or an error that lists the commands
        return 2
    module_name, text = COMMANDS[given[0]]
    module = import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"capstone {given[0]}", description=text)
    module.add_arguments(parser)
    options = parser.parse_args(given[1:])
    console = Console(markup=False, highlight=False, soft_wrap=True)
    try:
        return module.run(options, console)
    except CapstoneError as error:
        print(f"capstone {given[0]}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\ncapstone {given[0]}: stopped; what was written down is kept", file=sys.stderr)
        return 130
