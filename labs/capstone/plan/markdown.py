r"""What stands under which heading, and on which line?

As much Markdown as a plan needs: headings, list items with the lines that continue them, `Key:
value`, fenced blocks, tables. A `#` inside a fence is a comment of some shell and no heading.
Line numbers are those of the file, since a complaint is of use only where an editor can jump to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from capstone.errors import CapstoneError

#: What a drafted document has where its author has to write; a check refuses every one of them.
PLACEHOLDER = "TODO(you)"

_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(.*)")
_FIELD = re.compile(r"(?:[-*+]\s+)?\**([A-Z][\w -]{1,30}?)\**:\**(?:\s+(.*))?")
_CODE = re.compile(r"`([^`]+)`")
_WORD = re.compile(r"\S*\w\S*")


@dataclass(frozen=True)
class Line:
    r"""A line of the file, its number, and whether a fence makes it code."""

    number: int
    text: str
    is_code: bool = False


@dataclass(frozen=True)
class Item:
    r"""A list item, joined with the lines that continue it; `line` is where it begins."""

    line: int
    text: str


@dataclass(frozen=True)
class Block:
    r"""A fenced block: the line of its fence, and what stands in it."""

    line: int
    text: str


@dataclass
class Section:
    r"""What stands under one heading, up to the next one of its depth or above."""

    title: str
    line: int
    lines: list[Line] = field(default_factory=list)

    @property
    def text(self) -> str:
        r"""Everything, code included."""
        return "\n".join(line.text for line in self.lines)

    @property
    def prose(self) -> str:
        r"""Everything that no fence makes code."""
        return "\n".join(line.text for line in self.lines if not line.is_code)

    @property
    def words(self) -> int:
        r"""Words of the prose."""
        return count_words(self.prose)

    def items(self) -> list[Item]:
        r"""The list items; text before the first one belongs to none."""
        found: list[Item] = []
        is_open = False
        for line in self.lines:
            match = None if line.is_code else _ITEM.fullmatch(line.text)
            if match:
                found.append(Item(line.number, match[1].strip()))
                is_open = True
            elif not line.text.strip() or line.is_code:
                is_open = False
            elif is_open:
                last = found[-1]
                found[-1] = Item(last.line, f"{last.text} {line.text.strip()}")
        return found

    def fields(self) -> dict[str, Item]:
        r"""`Key: value` lines and items by key; a value goes on over the lines that continue it."""
        found: dict[str, Item] = {}
        key = None
        for line in self.lines:
            match = None if line.is_code else _FIELD.fullmatch(line.text.strip())
            if match:
                key = match[1].strip()
                # The first of a name counts: a second one may be meant to hide it.
                found.setdefault(key, Item(line.number, (match[2] or "").strip()))
            elif not line.text.strip() or line.is_code or _ITEM.fullmatch(line.text):
                key = None
            elif key is not None:
                item = found[key]
                found[key] = Item(item.line, f"{item.text} {line.text.strip()}".strip())
        return found

    def blocks(self) -> list[Block]:
        r"""The fenced blocks."""
        found: list[Block] = []
        inside: list[Line] = []
        for line in [*self.lines, Line(0, "")]:
            if line.is_code:
                inside.append(line)
                is_closed = len(inside) > 1 and _closes(inside[0].text, line.text)
                if is_closed:
                    body = "\n".join(one.text for one in inside[1:-1])
                    found.append(Block(inside[0].number, body))
                    inside = []
        return found

    def tables(self) -> list[list[tuple[int, list[str]]]]:
        r"""Tables as rows of `(line, cells)`; the row of dashes is left out."""
        found: list[list[tuple[int, list[str]]]] = []
        is_open = False
        for line in self.lines:
            text = line.text.strip()
            if line.is_code or not text.startswith("|"):
                is_open = False
                continue
            cells = [cell.strip() for cell in text.strip("|").split("|")]
            if not is_open:
                found.append([])
                is_open = True
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                found[-1].append((line.number, cells))
        return found


def _closes(opening: str, text: str) -> bool:
    first, last = _FENCE.match(opening), _FENCE.fullmatch(text.rstrip())
    return bool(first and last and last[1][0] == first[1][0] and len(last[1]) >= len(first[1]))


class Document:
    r"""A Markdown file as a title, what stands above the first section, and its sections.

    Never written back. A text without a heading is refused: it is not one of our documents, and
    forty complaints about what it lacks would not say so.
    """

    def __init__(self, text: str, name: str = "the document") -> None:
        self.name = name
        self.full_text = text
        self.lines = list(_numbered(text))
        if not text.strip():
            raise CapstoneError(f"{name}: empty; `capstone plan new` makes a frame to fill in")
        self.title = ""
        self.title_line = 1
        self.top = Section("", 1)
        self.sections: list[Section] = []
        self._read()
        if not self.title and not self.sections:
            raise CapstoneError(
                f"{name}: no heading in {len(self.lines)} lines; expected `# …` and sections that "
                "begin with `## …`"
            )

    @classmethod
    def read(cls, path: Path) -> Document:
        r"""Read a file; {py:class}`.CapstoneError` says what is wrong with it as a file."""
        try:
            return cls(path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n"), str(path))
        except FileNotFoundError as error:
            raise CapstoneError(f"{path}: no such file") from error
        except IsADirectoryError as error:
            raise CapstoneError(f"{path}: a folder; expected a Markdown file") from error
        except UnicodeDecodeError as error:
            raise CapstoneError(
                f"{path}: not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})"
            ) from error

    def _read(self) -> None:
        current = self.top
        for line in self.lines:
            match = None if line.is_code else _HEADING.fullmatch(line.text)
            if match and len(match[1]) == 1 and not self.title:
                self.title, self.title_line = match[2], line.number
            elif match and len(match[1]) <= 2:
                current = Section(match[2], line.number)
                self.sections.append(current)
            else:
                current.lines.append(line)

    @cached_property
    def by_title(self) -> dict[str, Section]:
        r"""The sections by title; of two with one title, the first."""
        found: dict[str, Section] = {}
        for section in self.sections:
            found.setdefault(section.title, section)
        return found

    @property
    def words(self) -> int:
        r"""Words of the whole file, fenced blocks left out."""
        return count_words("\n".join(line.text for line in self.lines if not line.is_code))


def count_words(text: str) -> int:
    r"""How many words a text has: pieces between blanks that hold a letter or a digit.

    So `x <= y` is two words, a path with its symbol is one, and a bullet's dash is none.
    """
    return len(_WORD.findall(text))


def code_spans(text: str) -> list[str]:
    r"""What stands between single backticks, in order."""
    return _CODE.findall(text)


def without_code(text: str) -> str:
    r"""A text with its code spans taken out."""
    return _CODE.sub(" ", text)


def _numbered(text: str) -> Iterator[Line]:
    fence = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if fence:
            yield Line(number, line, is_code=True)
            if _closes(fence, line):
                fence = ""
        elif _FENCE.match(line):
            fence = line
            yield Line(number, line, is_code=True)
        else:
            yield Line(number, line)
