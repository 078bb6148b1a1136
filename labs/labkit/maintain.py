r"""`python -m labkit`: the proofs behind the labs, for those who write them.

    python -m labkit verify   [LAB ...]                     starter, hints, tests, solution fit
    python -m labkit starters [LAB ...] [--check|--write]   starters are what solutions generate
    python -m labkit mutants  [LAB ...] [--changed] [--sample N] [--write]
    python -m labkit path LAB                               the folder that a name means

Each prints what is wrong, one line a finding, and exits with 1 when there is something.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from labkit import starters, verify
from labkit.bench import Bench, on_bench
from labkit.catalogue import Catalogue, Lab, LabError
from labkit.mutation import record, trial

TORCH_FREE = "not gpu and not model"


def main(argv: Sequence[str] | None = None, *, root: Path | None = None) -> int:
    r"""Run one of the maintainer's commands; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    arguments = _parser().parse_args(argv)
    try:
        catalogue = Catalogue(root)
        if arguments.command == "path":
            print(catalogue.find(arguments.lab).folder.relative_to(catalogue.root).as_posix())
            return 0
        labs = catalogue.select(arguments.labs)
        if not labs:
            raise LabError(f"there are no labs below {catalogue.root / 'labs'}")
        problems = arguments.run(labs, arguments, console)
    except LabError as error:
        problems = [str(error)]
    for problem in problems:
        console.print(problem, style="red", markup=False)
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m labkit", description="Prove the labs.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, run) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("labs", nargs="*", metavar="LAB", help="default: all")
        sub.set_defaults(run=run)
        return sub

    command("verify", "starter, hints, tests and solution fit together", _verify)
    generated = command("starters", "starters are what the solutions generate", _starters)
    mode = generated.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="compare what git has (the default)")
    mode.add_argument("--write", action="store_true", help="write the starters")
    broken = command("mutants", "the tests notice when a solution is wrong", _mutants)
    broken.add_argument("--changed", action="store_true", help="in full only where files changed")
    broken.add_argument("--sample", type=int, default=0, metavar="N", help="try N others again")
    broken.add_argument("--write", action="store_true", help="write the record of each full run")
    path = commands.add_parser("path", help="print the folder that a name means")
    path.add_argument("lab", metavar="LAB")
    return parser


def _verify(labs: list[Lab], arguments: argparse.Namespace, console: Console) -> list[str]:
    found = []
    for lab in labs:
        problems = verify.problems(lab)
        console.print(f"{lab.short}: {'; '.join(problems[:1]) or 'holds'}", markup=False)
        found += [f"{lab.short}: {problem}" for problem in problems]
    return found


def _starters(labs: list[Lab], arguments: argparse.Namespace, console: Console) -> list[str]:
    labs = [lab for lab in labs if not lab.is_process]
    if not arguments.write:
        return [problem for lab in labs for problem in starters.problems(lab)]
    for lab in labs:
        console.print(f"{lab.short}: {'written' if starters.write(lab) else 'as it was'}")
    return []


def _mutants(labs: list[Lab], arguments: argparse.Namespace, console: Console) -> list[str]:
    problems = []
    for lab in labs:
        if lab.is_process:
            console.print(f"{lab.short}: a process lab, nothing to break", markup=False)
            continue
        if arguments.changed and record.is_fresh(lab):
            found = _sampled(lab, arguments.sample, console)
        else:
            found = _in_full(lab, arguments.write, console)
        problems += [f"{lab.short}: {problem}" for problem in found]
    return problems


def _in_full(lab: Lab, write: bool, console: Console) -> list[str]:
    stale = not record.is_fresh(lab)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{lab.short} mutants", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        def work(bench: Bench) -> trial.Outcome:
            return trial.everything(bench, tell)

        outcome = on_bench(lab, work, marks=TORCH_FREE)
    dead = sum(killer is not None for killer in outcome.generic.values())
    console.print(
        f"{lab.short}: {dead} of {len(outcome.generic)} generic mutants die "
        f"({len(outcome.proofs)} equivalent, {outcome.rate:.1%}), "
        f"{sum(map(bool, outcome.plausible.values()))} of {len(outcome.plausible)} plausible ones",
        markup=False,
    )
    for id in outcome.survivors:
        console.print(f"  survives: {id}", style="yellow", markup=False)
    problems = outcome.problems()
    if write:
        record.write(lab, outcome)
    elif stale:
        problems.append("its record is stale: python -m labkit mutants --changed --write")
    return problems


def _sampled(lab: Lab, count: int, console: Console) -> list[str]:
    found = record.problems(lab)
    tried: dict[str, str | None] = {}
    if ids := record.draw(lab, count):
        tried = on_bench(lab, lambda bench: trial.sample(bench, ids), marks=TORCH_FREE)
    console.print(f"{lab.short}: record is fresh, {len(tried)} mutants tried again")
    return found + [f"recorded as killed, but survives: {id}" for id, by in tried.items() if not by]
