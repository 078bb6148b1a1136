r"""Where an object's code stands: a dotted name to a file, a syntax tree and lines.

Nothing is imported. A page about the engine must build where torch is not installed, and a name is
found by reading, as a reader would find it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class SourceError(LookupError):
    """A dotted name that leads to no file, or to no definition in its file."""


@dataclass(frozen=True)
class Piece:
    """A contiguous definition: its file, its lines (1-based, inclusive) and its syntax tree."""

    path: Path
    lines: tuple[str, ...]
    first: int
    last: int
    node: ast.AST


@lru_cache(maxsize=512)
def _parse(path: Path, stamp: tuple[int, int]) -> tuple[tuple[str, ...], ast.Module]:
    text = path.read_text(encoding="utf-8")
    return tuple(text.splitlines()), ast.parse(text, filename=str(path))


def parse_file(path: Path) -> tuple[tuple[str, ...], ast.Module]:
    """Lines and syntax tree of a file, parsed again only when the file has changed."""
    stat = path.stat()
    return _parse(path, (stat.st_mtime_ns, stat.st_size))


def find_module(full_name: str, roots: tuple[Path, ...]) -> tuple[Path, list[str]]:
    """File of the longest module prefix of `full_name`, and the names that are left below it."""
    parts = full_name.split(".")
    for root in roots:
        for cut in range(len(parts), 0, -1):
            base = root.joinpath(*parts[:cut])
            for candidate in (base.with_suffix(".py"), base / "__init__.py"):
                if candidate.is_file():
                    return candidate, parts[cut:]
    raise SourceError(f"no module found for {full_name!r}")


def locate(full_name: str, roots: tuple[Path, ...]) -> Piece:
    """The piece of source that `full_name` names: a module, a class, a function, an assignment."""
    path, rest = find_module(full_name, roots)
    lines, tree = parse_file(path)
    if not rest:
        return Piece(path, lines, 1, len(lines), tree)
    node: ast.AST = tree
    for name in rest:
        found = _child(node, name)
        if found is None:
            raise SourceError(f"{path.name} has no {name!r} (looking for {full_name!r})")
        node = found
    first = node.lineno  # type: ignore[attr-defined]
    if isinstance(node, Definition) and node.decorator_list:
        first = min(first, node.decorator_list[0].lineno)
    return Piece(path, lines, first, node.end_lineno or first, node)  # type: ignore[attr-defined]


def _child(node: ast.AST, name: str) -> ast.AST | None:
    """The last definition of `name` in a body; branches of `if` and `try` belong to the body."""
    found: ast.AST | None = None
    for statement in getattr(node, "body", []):
        if isinstance(statement, Definition):
            if statement.name == name:
                found = statement
        elif isinstance(statement, ast.Assign):
            if any(isinstance(t, ast.Name) and t.id == name for t in statement.targets):
                found = statement
        elif isinstance(statement, ast.AnnAssign):
            if isinstance(statement.target, ast.Name) and statement.target.id == name:
                found = statement
        elif isinstance(statement, (ast.If, ast.Try)):
            found = _child(statement, name) or found
    return found


def documentation_lines(node: ast.AST) -> set[int]:
    """Line numbers taken by docstrings: every statement below `node` that is a bare string."""
    taken: set[int] = set()
    for child in ast.walk(node):
        for statement in (
            getattr(child, "body", []) if not isinstance(child, ast.Lambda | ast.IfExp) else []
        ):
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                taken.update(range(statement.lineno, (statement.end_lineno or 0) + 1))
    return taken


def comment_above(piece: Piece) -> str:
    """The `#:` comment lines that stand directly above a definition, as text."""
    comment: list[str] = []
    for line in reversed(piece.lines[: piece.first - 1]):
        stripped = line.strip()
        if not stripped.startswith("#:"):
            break
        comment.append(stripped[2:].strip())
    return "\n".join(reversed(comment))


def code_without_docstrings(piece: Piece) -> list[tuple[int, str]]:
    """The code of a piece as `(line number, text)`, dedented, docstrings and their gaps cut."""
    cut = documentation_lines(piece.node)
    shown: list[tuple[int, str]] = []
    after_cut = True
    for number in range(piece.first, piece.last + 1):
        text = piece.lines[number - 1].rstrip()
        if number in cut:
            after_cut = True
            continue
        if not text and after_cut:
            continue
        after_cut = False
        shown.append((number, text))
    while shown and not shown[-1][1]:
        shown.pop()
    margin = min((len(t) - len(t.lstrip()) for _, t in shown if t), default=0)
    return [(number, text[margin:]) for number, text in shown]
