r"""How is it shown that something is *not* in the tree?

An anchor shows what is there. That `VLLM_USE_V1` is gone, or the folder `vllm/core`, is a fact as
well, and no line can be linked for it; it can only be looked for. An {py:class}`Absence` is such a
search, written as `vllm/core` for a path that must not exist, or as `"WORDS" in FOLDER` for words
that must stand in no Python file below a folder. The answer is the number of files that were read,
since a search that read none proves nothing: an empty folder is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from upstream_anchors.errors import TreeError
from upstream_anchors.tree import Tree

_WORDS = re.compile(r'"(?P<words>[^"]+)" in (?P<folder>\S+)')


class AbsenceError(TreeError):
    r"""Something that is said to be gone is there, or a search that cannot be made."""


@dataclass(frozen=True)
class Absence:
    r"""A path that must not exist; with `words`, a folder none of whose Python files has them."""

    path: str
    words: str | None = None

    def check(self, tree: Tree) -> int:
        r"""Look in the tree; the number of files that were read, 1 for a path.

        {py:class}`AbsenceError` with the first place where it is, or if there was nothing to read.
        The tree is not changed.
        """
        if self.words is None:
            if tree.is_file(self.path) or tree.is_folder(self.path):
                raise AbsenceError(f"{self.path} is said to be gone, and the tree has it")
            return 1
        read = len(tree.python_files(self.path))
        if not read:
            raise AbsenceError(f"{self.path} has no Python file: a search there shows nothing")
        if hits := tree.files_matching(re.escape(self.words.encode()), self.path):
            raise AbsenceError(f'"{self.words}" is said to be gone, and {hits[0]} has it')
        return read


def parse_absences(text: str) -> list[Absence]:
    r"""Absences, separated by `;`. {py:class}`AbsenceError` for an empty or odd one."""
    found = []
    for part in map(str.strip, text.split(";")):
        words = _WORDS.fullmatch(part)
        if words:
            found.append(Absence(words["folder"].rstrip("/"), words["words"]))
        elif part and " " not in part and '"' not in part:
            found.append(Absence(part.rstrip("/")))
        else:
            raise AbsenceError(f'{part!r} is neither a path nor "WORDS" in FOLDER')
    return found
