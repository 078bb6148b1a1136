r"""Which line of the source printed this line of the log?

The constant text of a logger's call is searched, with implicit concatenation undone, so a reader
may paste what the terminal showed between two values. Only `log:"…"` targets come here, and they
read every Python file of the package; parsing them all would take ten seconds, so a file is parsed
only if the fragment occurs in its text, quotes and line breaks between the words aside.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from upstream_anchors.errors import AnchorError, nearest_names
from upstream_anchors.place import Place
from upstream_anchors.target import Target

if TYPE_CHECKING:
    from upstream_anchors.resolver import Resolver

_FILES_FOR_A_HINT = 60

_LEVEL = re.compile(
    r"(debug|info|warning|warn|error|exception|critical|log)(_once)?", re.IGNORECASE
)


def find_log_call(resolver: Resolver, target: Target) -> Place:
    r"""The one call of a logger whose message contains the fragment."""
    fragment = target.fragment or ""
    words = re.findall(r"\w+", fragment)
    if not words:
        raise AnchorError(f"{target.text}: a log fragment needs at least one word")
    hits: list[tuple[str, ast.Call]] = []
    for path in resolver.tree.files_matching(_loosely(fragment), resolver.pin.project):
        for call, message in log_calls(resolver.tree.text(path)):
            if fragment in message:
                hits.append((path, call))
    if len(hits) == 1:
        path, call = hits[0]
        return Place(target.text, "log", path, None, call.lineno, call.end_lineno)
    if hits:
        where = [f"{path}, line {call.lineno}" for path, call in hits[:6]]
        raise AnchorError(f"{target.text}: {len(hits)} logger calls contain this", where)
    raise AnchorError(f"{target.text}: no logger call contains this", _near(resolver, words))


def _loosely(fragment: str) -> bytes:
    # The fragment as source text may spell it: broken between two words by implicit
    # concatenation, with quotes escaped. Files that do not even match this are not parsed.
    tokens = re.findall(r"\w+|[^\w\s]", fragment)
    gap = r"""[\s"'\\]*(?:[fFrR]{1,2}["'])?\s*"""
    return gap.join(re.escape(token) for token in tokens).encode()


def _near(resolver: Resolver, words: list[str]) -> list[str]:
    # Messages that share the fragment's longest word; a refusal may take its time, within reason.
    longest = max(words, key=len)
    files = resolver.tree.files_matching(re.escape(longest).encode(), resolver.pin.project)
    calls = (
        call for path in files[:_FILES_FOR_A_HINT] for call in log_calls(resolver.tree.text(path))
    )
    messages = [message for _, message in calls if longest in message]
    return [f'log:"{message}"' for message in nearest_names(" ".join(words), messages, 4)]


def log_calls(source: str) -> Iterator[tuple[ast.Call, str]]:
    r"""Each call of a logger in a file with its message, placeholders left as they are written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            module = ast.parse(source)
        except SyntaxError:
            return
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _is_logger(node.func):
            for argument in node.args:
                if (message := _text(argument)) is not None:
                    yield node, message
                    break


def _is_logger(func: ast.expr) -> bool:
    if not isinstance(func, ast.Attribute) or not _LEVEL.fullmatch(func.attr):
        return False
    owner = func.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    return "log" in name.lower()


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or _placeholder(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)):
        left, right = _text(node.left), _text(node.right)
        return left + (right or "") if left is not None else None
    return None


def _placeholder(part: ast.expr) -> str:
    # Unparsed inside an f-string of its own, f'{…}': alone it is spelled differently by version.
    return ast.unparse(ast.JoinedStr([part]))[2:-1]
