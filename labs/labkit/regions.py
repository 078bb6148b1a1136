r"""What does a learner get to see of a solution?

All of it, except the lines between two comments:

```python
def needs_sample(scheduled):
    r'''The docstring stays: it is the task's text.'''
    # lab: begin task 1 "say which rows have caught up"
    return [row.computed + row.scheduled == row.total for row in scheduled]
    # lab: end
```

The starter is this file with each region replaced by a TODO and a `NotImplementedError` that name
the task. It is generated, never edited by an author, so signatures, docstrings and everything that
a lab gives away for free cannot drift from the solution. The same function, told to *keep* some
tasks, makes the half-solved files with which
{py:mod}`labkit.verify` proves that every task can be solved alone.

A region may stand anywhere inside a function's body. It may not cover a signature or a docstring,
since those are what the learner works from.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection
from dataclasses import dataclass

_BEGIN = re.compile(r'^(?P<indent> *)# lab: begin task (?P<task>\d+) "(?P<title>[^"]+)"$')
_END = re.compile(r"^ *# lab: end$")
_MARKER = re.compile(r"^\s*#\s*lab:")


class RegionError(ValueError):
    r"""The markers of a solution do not make sense; the message names the line."""


@dataclass(frozen=True)
class Region:
    r"""One stretch of a solution that the learner writes.

    Lines count from 1 and include both markers. `function` is the qualified name of the function
    whose body holds the region, as a test or a traceback would name it.
    """

    task: int
    title: str
    function: str
    indent: int
    begin: int
    end: int

    @property
    def stub(self) -> list[str]:
        r"""The lines that stand in the starter where this region was."""
        message = f"task {self.task}: {self.title}"
        pad = " " * self.indent
        return [
            f"{pad}# TODO task {self.task}: {self.title}",
            f"{pad}raise NotImplementedError({json.dumps(message, ensure_ascii=False)})",
        ]

    def covers(self, line: int) -> bool:
        r"""Whether a line lies between the markers."""
        return self.begin < line < self.end


def parse(source: str) -> list[Region]:
    r"""Find the regions of a solution, in the order of the file.

    Raises {py:class}`RegionError` for a marker that is malformed, nested or never closed, for an
    empty region, and for one that covers a signature or a docstring or lies outside a function.
    """
    functions = _bodies(source)
    regions: list[Region] = []
    opened: tuple[re.Match[str], int] | None = None
    for number, line in enumerate(source.splitlines(), start=1):
        if not _MARKER.match(line):
            continue
        if begin := _BEGIN.match(line):
            if opened:
                raise RegionError(f"line {number}: region opened inside the one of {opened[1]}")
            opened = begin, number
        elif _END.match(line):
            if not opened:
                raise RegionError(f"line {number}: `# lab: end` without a begin")
            regions.append(_close(*opened, number, functions))
            opened = None
        else:
            raise RegionError(f"line {number}: not a marker: {line.strip()!r}")
    if opened:
        raise RegionError(f"line {opened[1]}: region is never closed")
    return regions


def render(source: str, keep: Collection[int] = ()) -> str:
    r"""The solution with every region stubbed, except those of the tasks to keep.

    With nothing to keep this is the starter; with one task it is what a learner has who solved
    only that one. Markers are dropped in either case.
    """
    lines = source.splitlines()
    for region in reversed(parse(source)):
        inside = slice(region.begin - 1, region.end)
        lines[inside] = lines[inside][1:-1] if region.task in keep else region.stub
    return "\n".join(lines) + "\n"


def titles(regions: list[Region]) -> dict[int, str]:
    r"""The title of each task, by number; a task may have several regions but one title."""
    found: dict[int, str] = {}
    for region in regions:
        if found.setdefault(region.task, region.title) != region.title:
            raise RegionError(
                f"line {region.begin}: task {region.task} is called {region.title!r} here "
                f"and {found[region.task]!r} before"
            )
    return dict(sorted(found.items()))


def _close(
    begin: re.Match[str], first: int, last: int, functions: list[tuple[str, int, int]]
) -> Region:
    if last == first + 1:
        raise RegionError(f"line {first}: the region is empty")
    # The end marker is a comment, so it may stand one line below the function's last statement.
    holders = [(low, name) for name, low, high in functions if low <= first and last <= high + 1]
    if not holders:
        raise RegionError(
            f"line {first}: a region lies in one function's body, below the docstring it must have"
        )
    return Region(
        task=int(begin["task"]),
        title=begin["title"],
        function=max(holders)[1],
        indent=len(begin["indent"]),
        begin=first,
        end=last,
    )


def _bodies(source: str) -> list[tuple[str, int, int]]:
    """Qualified name, first line below the docstring and last line, of each documented function."""
    found: list[tuple[str, int, int]] = []

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                if ast.get_docstring(child) is not None:
                    docstring = child.body[0]
                    found.append((prefix + child.name, last_line(docstring) + 1, last_line(child)))
                walk(child, f"{prefix}{child.name}.")
            elif isinstance(child, ast.ClassDef):
                walk(child, f"{prefix}{child.name}.")

    def last_line(node: ast.stmt) -> int:
        return node.end_lineno or node.lineno

    walk(ast.parse(source), "")
    return found
