r"""Which function wrote a log line?

A line of vLLM's log names a file and a line number, and nothing else of its origin. This module
makes the table that turns these into a symbol: for each file, the first and last line of every
function and class. It is read from the *installed* package, because the log's numbers are; where a
file of the wheel differs from the pinned tree, the symbol is the same and the lines are not.
"""

from __future__ import annotations

import ast
from pathlib import Path

Span = tuple[str, int, int]


def spans(source: str) -> list[Span]:
    r"""Name, first and last line of each module-level function, class and method.

    Names are as `ast` nests them (`EngineCore.step`). Functions inside functions are left out:
    their lines belong to the function around them, which is what an anchor can name.
    """
    found: list[Span] = []

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                name = prefix + node.name
                found.append((name, node.lineno, node.end_lineno or node.lineno))
                if isinstance(node, ast.ClassDef):
                    walk(node.body, f"{name}.")
            elif isinstance(node, ast.If | ast.Try):
                walk(node.body + node.orelse, prefix)

    walk(ast.parse(source).body, "")
    return found


def shrunk(path: str) -> str:
    r"""How the debug log writes the path of a file of the package, `vllm/…`.

    The leading `vllm` goes; of what is left, the first level (two levels under `v1`) and the last
    two are kept, and whatever is between them becomes `...`
    ({up}`vllm/logging_utils/formatter.py#NewLineFormatter`).
    """
    parts = path.split("/")
    parts = parts[1:] if parts[0] == "vllm" else parts
    keep = 2 if parts[0] == "v1" else 1
    head, tail = parts[:keep], parts[keep:]
    return "/".join(head + (["...", *tail[-2:]] if len(tail) > 2 else tail))


def source_map(package: Path, locations: set[str]) -> dict[str, list[Span]]:
    r"""The spans of every file of an installed `vllm` that one of the log's locations may mean."""
    files = {path: shrunk(path.relative_to(package.parent).as_posix()) for path in modules(package)}
    return {
        path.relative_to(package.parent).as_posix(): spans(path.read_text(encoding="utf-8"))
        for path, short in sorted(files.items())
        if short in locations
    }


def modules(package: Path) -> list[Path]:
    r"""All Python files of a package's folder, in order."""
    return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)
