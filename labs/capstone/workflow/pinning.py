r"""What does a folder of tests pin down?

Read from the tests' syntax: how many assertions a test makes, at how many places it lets the
scheduler decide, and of which names its assertions speak. A name is the last
attribute of what is compared, `scheduler.running` is `running`; a loop or a parameter counts once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from upstream_anchors.tree import Tree


@dataclass(frozen=True)
class Pinned:
    r"""One test function."""

    file: str
    name: str
    asserts: int
    schedules: int
    names: frozenset[str]


def pinned_by(tree: Tree, folder: str) -> list[Pinned]:
    r"""Every test of a folder, in the order of files and lines."""
    found: list[Pinned] = []
    for path in tree.python_files(folder):
        name = path.rsplit("/", 1)[1]
        if name.startswith("test_"):
            found += [_of(name, node) for node in _tests(ast.parse(tree.text(path), filename=path))]
    return found


def _tests(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_":
            yield node


def _of(file: str, test: ast.FunctionDef | ast.AsyncFunctionDef) -> Pinned:
    asserts = [node for node in ast.walk(test) if isinstance(node, ast.Assert)]
    called = [_last(node.func) for node in ast.walk(test) if isinstance(node, ast.Call)]
    spoken = {
        node.attr
        for one in asserts
        for node in ast.walk(one.test)
        if isinstance(node, ast.Attribute)
    }
    return Pinned(
        file=file,
        name=test.name,
        asserts=len(asserts),
        schedules=called.count("schedule"),
        names=frozenset(spoken),
    )


def _last(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
