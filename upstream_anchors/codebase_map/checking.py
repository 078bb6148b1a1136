r"""Is a map complete, and does it still speak of files that exist?

A complaint is one line: where in the map, which file, what is wrong. None means that every file of
the part has a sentence of its own, and that every path in it is in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from upstream_anchors.codebase_map.document import PLACEHOLDER, MapDocument, Section
from upstream_anchors.codebase_map.part import Part, nearest_paths

FEWEST_WORDS, MOST_WORDS = 4, 45

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Complaint:
    r"""What is wrong with a map, and at which of its lines (0: with the map as a whole)."""

    line: int
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def check_map(document: MapDocument, part: Part, pin: str, files: Iterable[str]) -> list[Complaint]:
    r"""Every complaint about a map of this part, in the order of its lines.

    `files` are the paths of the tree, which a path in the map must be one of.
    """
    known = frozenset(files)
    complaints = list(_coverage(document, part))
    complaints += _equal_sentences(document, part)
    complaints += _stale(document, part, known)
    if document.pin != pin:
        text = f"made for {document.pin}, the pin is {pin}; make it again, your sentences stay"
        complaints.append(Complaint(0, "the map", text))
    return sorted(complaints, key=lambda c: (c.line, c.path, c.text))


def _coverage(document: MapDocument, part: Part) -> Iterator[Complaint]:
    for entry in part.entries:
        section = document.files.get(entry.path)
        if section is None:
            yield Complaint(0, entry.path, "has no section; make the map again to add it")
            continue
        if section.repeated:
            yield Complaint(section.line, entry.path, "has two sections; join them")
        problem = _sentence_problem(section)
        if problem:
            yield Complaint(section.line, entry.path, problem)


def _sentence_problem(section: Section) -> str:
    sentence = section.sentence or ""
    if PLACEHOLDER in sentence:
        return "still has the placeholder"
    words = len(_WORD.findall(sentence))
    if not words:
        return "has no sentence after `Role:`"
    if words < FEWEST_WORDS:
        return f"{words} words are no sentence; write at least {FEWEST_WORDS}"
    if words > MOST_WORDS:
        return f"{words} words are more than one sentence; at most {MOST_WORDS}"
    return ""


def _equal_sentences(document: MapDocument, part: Part) -> Iterator[Complaint]:
    first: dict[str, str] = {}
    for entry in part.entries:
        section = document.files.get(entry.path)
        if section is None or not section.is_filled:
            continue
        said = " ".join(_WORD.findall(section.sentence or "")).casefold()
        if said in first:
            text = f"has the sentence of {first[said]}; what is it that only this file does?"
            yield Complaint(section.line, entry.path, text)
        elif said:
            first[said] = entry.path


def _stale(document: MapDocument, part: Part, known: frozenset[str]) -> Iterator[Complaint]:
    roots = "|".join(sorted({re.escape(name.split("/")[0]) for name in part.names}))
    spoken = re.compile(rf"(?<![\w/.-])(?:{roots})/[\w./-]+\.py\b")
    sections = [("the map", document.top), ("the map", document.gone)]
    sections += [(f"{path}/", section) for path, section in document.folders.items()]
    for path, section in document.files.items():
        if path not in known:
            yield Complaint(section.line, path, f"is not in the tree{_near(path, known)}")
        sections.append((path, section))
    for owner, section in sections:
        text = "\n".join([section.sentence or "", *section.notes])
        for name in dict.fromkeys(spoken.findall(text)):
            if name not in known:
                message = f"speaks of {name}, which is not in the tree{_near(name, known)}"
                yield Complaint(section.line, owner, message)


def _near(path: str, known: frozenset[str]) -> str:
    near = nearest_paths(path, known)
    return f"; nearest: {', '.join(near)}" if near else ""
