r"""`capstone rehearse`: a real defect, from the report to the pull request, on your own machine."""

from __future__ import annotations

import argparse

from rich.console import Console
from upstream_anchors.errors import TreeError
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.rehearsal import compare, sandbox, second, steps
from capstone.rehearsal.workshop import Workshop

VERBS = ("start", "status", "check", "show", "compare", "second", "reset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    r"""A verb, and for `check` a step."""
    parser.add_argument("verb", choices=VERBS, nargs="?", default="status", help="default: status")
    names = ", ".join(steps.BY_NAME)
    parser.add_argument("step", nargs="?", help=f"with check: {names}")


def run(options: argparse.Namespace, console: Console) -> int:
    r"""Do what the verb says; a tree that is missing or wrong is input that cannot be used."""
    workshop = Workshop.of()
    if options.step is not None and options.verb != "check":
        raise CapstoneError(f"{options.verb} takes no step, and {options.step!r} was given")
    try:
        match options.verb:
            case "start":
                return _start(workshop, console)
            case "check":
                return _check(workshop, options.step, console)
            case "compare":
                return compare.show(workshop, console)
            case "second":
                return second.show(workshop, console)
            case "show":
                return _show(workshop, console)
            case "reset":
                return _reset(workshop, console)
        return _status(workshop, console)
    except TreeError as error:
        raise CapstoneError(str(error)) from error


def _start(workshop: Workshop, console: Console) -> int:
    made = sandbox.make(workshop, need_tree(the_pin()))
    console.print(
        f"sandbox: {workshop.shown_folder}/tree (git, tag {sandbox.TAG}, tree {made[:12]})"
    )
    console.print(f"beside it in {workshop.shown_folder}: {', '.join(sandbox.PAPERS)}")
    if absent := workshop.missing():
        console.print(f"not installed here: {', '.join(absent)}; `nox -s rehearsal`, once")
    return 0


def _check(workshop: Workshop, name: str | None, console: Console) -> int:
    if name not in steps.BY_NAME:
        raise CapstoneError(f"check {name or ''}: which step? One of {', '.join(steps.BY_NAME)}")
    step = steps.BY_NAME[name]
    workshop.need_sandbox()
    if before := steps.missing_before(step, steps.passed(workshop)):
        console.print(f"before this step come, and have not passed: {', '.join(before)}")
    verdict = steps.check(workshop, step)
    for line in verdict.lines:
        console.print(f"  {line}")
    for complaint in verdict.complaints:
        console.print(f"- {complaint}")
    console.print(f"{name}: {'passed' if verdict.passed else 'not yet'}")
    return 0 if verdict.passed else 1


def _status(workshop: Workshop, console: Console) -> int:
    workshop.need_sandbox()
    sandbox.verify(workshop)
    latest, outdated = steps.latest(workshop), steps.outdated(workshop)
    for number, step in enumerate(steps.STEPS, start=1):
        entry = latest.get(step.name)
        mark = "passed" if entry and entry["passed"] else "not yet" if entry else ""
        mark = "changed" if step.name in outdated else mark
        console.print(f"{number} {step.name:10} {mark:8} {step.task}")
    if damaged := workshop.journal.damaged():
        console.print(f"{workshop.journal.path}: lines {damaged} hold no entry")
    if outdated:
        console.print("changed: what the check passed on is no longer what is there")
    left = [
        step
        for step in steps.STEPS
        if step.name in outdated or not latest.get(step.name, {}).get("passed")
    ]
    console.print(
        f"next: {left[0].task}; then `capstone rehearse check {left[0].name}`"
        if left
        else "All eight passed. Now `capstone rehearse compare`."
    )
    return 0


def _show(workshop: Workshop, console: Console) -> int:
    sandbox.verify(workshop)
    console.print(sandbox.diff(workshop) or "nothing differs from the pin")
    return 0


def _reset(workshop: Workshop, console: Console) -> int:
    aside = sandbox.put_aside(workshop)
    if aside is None:
        console.print("there is no rehearsal to put aside")
        return 0
    console.print(f"put aside, whole: {aside}; `capstone rehearse start` begins anew")
    return 0
