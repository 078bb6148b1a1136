r"""`{first-task}`: what a learner finds in a lab, as it stands in the repository.

````md
```{first-task} phase-01/lab-01
```
````

The code is the function that holds the lab's first task (or the one that `:task:` names), as the
generator of starters writes it: signature, docstring and a TODO. It is made from `solution.py`,
never read from `starter.py`, which a reader of the book may be in the middle of solving.
"""

from __future__ import annotations

import ast
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from labkit import starters
from labkit.catalogue import Catalogue, Lab, LabError

from book._ext.boxes import new_box
from book._ext.cards import CardDirective, page_of


def function_with_task(source: str, task: int) -> str:
    """The function whose body has this task's TODO; raises `LookupError` if there is none."""
    mark = f"# TODO task {task}: "
    line = next((i for i, text in enumerate(source.splitlines(), 1) if mark in text), None)
    if line is None:
        raise LookupError(f"no task {task}")
    around = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    ]
    inner = max(around, key=lambda node: node.lineno)
    return "\n".join(source.splitlines()[inner.lineno - 1 : inner.end_lineno])


class FirstTask(CardDirective):
    """The code of a task, and the command that grades it."""

    required_arguments = 1
    option_spec: ClassVar[dict] = {"task": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        """A box with the lab's name, the code, and the command."""
        task = self.options.get("task", 1)
        try:
            lab = Catalogue(self.root).find(self.arguments[0])
            code = function_with_task(starters.generate(lab), task)
        except (LabError, LookupError) as problem:
            raise self.error(f"first-task: {self.arguments[0]}: {problem}") from problem
        for file in ("lab.toml", "solution.py"):
            self.env.note_dependency(str(lab.folder / file))
        block = nodes.literal_block(code, code, language="python")
        # Every line that is graded; the `labs` command is there after `pip install -e .`.
        command = f".venv/bin/labs check {lab.short}"
        shell = nodes.literal_block(command, command, language="sh")
        return [new_box("first-task", self._head(lab, task), block, shell)]

    def _head(self, lab: Lab, task: int) -> nodes.paragraph:
        head = nodes.paragraph(classes=["first-task-head"])
        words = f"{lab.phase[6:8]} / {lab.name[4:6]}, task {task} of {len(lab.tasks)}: "
        head += [nodes.Text(words), self.link(lab.title, page_of(lab))]
        return head
