r"""How is nothing lost that somebody wrote?

Two ways of keeping. A *journal* is a file of JSON lines that only ever grows: an answer is on the
disk before the next question is shown, so a closed terminal costs one sentence at most. A
*document* is replaced whole, by a rename, so that it is the old one or the new one and never half
of each; if somebody has edited it meanwhile, theirs is kept beside it under another name.

All of it lies in `.labs/capstone/` beside the labs' own record, which git ignores.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from upstream_anchors.whole_files import write_whole

from capstone.errors import CapstoneError


def record_folder(root: Path) -> Path:
    r"""Where the tools keep things for the repository at `root`; not created here."""
    return root / ".labs" / "capstone"


def now() -> str:
    r"""The time in UTC, to the second, as it stands in every record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Journal:
    r"""Entries in the order in which they were made, one JSON object a line.

    Invariant: what `append` returned from is on the disk. Nothing is ever rewritten.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, **entry: Any) -> dict[str, Any]:
        r"""Write one entry with its time, and return it; creates the file and its folder."""
        kept = {"at": now(), **entry}
        line = json.dumps(kept, ensure_ascii=False, sort_keys=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            # A line that a crash cut short must not swallow the next one.
            if file.tell() and not _ends_in_newline(file):
                file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return kept

    def read(self) -> list[dict[str, Any]]:
        r"""All entries that can be read; none if there is no file."""
        return [entry for _, entry in self.numbered() if entry is not None]

    def damaged(self) -> list[int]:
        r"""Numbers of the lines that hold no entry, such as one that a crash cut short.

        They stay in the file and are left out by `read`; whoever reads for grading says so.
        """
        return [number for number, entry in self.numbered() if entry is None]

    def numbered(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        r"""Every line that is not empty with its number: its entry, or none if it is damaged."""
        if not self.path.exists():
            return
        # Not splitlines: an answer may hold a line separator that JSON leaves as it is.
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            yield number, entry if isinstance(entry, dict) else None


def _ends_in_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def write_document(path: Path, text: str, *, expected: str | None = None) -> Path | None:
    r"""Replace a document whole; returns where an older version was put aside, if it was.

    `expected` is the text that the tool last read or wrote. If the file holds something else, its
    owner has edited it meanwhile, and that version is kept as `NAME.1`, `NAME.2` and so on.
    """
    aside = None
    if path.exists() and expected is not None:
        there = path.read_text(encoding="utf-8")
        if there not in (expected, text):
            aside = _free_name(path)
            aside.write_text(there, encoding="utf-8")
    write_whole(path, text)
    return aside


def _free_name(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return candidate


def read_json(path: Path) -> Any:
    r"""The content of a JSON file; {py:class}`.CapstoneError` says what is wrong with the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CapstoneError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise CapstoneError(f"{path}: not UTF-8 text") from error
    except ValueError as error:
        raise CapstoneError(f"{path}: not JSON: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    r"""The content of a TOML file; {py:class}`.CapstoneError` says what is wrong with the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CapstoneError(f"{path}: no such file") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CapstoneError(f"{path}: not TOML: {error}") from error
