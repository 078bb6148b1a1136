r"""Reading a TOML file of the bank: a complaint names the file, the entry, what was expected.

The readers of scenarios and symptoms ask for keys by name and type; a key that nobody asked for is
a complaint as well, so that a typing error is not an option that silently does nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from book.questions import COMPETENCIES

from capstone.errors import CapstoneError
from capstone.loop.checks import Demand, demand
from capstone.loop.item import LAYERS
from capstone.records import read_toml

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Table:
    r"""One table of a TOML file, with its place for messages."""

    def __init__(self, data: Any, place: str) -> None:
        if not isinstance(data, dict):
            raise CapstoneError(f"{place}: expected a table, found {type(data).__name__}")
        self.data = data
        self.place = place
        self._asked: set[str] = set()

    def complain(self, text: str) -> CapstoneError:
        r"""An error with the place in front."""
        return CapstoneError(f"{self.place}: {text}")

    def text(self, key: str, default: str | None = None) -> str:
        r"""A string that is not empty."""
        value = self._get(key, default)
        if not isinstance(value, str) or not (value.strip() or default == ""):
            raise self.complain(f"`{key}` is {value!r}, expected a text")
        return value.strip()

    def id(self) -> str:
        r"""The entry's id; the place of later messages names it."""
        value = self.text("id")
        if not _ID.fullmatch(value):
            raise self.complain(f"id {value!r}: lower case letters, digits and single hyphens")
        self.place = f"{self.place} ({value})"
        return value

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        r"""A number from `low` to `high`."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.complain(f"`{key}` is {value!r}, expected a number")
        if not low <= value <= high:
            raise self.complain(f"`{key}` is {value}, expected {low:g} to {high:g}")
        return value

    def texts(self, key: str, least: int = 1) -> tuple[str, ...]:
        r"""A list of at least `least` texts."""
        value = self._get(key, [] if least == 0 else None)
        good = isinstance(value, list) and all(isinstance(v, str) and v.strip() for v in value)
        if not good or len(value) < least:
            raise self.complain(f"`{key}` is {value!r}, expected {least} or more texts")
        return tuple(v.strip() for v in value)

    def rows(self, key: str) -> tuple[int, ...]:
        r"""Rows of the competency map: one number, or a list of different ones."""
        value = self._get(key, None)
        rows = value if isinstance(value, list) else [value]
        if not rows or len(set(map(str, rows))) != len(rows):
            raise self.complain(f"`{key}` is {value!r}, expected rows 1 to {max(COMPETENCIES)}")
        for row in rows:
            if isinstance(row, bool) or row not in COMPETENCIES:
                raise self.complain(f"`{key}` has {row!r}, expected rows 1 to {max(COMPETENCIES)}")
        return tuple(rows)

    def tables(self, key: str, least: int = 1) -> list[Table]:
        r"""A list of at least `least` tables."""
        value = self._get(key, [] if least == 0 else None)
        if not isinstance(value, list) or len(value) < least:
            raise self.complain(f"`{key}` is {value!r}, expected {least} or more tables")
        return [Table(v, f"{self.place}, {key} {n}") for n, v in enumerate(value, start=1)]

    def answer(self) -> tuple[dict[str, str], Demand]:
        r"""The model answer in its three layers, and what its arithmetic demands."""
        table = Table(self._get("answer", None), f"{self.place}, answer")
        layers = {layer: table.text(layer) for layer in LAYERS}
        table.done()
        try:
            return layers, demand(layers["arithmetic"])
        except CapstoneError as error:
            raise table.complain(str(error)) from error

    def flag(self, key: str) -> bool:
        r"""True or false."""
        value = self._get(key, None)
        if not isinstance(value, bool):
            raise self.complain(f"`{key}` is {value!r}, expected true or false")
        return value

    def has(self, key: str) -> bool:
        r"""Whether the key is there; asking is not reading."""
        return key in self.data

    def done(self) -> None:
        r"""Refuse keys that nobody asked for."""
        unknown = sorted(set(self.data) - self._asked)
        if unknown:
            raise self.complain(f"unknown keys {', '.join(unknown)}")

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key in self.data:
            return self.data[key]
        if default is None:
            raise self.complain(f"lacks `{key}`")
        return default


def entries(path: Path, kind: str) -> list[Table]:
    r"""The tables `[[kind]]` of a file, which must hold nothing else; ids must differ."""
    data = read_toml(path)
    whole = Table(data, path.name)
    tables = whole.tables(kind)
    whole.done()
    seen: set[str] = set()
    for table in tables:
        name = str(table.data.get("id"))
        if name in seen:
            raise table.complain(f"id {name} stands there twice")
        seen.add(name)
    return tables
