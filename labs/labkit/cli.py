r"""`labs`: the learner's loop.

    labs next                what to do now
    labs predict [LAB]       say what you expect, before you code
    labs check [LAB]         grade your starter.py, task by task
    labs watch [LAB]         the same, after every save
    labs hint [LAB] [TASK]   one more hint, out of three
    labs reset LAB           the starter as it was (yours is kept aside)
    labs list, labs doctor   which labs there are, and what this machine can run

A process lab has no starter: `labs check` says which of its steps are done, who grades them, and
what to run next.

Without a name, a command means the lab of the current folder, or else the first that is not done.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from labkit import doctor, grading, hints, process, starters, tables
from labkit.catalogue import Catalogue, Lab, LabError, Question
from labkit.state import State


class Learner:
    r"""One run of the command: the labs, the learner's record, and where to print."""

    def __init__(self, root: Path | None, console: Console) -> None:
        self.catalogue = Catalogue(root)
        self.state = State(self.catalogue.root)
        self.console = console

    def list(self, arguments: argparse.Namespace) -> int:
        r"""Print all labs and how far they are."""
        self.console.print(tables.overview(self.catalogue, self.state))
        return 0

    def check(self, arguments: argparse.Namespace) -> int:
        r"""Grade a lab; 0 when it is complete."""
        lab = self._lab(arguments.lab)
        if lab.is_process:
            return 0 if self._look(lab).complete else 1
        return 0 if self._grade(lab).complete else 1

    def watch(self, arguments: argparse.Namespace) -> int:
        r"""Grade a lab now and after every change of its starter, until it is complete."""
        lab = _with_starter(self._lab(arguments.lab))
        try:
            while not self._grade(lab).complete:
                self.console.print(Text(f"watching {lab.starter.name}; Ctrl-C ends", "dim"))
                _wait_for_change(lab.starter)
        except KeyboardInterrupt:
            return 130
        return 0

    def predict(self, arguments: argparse.Namespace) -> int:
        r"""Keep predictions: those given as `id=answer`, or else ask for each that is lacking."""
        if arguments.lab and "=" in arguments.lab:
            arguments.lab, arguments.answers = None, [arguments.lab, *arguments.answers]
        lab = self._lab(arguments.lab)
        if not lab.questions:
            raise LabError(f"{lab.name} asks for no predictions")
        for given in arguments.answers:
            id, equals, answer = given.partition("=")
            if not equals:
                raise LabError(f"{given!r} is not of the form id=answer")
            self._keep(lab, lab.question(id), answer)
        if not arguments.answers:
            for question in lab.questions:
                if self.state.prediction(lab.short, question.id) is None:
                    self._ask(lab, question)
        notebook = self.state.notebook.relative_to(self.catalogue.root)
        self.console.print(f"kept in {notebook}; `labs check {lab.short}` compares")
        return 0

    def hint(self, arguments: argparse.Namespace) -> int:
        r"""Show the hints of a task that were taken, and one more."""
        # `labs hint 2` inside a lab's folder means task 2 of that lab.
        if arguments.lab and arguments.task is None and arguments.lab.isdigit():
            arguments.lab, arguments.task = None, int(arguments.lab)
        lab = _with_starter(self._lab(arguments.lab))
        task = arguments.task or self._first_open_task(lab)
        if task is None:
            self.console.print(self._no_open_task(lab))
            return 0
        all_hints = hints.of(lab, task)
        count = min(self.state.hints(lab.short, task) + 1, len(all_hints))
        self.state.hinted(lab.short, task, count)
        self.console.print(Text(f"{lab.short}, task {task}: {lab.tasks[task - 1]}", "bold"))
        for number, text in enumerate(all_hints[:count], start=1):
            self.console.print(Text(f"{number} of {len(all_hints)}  {text}"))
        return 0

    def reset(self, arguments: argparse.Namespace) -> int:
        r"""Restore a starter; the learner's version is kept aside, progress is forgotten."""
        lab = _with_starter(self.catalogue.find(arguments.lab))
        mine = lab.starter.read_text(encoding="utf-8") if lab.starter.exists() else ""
        if not starters.write(lab):
            self.console.print(f"{lab.short}: starter.py is as it was given")
            return 0
        copy = self.state.keep_copy(lab.short, mine)
        self.state.forget(lab.short)
        self.console.print(f"{lab.short}: starter.py is restored; yours is {self._path(copy)}")
        return 0

    def doctor(self, arguments: argparse.Namespace) -> int:
        r"""Say what this machine can run, and why the rest is skipped."""
        findings = doctor.examine(self.catalogue.root)
        self.console.print(tables.health(findings, doctor.prospects(self.catalogue)))
        return 0

    def next(self, arguments: argparse.Namespace) -> int:
        r"""Name the next lab and what to do in it."""
        lab = self._next_lab()
        if lab is None:
            self.console.print(tables.progress(self.catalogue, self.state))
            return 0
        name = lab.short
        asked = [q for q in lab.questions if self.state.prediction(lab.short, q.id) is None]
        self.console.print(Text(f"{lab.short}  {lab.title}  ({lab.minutes} min)", "bold"))
        steps = [f"read     {self._path(lab.folder / 'README.md')}"]
        steps += [f"predict  labs predict {name}   ({len(asked)} to go)"] if asked else []
        if lab.is_process:
            command = process.look(lab).next
            steps += [f"do       {command}"] if command else []
            steps += [f"grade    labs check {name}"]
        else:
            steps += [f"edit     {self._path(lab.starter)}", f"grade    labs watch {name}"]
        for step in steps:
            self.console.print(Text(f"  {step}"), soft_wrap=True)
        self.console.print(tables.progress(self.catalogue, self.state))
        return 0

    def _lab(self, name: str | None) -> Lab:
        if name:
            return self.catalogue.find(name)
        lab = self.catalogue.holding(Path.cwd()) or self._next_lab()
        if lab is None:
            raise LabError("all labs are done: name the one that you mean")
        return lab

    def _next_lab(self) -> Lab | None:
        open_labs = (lab for lab in self.catalogue.labs if not self.state.is_complete(lab.short))
        return next(open_labs, None)

    def _first_open_task(self, lab: Lab) -> int | None:
        green = self.state.green(lab.short)
        return next((t for t in range(1, len(lab.tasks) + 1) if t not in green), None)

    def _no_open_task(self, lab: Lab) -> str:
        done = self.state.is_complete(lab.short)
        state = "is done" if done else "has all tasks done; what fails needs several of them"
        name = lab.short
        return f"{lab.short} {state}; `labs hint {name} 1` shows a hint for task 1 all the same"

    def _grade(self, lab: Lab) -> grading.Grade:
        grade = grading.grade(lab)
        self.state.graded(lab.short, grade.green, complete=grade.complete)
        self.console.print(tables.report(grade))
        if grade.complete:
            self.state.completed(lab.short, lab.title)
        elif failure := grade.first_failure():
            self._offer_hint(lab, failure)
        if compared := tables.predictions(lab, self.state, grade.truths):
            self.console.print("", compared, sep="\n")
        self.console.print("", tables.progress(self.catalogue, self.state), sep="\n")
        return grade

    def _look(self, lab: Lab) -> process.Standing:
        found = process.look(lab)
        self.state.graded(lab.short, found.green, complete=found.complete)
        self.console.print(tables.standing(found))
        if found.complete:
            self.state.completed(lab.short, lab.title)
        if compared := tables.predictions(lab, self.state, found.truths):
            self.console.print("", compared, sep="\n")
        self.console.print("", tables.progress(self.catalogue, self.state), sep="\n")
        return found

    def _offer_hint(self, lab: Lab, failure: grading.Verdict) -> None:
        """Name the next hint, where a hint could help: one task is to blame, and was called."""
        if failure.unloadable or len(failure.tasks) != 1:
            return
        [task] = failure.tasks
        taken = self.state.hints(lab.short, task)
        if taken < len(hints.GRADES):
            ask = f"labs hint {lab.short} {task}"
            self.console.print(Text(f"\nhint {taken + 1} of 3: {ask}", "dim"))

    def _ask(self, lab: Lab, question: Question) -> None:
        self.console.print(Text(f"\n{question.question}", "bold"))
        if question.choices:
            self.console.print(Text(f"one of: {', '.join(question.choices)}", "dim"))
        while True:
            try:
                answer = self.console.input(Text(f"{question.unit or 'your answer'}: "))
            except EOFError:
                raise LabError(f"no answer: labs predict {lab.short} {question.id}=…") from None
            try:
                return self._keep(lab, question, answer)
            except LabError as error:
                self.console.print(Text(str(error), "red"))

    def _keep(self, lab: Lab, question: Question, answer: str) -> None:
        kept = question.answer(answer)
        self.state.predict(lab.short, question.id, question.question, kept)

    def _path(self, path: Path) -> str:
        return path.relative_to(self.catalogue.root).as_posix()


