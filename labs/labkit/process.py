r"""How far is a lab that has no tests?

Some work cannot be graded by running it: a pull request is judged by reviewers, an interview by
what was said. Such a lab names a *grader*, a module with one function,

```python
def look(root: Path) -> Look: ...
```

which reads what the learner's other tools have left in the repository at `root`, and says of each
step of `lab.toml`, in their order, whether it is done and what it rests on; and the answers to the
lab's predictions, as far as they are known by now. It asks nobody, changes nothing, and answers for
a repository in which nothing has been done yet. `python -m labkit verify` holds it to that: a
grader that finds a step done, or an answer, where there is no record at all is refused.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from labkit.catalogue import Lab, LabError

SECTIONS = (
    "Why this lab exists",
    "Background",
    "What to do",
    "Run",
    "What grades it",
    "How this maps to the real project",
    "Going further",
    "References",
)
#: What a lab of this kind must not have: somebody would take it for the other kind.
FOREIGN = ("starter.py", "solution.py", "hints.toml", "mutants")


@dataclass(frozen=True)
class Finding:
    r"""One step: whether it is done, and what that rests on or what is lacking, in a line.

    `command` is what to run next for this step, where that is not the command of `lab.toml`.
    """

    done: bool
    text: str
    command: str = ""


@dataclass(frozen=True)
class Look:
    r"""What a grader saw: a finding for each step, and the answers to predictions by their ids."""

    findings: tuple[Finding, ...]
    truths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    r"""All steps of a lab with what was found."""

    lab: Lab
    findings: tuple[Finding, ...]
    truths: Mapping[str, str]

    @property
    def green(self) -> list[int]:
        r"""The numbers of the steps that are done."""
        return [number for number, found in enumerate(self.findings, start=1) if found.done]

    @property
    def complete(self) -> bool:
        r"""Whether every step is done."""
        return all(found.done for found in self.findings)

    @property
    def next(self) -> str | None:
        r"""What to run next: for the first step that is not done."""
        steps = zip(self.lab.steps, self.findings, strict=True)
        commands = (found.command or step.command for step, found in steps if not found.done)
        return next(commands, None)


def look(lab: Lab, root: Path | None = None) -> Standing:
    r"""Ask the lab's grader; a grader that does not fit its lab is a {py:class}`.LabError`."""
    try:
        grader = import_module(lab.grader)
    except ImportError as error:
        raise LabError(f"{lab.short}: its grader cannot be imported: {error}") from None
    seen = grader.look(root or lab.root)
    if len(seen.findings) != len(lab.steps):
        raise LabError(
            f"{lab.short} has {len(lab.steps)} steps, {lab.grader} speaks of {len(seen.findings)}"
        )
    for id in seen.truths:
        lab.question(id)
    return Standing(lab, seen.findings, seen.truths)


def problems(lab: Lab) -> Iterator[str]:
    r"""What is wrong with a process lab: its files, its README, its grader."""
    for name in FOREIGN:
        if (lab.folder / name).exists():
            yield f"a process lab has no {name}"
    if tests := sorted(path.name for path in lab.folder.glob("test_*.py")):
        yield f"a process lab has no tests of its own: {', '.join(tests)}"
    readme = lab.folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    for section in SECTIONS:
        if section not in headings:
            yield f"README.md has no section {section!r}"
    for step in lab.steps:
        if step.judge not in text:
            yield f"README.md does not name {step.judge!r}, which grades {step.title!r}"
    with tempfile.TemporaryDirectory() as nothing:
        standing = look(lab, Path(nothing))
    for number, found in enumerate(standing.findings, start=1):
        if found.done:
            yield f"{lab.grader} finds step {number} done where nothing was done: {found.text}"
    for id, answer in standing.truths.items():
        yield f"{lab.grader} answers {id!r} with {answer!r} where nothing was done"
