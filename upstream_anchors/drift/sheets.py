r"""How often is the tool right? Held against what people read in the trees themselves.

A sheet is a TOML file of places that somebody traced by hand: the release, the anchor, the class
that is right, and where it is. Each says how its places were chosen. A place counts as right when
the class agrees, and, where the sheet names them, the path, the symbol, and the line.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from upstream_anchors.drift.fate import Fate
from upstream_anchors.drift.records import Record

SHEETS_DIR = Path(__file__).with_name("sheets")


@dataclass(frozen=True)
class Judged:
    r"""One place that was traced by hand."""

    release: str
    target: str
    expected: str
    path: str = ""
    symbol: str = ""
    line: int = 0
    because: str = ""

    def agrees(self, fate: Fate) -> bool:
        r"""Whether the tool says the same, as far as the sheet says something."""
        first, last = fate.lines or (self.line, self.line)
        return (
            fate.outcome == self.expected
            and self.path in ("", fate.path)
            and self.symbol in ("", fate.symbol)
            and (not self.line or first <= self.line <= last)
        )


def read_sheet(name: str, folder: Path = SHEETS_DIR) -> list[Judged]:
    r"""The places of one sheet."""
    data = tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))
    return [Judged(**entry) for entry in data["place"]]


def misses(sheet: list[Judged], records: list[Record]) -> list[tuple[Judged, Fate | None]]:
    r"""The places of a sheet where the records say something else, or nothing."""
    by_version = {record.version: record.fates for record in records}
    found = []
    for judged in sheet:
        fate = by_version.get(judged.release, {}).get(judged.target)
        if fate is None or not judged.agrees(fate):
            found.append((judged, fate))
    return found
