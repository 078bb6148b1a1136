r"""Do two slices say the same?

Three answers: the same text, the same meaning in other words, or something else. *Other words* are
layout, comments and docstrings. They are told apart because a reader's question is told apart: a
page about a method whose docstring grew is still right.
"""

from __future__ import annotations

import ast
import difflib
import re
import textwrap
import warnings
from collections.abc import Sequence

from upstream_anchors.c_symbols import C_SUFFIXES

_C_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_C_TOKEN = re.compile(r"\w+|[^\w\s]")


def compared(old: Sequence[str], new: Sequence[str], path: str) -> str:
    r"""`same`, `reworded` or `changed`; `path` says which language it is."""
    if list(old) == list(new):
        return "same"
    return "reworded" if meaning(old, path) == meaning(new, path) else "changed"


def meaning(lines: Sequence[str], path: str) -> str:
    r"""The slice without what only its writer cares about.

    A slice of Python that is no statement, such as one line of a call, is compared by its words,
    spaces aside.
    """
    text = "\n".join(lines)
    if path.endswith(".py"):
        tree = parsed(text)
        if tree is not None:
            drop_docstrings(tree)
            return ast.dump(tree)
    elif path.endswith(C_SUFFIXES):
        return " ".join(_C_TOKEN.findall(_C_COMMENT.sub(" ", text)))
    return " ".join(text.split())


def parsed(text: str) -> ast.Module | None:
    r"""The syntax tree of a slice at any depth of indentation; `None` when it is no statement."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(textwrap.dedent(text))
        except (SyntaxError, ValueError):
            return None


def drop_docstrings(tree: ast.AST) -> None:
    r"""Take the docstrings out of a tree, in place: those of classes, functions and fields.

    vLLM documents a field by a string after it, so every statement that is only a string goes.
    """
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_string(part)]  # type: ignore[attr-defined]


def _is_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def line_changes(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    r"""How many lines a diff adds and removes."""
    added = removed = 0
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            removed += i2 - i1
            added += j2 - j1
    return added, removed
