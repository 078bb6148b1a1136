r"""Units that a reader meets on a page, and how a number is printed with one.

A quantity is kept in the base unit of its family (bytes, seconds, operations). A page may ask for
another unit of the family; asking for one of another family is an error, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


class UnitError(ValueError):
    """A unit that is unknown, or that belongs to another family than the quantity's."""


@dataclass(frozen=True)
class Unit:
    """A unit as printed, its family, and how many base units it holds."""

    symbol: str
    family: str
    factor: float = 1.0
    plural: str | None = None

    def label(self, value: float) -> str:
        """The word or symbol to print after `value`."""
        return self.plural if self.plural and value != 1 else self.symbol


def _family(family: str, **symbols: float) -> list[Unit]:
    return [
        Unit(symbol.replace("_per_", "/"), family, factor) for symbol, factor in symbols.items()
    ]


def _words(*words: str) -> list[Unit]:
    return [Unit(word, word, plural=f"{word}s") for word in words]


UNITS: dict[str, Unit] = {
    unit.symbol: unit
    for unit in [
        *_family("bytes", B=1, kB=1e3, MB=1e6, GB=1e9, TB=1e12),
        *_family("bytes", KiB=2.0**10, MiB=2.0**20, GiB=2.0**30, TiB=2.0**40),
        *_family("time", s=1, ms=1e-3, µs=1e-6, ns=1e-9, min=60, h=3600),
        *_family("operations", FLOP=1, MFLOP=1e6, GFLOP=1e9, TFLOP=1e12),
        *_family("operations a second", FLOP_per_s=1, GFLOP_per_s=1e9, TFLOP_per_s=1e12),
        *_family("bytes a second", B_per_s=1, GB_per_s=1e9, TB_per_s=1e12),
        *_family("tokens a second", tok_per_s=1),
        *_family("requests a second", req_per_s=1),
        *_family("bytes a token", B_per_token=1, KiB_per_token=2.0**10, MiB_per_token=2.0**20),
        *_family("operations a token", FLOP_per_token=1, GFLOP_per_token=1e9),
        *_family("operations a byte", FLOP_per_B=1),
        *_words("token", "block", "step", "request", "parameter", "layer", "head", "line"),
        Unit("×", "ratio"),
        Unit("%", "ratio", 0.01),
        Unit("", "count"),
    ]
}

_ATTACHED = {"×", "%"}
_NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


def unit(symbol: str) -> Unit:
    """The unit of that symbol; plurals of words are understood."""
    found = UNITS.get(symbol) or next((u for u in UNITS.values() if u.plural == symbol), None)
    if found is None:
        raise UnitError(f"unknown unit {symbol!r}; known: {' '.join(s for s in UNITS if s)}")
    return found


def number(value: float, decimals: int | None = None) -> str:
    """Thousands separated; integers exact, anything else to three significant digits."""
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    if "e" in text:
        # Without an exponent, and without losing digits of a very small number.
        text = f"{Decimal(text):f}"
    return text


def written(
    value: float, base: Unit, shown: Unit | None = None, decimals: int | None = None
) -> str:
    """`value`, which is in `base`, printed in `shown` with a space that does not break."""
    shown = shown or base
    if shown.family != base.family:
        raise UnitError(f"{shown.symbol!r} measures {shown.family}, not {base.family}")
    scaled = value * base.factor / shown.factor
    nearest = round(scaled)
    if abs(scaled - nearest) < 1e-9 * max(1.0, abs(scaled)):
        scaled = nearest
    text = number(scaled, decimals)
    label = shown.label(scaled)
    if not label:
        return text
    return f"{text}{label}" if label in _ATTACHED else f"{text}{_NARROW_SPACE}{label}"
