r"""Path data of drawings in a third of its letters, at the places where it was.

matplotlib and the setter of formulas write every point from the page's corner, with up to six
decimals. Here points are rounded first, to what nobody can see, and then written relative to each
other: short numbers, and no error that adds up. A path with a command that neither of them draws
stays as it is.
"""

from __future__ import annotations

import itertools
import re

_PATH = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_POINTS = {"M": 1, "L": 1, "Q": 2, "C": 3}
_SPACES = re.compile(r">\s+<")


def number(units: int, decimals: int) -> str:
    """So many units of the last decimal, as SVG likes it: `-.5`, `12`, `3.25`."""
    if not decimals:
        return str(units)
    sign, digits = "-" if units < 0 else "", f"{abs(units):0{decimals + 1}d}"
    whole, rest = digits[:-decimals].lstrip("0"), digits[-decimals:].rstrip("0")
    return sign + (f"{whole}.{rest}" if rest else whole or "0")


def joined(numbers: list[str]) -> str:
    """Numbers side by side, with a blank only where they would run together."""
    text = numbers[0]
    for before, one in itertools.pairwise(numbers):
        apart = one.startswith("-") or (one.startswith(".") and "." in before)
        text += one if apart else f" {one}"
    return text


def compact_path(data: str, decimals: int) -> str:
    """The same path, rounded to `decimals`, relative; curves and lines only, else unchanged."""
    scale = 10**decimals
    here, start = (0, 0), (0, 0)
    parts: list[str] = []
    for command, text in _PATH.findall(data):
        if command in "Zz":
            parts.append("z")
            here = start
            continue
        if command not in _POINTS:
            return data
        values = [round(float(value) * scale) for value in text.replace(",", " ").split()]
        size = 2 * _POINTS[command]
        if not values or len(values) % size:
            return data
        for first in range(0, len(values), size):
            numbers = iter(values[first : first + size])
            group = list(zip(numbers, numbers, strict=True))
            letter = "l" if command == "M" and first else command.lower()
            moved = [at - origin for point in group for at, origin in zip(point, here, strict=True)]
            parts.append(letter + joined([number(way, decimals) for way in moved]))
            here = group[-1]
            start = here if letter == "m" else start
    return "".join(parts)


def without_gaps(svg: str) -> str:
    """A drawing without the blanks between its elements; those inside a text stay."""
    return _SPACES.sub("><", svg)
