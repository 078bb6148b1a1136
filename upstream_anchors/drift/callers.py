r"""Whom do the callers call instead?

When a function is cut in two, both halves are alike to the whole, and likeness cannot say which of
them took its part. Its callers can: where the old name stood in a line that was replaced, the new
line has the new name.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from typing import TYPE_CHECKING

from upstream_anchors.drift.line_fates import enclosing
from upstream_anchors.drift.pool import Definition
from upstream_anchors.drift.search import Lost

if TYPE_CHECKING:
    from upstream_anchors.drift.search import Search

# A name in more files than this is called by too many to be worth reading.
_FILES = 12


def called_instead(search: Search, old: Definition) -> Counter[str]:
    r"""The identifiers that stand where callers used to name `old`, by how often."""
    word = re.compile(rf"\b{re.escape(old.tail)}\b")
    tree = search.old.tree
    files = tree.files_matching(word.pattern.encode(), search.package)
    found: Counter[str] = Counter()
    for path in files if len(files) <= _FILES else []:
        for caller in _callers(search, path, word, old):
            there = search.definition(path, caller)
            if isinstance(there, Lost) or there.start is None:
                continue
            symbol = search.old.symbol(path, caller)
            before = tree.lines(path)[symbol.start - 1 : symbol.end]
            after = search.new.tree.lines(there.path)[there.start - 1 : there.end]
            found.update(_replaced(before, after, word))
    return found


def _callers(search: Search, path: str, word: re.Pattern[str], old: Definition) -> list[str]:
    names = set()
    for number, line in enumerate(search.old.tree.lines(path), 1):
        if word.search(line) and not (path == old.path and old.start <= number <= old.end):
            name = enclosing(search.old, path, number)
            if name is not None and not search.is_being_sought(path, name):
                names.add(name)
    return sorted(names)


def _replaced(before: tuple[str, ...], after: tuple[str, ...], word: re.Pattern[str]) -> set[str]:
    a, b = [line.strip() for line in before], [line.strip() for line in after]
    found: set[str] = set()
    for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "replace" and any(word.search(line) for line in a[i1:i2]):
            kept = set(re.findall(r"\w+", "\n".join(a[i1:i2])))
            found |= set(re.findall(r"\w+", "\n".join(b[j1:j2]))) - kept
    return found
