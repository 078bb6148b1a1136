r"""What does a file import, and when?

Three moments, and a reader of an import graph must tell them apart. An import at **load** runs
when the module does: it is what makes cycles break and start-up slow. Under `if TYPE_CHECKING` it
never runs: it says that the file *talks about* the other. A **lazy** one stands in a function, or
under `if __name__ == "__main__"`, and runs when that does: often a cycle that somebody cut.

Where two spellings could mean two files, Python's own rule decides. `from package import name` is
the package's own `name` if its `__init__.py` binds one, and else the module of that name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LOAD, TYPING, LAZY = "load", "typing", "lazy"
MOMENTS = (LOAD, TYPING, LAZY)


@dataclass(frozen=True)
class ImportStatement:
    r"""One name of one import statement, as it stands in the file.

    `module` is what stands after `import`, or between `from` and `import`, without its `level`
    dots; `name` is what is taken out of it, `None` if the module itself is. `local` is the name
    that the file binds, `*` for all of them.
    """

    line: int
    when: str
    level: int
    module: str | None
    name: str | None
    local: str

    @property
    def form(self) -> str:
        r"""`absolute` or `relative`."""
        return "relative" if self.level else "absolute"


def read_imports(module: ast.Module) -> list[ImportStatement]:
    r"""Every import of a parsed file, in the order of its lines, wherever it stands."""
    return list(_in_body(module.body, LOAD))


def imports_of(statement: ast.Import | ast.ImportFrom, when: str) -> Iterator[ImportStatement]:
    r"""The names of one statement."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            local = alias.asname or alias.name.split(".")[0]
            yield ImportStatement(statement.lineno, when, 0, alias.name, None, local)
        return
    for alias in statement.names:
        yield ImportStatement(
            statement.lineno,
            when,
            statement.level,
            statement.module,
            alias.name,
            alias.asname or alias.name,
        )


def _in_body(body: Iterable[ast.stmt], when: str) -> Iterator[ImportStatement]:
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from imports_of(statement, when)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # What is typing-only stays so, wherever it stands.
            yield from _in_body(statement.body, when if when == TYPING else LAZY)
        elif isinstance(statement, ast.If):
            yes, no = branch_moments(statement.test, when)
            yield from _in_body(statement.body, yes)
            yield from _in_body(statement.orelse, no)
        else:
            for nested in nested_bodies(statement):
                yield from _in_body(nested, when)


def branch_moments(test: ast.expr, when: str) -> tuple[str, str]:
    r"""When the two branches of an `if` run, given when the `if` itself does."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yes, no = branch_moments(test.operand, when)
        return no, yes
    if isinstance(test, (ast.Name, ast.Attribute)) and _last_name(test) == "TYPE_CHECKING":
        return TYPING, when
    if (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == "__name__"
        and when == LOAD
    ):
        return LAZY, when
    return when, when


def nested_bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    r"""The blocks inside a statement that run when it does."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(statement, field, None)
        if isinstance(block, list):
            yield block
    for handler in getattr(statement, "handlers", ()):
        yield handler.body
    for case in getattr(statement, "cases", ()):
        yield case.body


def _last_name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr
