r"""What does the `labs` command print?"""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from labkit.catalogue import Catalogue, Lab
from labkit.doctor import Finding
from labkit.grading import Grade
from labkit.process import Standing
from labkit.state import State

DONE, FAILING, OPEN = ("✓", "green"), ("✗", "red"), ("·", "dim")


def overview(catalogue: Catalogue, state: State) -> RenderableType:
    r"""All labs, phase by phase, with the tasks that have been green."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, justify in (("", "left"), ("lab", "left"), ("tag", "left"), ("min", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("tasks", no_wrap=True)
    phase = None
    for lab in catalogue.labs:
        if lab.phase != phase:
            phase = lab.phase
            table.add_row("", Text(phase, style="bold"))
        complete = state.is_complete(lab.short)
        green = state.green(lab.short)
        tasks = Text("".join("●" if task + 1 in green else "○" for task in range(len(lab.tasks))))
        title = Text.assemble((lab.name[:6], "cyan"), f"  {lab.title}")
        table.add_row(_mark(DONE if complete else OPEN), title, lab.tag, str(lab.minutes), tasks)
    return Group(table, Text(), progress(catalogue, state))


def progress(catalogue: Catalogue, state: State) -> Text:
    r"""The line that ends most commands: `2 / 5 labs`, and the minutes that are left."""
    undone = [lab for lab in catalogue.labs if not state.is_complete(lab.short)]
    total = len(catalogue.labs)
    left = sum(lab.minutes for lab in undone)
    text = f"{total - len(undone)} / {total} labs"
    return Text.assemble((text, "bold"), f", about {left} min to go" if left else ", all done")


def report(grade: Grade) -> RenderableType:
    r"""One lab's tasks with ticks, and below them the failure to look at first."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for task, title in enumerate(grade.lab.tasks, start=1):
        own = grade.own(task)
        passed = sum(verdict.outcome == "passed" for verdict in own)
        kinds = {verdict.error[0] for verdict in own if verdict.error}
        begun = passed or kinds != {"NotImplementedError"}
        mark = DONE if grade.done(task) else FAILING if begun else OPEN
        table.add_row(_mark(mark), f"task {task}", Text(title), f"{passed} of {len(own)} tests")
    together = [verdict for verdict in grade.verdicts if len(verdict.tasks) > 1]
    if together:
        passed = sum(verdict.outcome == "passed" for verdict in together)
        well = all(verdict.outcome in ("passed", "skipped") for verdict in together)
        counts = f"{passed} of {len(together)} tests"
        table.add_row(_mark(DONE if well else OPEN), "", Text("all together", "italic"), counts)
    parts: list[RenderableType] = [Text(f"{grade.lab.short}  {grade.lab.title}", "bold"), table]
    if failure := grade.first_failure():
        first = "it does not load:" if failure.unloadable else f"first failure: {failure.test}"
        parts += [Text(f"\n{first}", "red"), Text(failure.message)]
    elif not grade.verdicts:
        parts += [Text("\nthe tests did not run:", "red"), Text(grade.output)]
    return Group(*parts)


def standing(found: Standing) -> RenderableType:
    r"""A process lab's steps with ticks, what each rests on, and who grades it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for number, (step, one) in enumerate(
        zip(found.lab.steps, found.findings, strict=True), start=1
    ):
        table.add_row(_mark(DONE if one.done else OPEN), f"step {number}", Text(step.title))
        table.add_row("", "", Text(one.text, "dim"))
    judges = ", ".join(dict.fromkeys(step.judge for step in found.lab.steps))
    head = Text(f"{found.lab.short}  {found.lab.title}", "bold")
    parts: list[RenderableType] = [head, table, Text(f"\ngraded by: {judges}")]
    if found.next is not None:
        parts.append(Text(f"next:      {found.next}"))
    return Group(*parts)


def predictions(lab: Lab, state: State, truths: Mapping[str, str]) -> RenderableType | None:
    r"""The learner's predictions beside what the tests have found out; `None` without any."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "predicted", "truth", "question"):
        table.add_column(heading)
    for question in lab.questions:
        guess, answer = state.prediction(lab.short, question.id), truths.get(question.id)
        if guess is not None and answer is not None:
            mark = DONE if agree(guess, answer) else FAILING
            table.add_row(_mark(mark), Text(guess), Text(answer), Text(question.question))
    return table if table.row_count else None


def agree(guess: str, answer: str) -> bool:
    r"""Whether a prediction is the truth; letter case, blanks and `3.0` for `3` do not matter."""
    try:
        return float(guess) == float(answer)
    except ValueError:
        return guess.strip().casefold() == answer.strip().casefold()


def health(findings: list[Finding], prospects: list[tuple[Lab, bool, str]]) -> RenderableType:
    r"""The doctor's two tables: what the machine has, and what that means for each lab."""
    has = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        has.add_row(_mark(DONE if finding.well else OPEN), finding.subject, Text(finding.text))
    labs = Table(box=None, pad_edge=False, show_header=False)
    for lab, runs, text in prospects:
        labs.add_row(_mark(DONE if runs else OPEN), lab.short, lab.tag, Text(text))
    return Group(has, Text(), labs)


def console() -> Console:
    r"""The console of the command: plain where the output is no terminal."""
    return Console(highlight=False)


def _mark(mark: tuple[str, str]) -> Text:
    return Text(*mark)
