r"""What the capstone asks of a map beyond what any map must have.

That every file has a sentence of its own and every path is in the tree, `check_map` finds out. A
map of the *tour* also has a file from each of its folders; its sentences are yours and not the
file's own first line; and what you wrote on a folder fits on one page, because a longer map is
read by nobody, its author included.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from upstream_anchors.codebase_map import CodeGraph, Complaint, MapDocument, Part, check_map
from upstream_anchors.tree import Tree

from capstone.map.tour import folders

#: A page of A4 in a common type, less its headings.
WORDS_A_PAGE = 450
#: This many words in a row as in the docstring are no accident.
WORDS_IN_A_ROW = 6

_WORD = re.compile(r"\w+")


def complaints(
    document: MapDocument, part: Part, graph: CodeGraph, tree: Tree, pin: str
) -> list[Complaint]:
    r"""All that is wrong with a map, by its lines; a map without any is done."""
    found = check_map(document, part, pin, tree.files)
    found += _folders(part)
    found += _borrowed(document, part, tree)
    found += _pages(document, part)
    return sorted(found, key=lambda one: (one.line, one.path, one.text))


def _folders(part: Part) -> Iterator[Complaint]:
    for folder in folders():
        if not any(entry.path.startswith(f"{folder}/") for entry in part.entries):
            yield Complaint(0, folder, "is on the tour, and no file of it is on the map")


def _borrowed(document: MapDocument, part: Part, tree: Tree) -> Iterator[Complaint]:
    for entry in part.entries:
        section = document.files.get(entry.path)
        if section is None or not section.is_filled:
            continue
        said, own = _words(section.sentence or ""), _words(_docstring(tree, entry.path))
        shared = _longest_run(said, own)
        if shared >= min(WORDS_IN_A_ROW, len(own)) > 2:
            text = f"has {shared} words in a row from the file's docstrings; say it yourself"
            yield Complaint(section.line, entry.path, text)


def _pages(document: MapDocument, part: Part) -> Iterator[Complaint]:
    for folder in part.folders:
        notes = document.folders.get(folder)
        own = len(_words("\n".join(notes.notes))) if notes else 0
        for entry in part.entries:
            section = document.files.get(entry.path)
            if entry.folder == folder and section is not None:
                sentence = section.sentence if section.is_filled else ""
                own += len(_words("\n".join([sentence or "", *section.notes])))
        if own > WORDS_A_PAGE:
            text = f"{own} words are more than a page ({WORDS_A_PAGE}); what would you not miss?"
            yield Complaint(notes.line if notes else 0, f"{folder}/", text)


def _docstring(tree: Tree, path: str) -> str:
    # The module's and its classes': most files of the tree describe themselves only there.
    module = ast.parse(tree.text(path))
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    owners: list[ast.Module | ast.ClassDef] = [module, *classes]
    return "\n".join(ast.get_docstring(node) or "" for node in owners)


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


def _longest_run(left: list[str], right: list[str]) -> int:
    # Common substring, by words; both are short.
    best, above = 0, [0] * (len(right) + 1)
    for word in left:
        row = [0] * (len(right) + 1)
        for at, other in enumerate(right, start=1):
            if word == other:
                row[at] = above[at - 1] + 1
        best, above = max(best, *row), row
    return best