def _with_starter(lab: Lab) -> Lab:
    if lab.is_process:
        raise LabError(
            f"{lab.short} is a process lab: it has no starter and no hints; "
            f"`labs check {lab.short}` says what grades it and what to run next"
        )
    return lab


def _wait_for_change(path: Path, poll_s: float = 0.3) -> None:
    """Polling, since file events do not arrive from network mounts and containers' volumes."""

    def stamp() -> tuple[int, int] | None:
        return (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else None

    before = stamp()
    while stamp() == before:
        time.sleep(poll_s)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="labs", description="Predict, code, check.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable, text: str, lab: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if lab:
            sub.add_argument(lab, metavar="LAB", nargs="?")
        return sub

    command("list", Learner.list, "all labs, and how far you are")
    command("next", Learner.next, "what to do now")
    predict = command("predict", Learner.predict, "say what you expect, before you code", "lab")
    predict.add_argument("answers", metavar="ID=ANSWER", nargs="*")
    command("check", Learner.check, "grade your starter.py, task by task", "lab")
    command("watch", Learner.watch, "grade it again after every save", "lab")
    hint = command("hint", Learner.hint, "one more hint, out of three a task", "lab")
    hint.add_argument("task", metavar="TASK", nargs="?", type=int)
    reset = command("reset", Learner.reset, "restore a starter; yours is kept aside")
    reset.add_argument("lab", metavar="LAB")
    command("doctor", Learner.doctor, "what this machine can run, and why not the rest")
    return parser


def main(
    argv: Sequence[str] | None = None, *, root: Path | None = None, console: Console | None = None
) -> int:
    r"""Run the command; returns the exit status: 2 for a name or an answer that makes no sense."""
    console = console or tables.console()
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(Learner(root, console), arguments)
    except LabError as error:
        console.print(Text(str(error), "red"))
        return 2


if __name__ == "__main__":
    sys.exit(main())
