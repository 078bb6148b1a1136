r"""A map as a file that two hands write: ours the facts, the reader's the sentences.

What we write stands between two comments, and the first of them carries a hash of it. Everything
else is the reader's and is never touched: the sentence after `Role:`, notes under a file, under a
folder, at the top. Making a map again over an old one reads the reader's lines, writes the new
facts, and puts each line back where it was. What belonged to a file that is gone is kept at the
end, and a block of facts that somebody wrote into is kept as a note.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from upstream_anchors.errors import AnchorError

PLACEHOLDER = "[one sentence, in your own words]"
GONE = "No longer in this part"
KEPT = "Kept from a block of facts that had been edited:"

_HEADER = re.compile(r"<!-- map of (?P<parts>.+?); (?P<pin>.+?) -->")
_OPEN = re.compile(r"<!-- facts(?: ([0-9a-f]{8}))? -->")
_CLOSE = "<!-- end of facts -->"
_FILE = re.compile(r"### `(?P<path>[^`]+)`\s*")
_FOLDER = re.compile(r"## `(?P<path>[^`]+)/`\s*")
_ROLE = re.compile(r"Role:(?P<text>.*)")


@dataclass
class Section:
    r"""What the reader wrote under one heading: the sentence, and any notes.

    `line` is where the heading stands; `sentence` is `None` where no `Role:` was found.
    """

    line: int = 0
    sentence: str | None = None
    notes: list[str] = field(default_factory=list)
    repeated: bool = False

    @property
    def is_filled(self) -> bool:
        r"""Whether a sentence was written."""
        return bool(self.sentence) and PLACEHOLDER not in (self.sentence or "")

    @property
    def note_lines(self) -> list[str]:
        r"""The notes without the blank lines around them."""
        return "\n".join(self.notes).strip("\n").split("\n") if any(self.notes) else []

    @property
    def has_text(self) -> bool:
        r"""Whether the reader wrote anything here."""
        return self.is_filled or any(line.strip() for line in self.notes)


@dataclass
class MapDocument:
    r"""The reader's side of a map, by heading.

    `parts` and `pin` are what the map was made for. `top`, `folders` and `gone` have notes only.
    """

    parts: tuple[str, ...]
    pin: str
    top: Section = field(default_factory=Section)
    title: str = ""
    files: dict[str, Section] = field(default_factory=dict)
    folders: dict[str, Section] = field(default_factory=dict)
    gone: Section = field(default_factory=Section)

    @classmethod
    def parse(cls, text: str) -> MapDocument:
        r"""Read a map; {py:class}`.AnchorError` for a file that is none."""
        found = _HEADER.search(text)
        if found is None:
            raise AnchorError("this file is not a map: it has no line `<!-- map of … -->`")
        document = cls(tuple(found["parts"].split(", ")), found["pin"])
        _Reader(document).read(text.replace("\r\n", "\n").split("\n"))
        return document


def header(parts: tuple[str, ...], pin: str) -> str:
    r"""The line by which a map is known."""
    return f"<!-- map of {', '.join(parts)}; {pin} -->"


def fenced(lines: list[str]) -> list[str]:
    r"""A block of facts between its two comments."""
    return [f"<!-- facts {_digest(lines)} -->", *lines, _CLOSE]


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).strip().encode()).hexdigest()[:8]


class _Reader:
    # One pass over the lines, with the section that they belong to.

    def __init__(self, document: MapDocument) -> None:
        self.document = document
        self.section = document.top
        self.in_role = False

    def read(self, lines: list[str]) -> None:
        at = 0
        while at < len(lines):
            line = lines[at]
            opened = _OPEN.fullmatch(line.strip())
            if opened:
                at = self._facts(lines, at, opened[1])
                continue
            self._line(line, at + 1)
            at += 1

    def _line(self, line: str, number: int) -> None:
        document = self.document
        if found := _FILE.fullmatch(line):
            self._enter(document.files, found["path"], number)
        elif found := _FOLDER.fullmatch(line):
            self._enter(document.folders, found["path"], number)
        elif line.strip() == f"## {GONE}":
            self.section, self.in_role = document.gone, False
        elif _HEADER.fullmatch(line.strip()) or line.strip() == _CLOSE:
            self.in_role = False
        elif line.startswith("# ") and self.section is document.top and not document.title:
            document.title = line
        elif (found := _ROLE.fullmatch(line)) and self.section.sentence is None and self._is_file():
            self.section.sentence, self.in_role = found["text"].strip(), True
        elif self.in_role and line.strip():
            self.section.sentence = f"{self.section.sentence} {line.strip()}".strip()
        else:
            self.in_role = False
            self.section.notes.append(line)

    def _is_file(self) -> bool:
        return any(self.section is section for section in self.document.files.values())

    def _enter(self, sections: dict[str, Section], path: str, number: int) -> None:
        self.in_role = False
        if path in sections:
            # The second of the same path: all it says becomes notes of the first.
            self.section = sections[path]
            self.section.repeated = True
            return
        self.section = sections[path] = Section(number)

    def _facts(self, lines: list[str], start: int, digest: str | None) -> int:
        # The block ends at its comment, or where the next heading says that the comment is lost.
        self.in_role = False
        end = start + 1
        while end < len(lines) and lines[end].strip() != _CLOSE:
            heading = _FILE.fullmatch(lines[end]) or _FOLDER.fullmatch(lines[end])
            if heading or _OPEN.fullmatch(lines[end].strip()):
                break
            end += 1
        block = lines[start + 1 : end]
        if digest != _digest(block):
            self.section.notes += ["", KEPT, "", *block, ""]
        closed = end < len(lines) and lines[end].strip() == _CLOSE
        return end + 1 if closed else end
