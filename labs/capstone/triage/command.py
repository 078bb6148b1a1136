r"""`capstone triage`: candidates from files, a verdict, and the survivors by cost.

Exit status: 0 if a candidate survives, 1 if none does, 2 for files that cannot be used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from upstream_anchors.errors import TreeError
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.records import Journal, record_folder
from capstone.triage import report
from capstone.triage.agreement import halves, judge, read_cases
from capstone.triage.answers import Answers, machine, read_answers
from capstone.triage.exports import Pull, commands, read_issue, read_pulls
from capstone.triage.gauntlet import run as run_gauntlet
from capstone.triage.setting import Setting, Upstream
from capstone.triage.territory import read_territory
from labkit.catalogue import Catalogue

#: Lab 01 asks for this many, so that one is compared with something.
CANDIDATES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    r"""The options; each file may also come from `gh` a minute ago or a month ago."""
    parser.add_argument("issues", nargs="*", type=Path, help="exports of `gh issue view`")
    parser.add_argument(
        "--prs",
        action="append",
        type=Path,
        help="an export of `gh pr list`; may be given several times",
    )
    parser.add_argument("--map", type=Path, default=None, help="your MAP.md")
    parser.add_argument("--answers", type=Path, help="answers from a file; nothing is asked")
    parser.add_argument("--today", help="judge as of this day, for an old export: 2026-05-28")
    parser.add_argument("--all", action="store_true", help="show all evidence of every check")
    parser.add_argument("--commands", metavar="N", help="print the `gh` commands for an issue")
    parser.add_argument(
        "--agreement", action="store_true", help="try the checks on the labelled cases"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    r"""Judge the candidates; what was decided is in the journal even if the run is broken off."""
    if options.commands is not None:
        return _commands(options.commands, console)
    if not options.agreement and not options.issues:
        raise CapstoneError(
            "no issue given: name the exports, or see `capstone triage --commands N`"
        )
    try:
        upstream = Upstream(need_tree(the_pin()))
    except TreeError as error:
        raise CapstoneError(str(error)) from error
    if options.agreement:
        tuned, held = halves(read_cases())
        report.show_agreement(judge(tuned, upstream), judge(held, upstream), console)
        return 0
    return _judge(options, upstream, console)


def _commands(number: str, console: Console) -> int:
    if not number.lstrip("#").isdecimal():
        raise CapstoneError(f"--commands {number!r}: expected an issue's number")
    for line in commands(number.lstrip("#")):
        console.print(line)
    return 0


def _judge(options: argparse.Namespace, upstream: Upstream, console: Console) -> int:
    folder = record_folder(Catalogue(None).root)
    today = _day(options.today)
    # Everything is read before the first question, so that no answer is given for nothing.
    issues = [read_issue(path) for path in options.issues]
    pulls: list[Pull] | None = None
    if options.prs is not None:
        listed = {pull.number: pull for path in options.prs for pull in read_pulls(path)}
        pulls = [listed[number] for number in sorted(listed)]
    territory = read_territory(options.map) if options.map else None
    answers = read_answers(options.answers) if options.answers else Answers(ask=_asker(console))
    numbers = [issue.number for issue in issues]
    if len(set(numbers)) < len(numbers):
        raise CapstoneError(f"an issue is given twice: {', '.join(map(str, numbers))}")
    if len(issues) < CANDIDATES:
        console.print(f"{len(issues)} given; the lab compares {CANDIDATES}.\n")
    machine(folder / "machine.json", answers)
    journal = Journal(folder / "journal.jsonl")
    trials = []
    for issue in issues:
        setting = Setting(issue, pulls, upstream, territory, answers, today)
        trials.append(run_gauntlet(setting, journal))
        report.show_trial(trials[-1], console, options.all)
    report.show_verdict(trials, console)
    return 0 if any(trial.survives for trial in trials) else 1


def _asker(console: Console) -> Callable[[str], str] | None:
    if not console.is_terminal:
        return None

    def ask(question: str) -> str:
        try:
            # As it stands: `[yes/no]` is no markup.
            return console.input(question, markup=False, emoji=False)
        except EOFError:
            return ""

    return ask


def _day(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(hour=23, tzinfo=UTC)
    except ValueError as error:
        raise CapstoneError(f"--today {text!r}: expected a day such as 2026-05-28") from error
