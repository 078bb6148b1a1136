r"""Is the arithmetic of an answer right? As far as a machine can say.

A question has *values to reach*: each is a quantity of the book's registry, with a unit and a
tolerance. Where do they come from?

- In a model answer's arithmetic layer every {qty} names one. By default at least half of them
  (rounded up) must be reached, within 5%, because an answer may take another way.
- A comment line in that layer names them instead, and then all of them must be reached. A page
  does not show it (`%` begins a comment in MyST):

```
% check: p02-blocks-80gb; p02-tokens-80gb in tokens within 2 %
% check: none
```

`none` says that the layer's numbers are examples: nothing can be demanded.

For each value there is a verdict: *met*; *no unit* (the number is there, bare, but it counts
something); *other dimension* (131,072 tokens where bytes were asked for); *prefix* (off by 1.024:
kB are not KiB, and the tolerance was narrower than that); *wrong* (the nearest of the same
dimension, and how far off); *missing*.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from book.quantities import registry
from book.quantities.units import Unit, UnitError, written

from capstone.errors import CapstoneError
from capstone.loop.amounts import COUNT, Amount, amounts, is_counted, unit_named

TOLERANCE = 0.05
_QTY = re.compile(r"\{qty\}`([^`]+)`")
_CHECK = re.compile(r"^%\s*check:(.*)$", re.MULTILINE)
_ONE = re.compile(
    r"(?P<request>[a-z0-9-]+(?:\s+in\s+\S+?)?)(?:\s+within\s+(?P<percent>\d+(?:\.\d+)?)\s*%)?"
)


class Verdict(StrEnum):
    r"""What became of one value; the text is what the table of results prints."""

    MET = "met"
    NO_UNIT = "no unit"
    OTHER_DIMENSION = "other dimension"
    PREFIX = "kB for KiB"
    WRONG = "wrong number"
    MISSING = "missing"


@dataclass(frozen=True)
class Value:
    r"""A number that the answer should reach; `base` is in the base unit of its family."""

    name: str
    base: float
    unit: Unit
    shown: str
    tolerance: float = TOLERANCE

    def near(self, base: float) -> bool:
        r"""Whether a number of the same family is within the tolerance; zero has none."""
        return abs(base - self.base) <= self.tolerance * abs(self.base)


@dataclass(frozen=True)
class Finding:
    r"""A verdict on one value, with the amount that it is about and a sentence."""

    value: Value
    verdict: Verdict
    sentence: str


@dataclass(frozen=True)
class Demand:
    r"""The values of a question, and how many of them an answer must reach."""

    values: tuple[Value, ...] = ()
    needed: int = 0


def value_of(request: str, tolerance: float = TOLERANCE, name: str = "") -> Value:
    r"""The value of a registered quantity; `request` as in {qty}: `name [in unit]`."""
    try:
        shown = registry.printed(request)
        found = registry.get(request.split()[0])
        number = found.value()
    except registry.QuantityError as error:
        raise CapstoneError(str(error)) from error
    return Value(name or found.name, number * found.unit.factor, found.unit, shown, tolerance)


def literal(name: str, number: float, symbol: str, tolerance: float = TOLERANCE) -> Value:
    r"""A value that is written down with its unit, as a data file may."""
    unit = unit_named(symbol) if symbol else COUNT
    if unit is None:
        raise CapstoneError(f"{name}: no unit is called {symbol!r}")
    try:
        shown = written(number, unit)
    except UnitError as error:  # pragma: no cover - a unit is always of its own family
        raise CapstoneError(str(error)) from error
    return Value(name, number * unit.factor, unit, shown, tolerance)


def demand(arithmetic: str) -> Demand:
    r"""What the arithmetic layer of a model answer asks of the learner's."""
    lines = _CHECK.findall(arithmetic)
    if lines:
        wanted = [part.strip() for line in lines for part in line.split(";") if part.strip()]
        if wanted == ["none"]:
            return Demand()
        values = _distinct([_explicit(part) for part in wanted])
        return Demand(values, len(values))
    values = _distinct([value_of(_undigited(request)) for request in _QTY.findall(arithmetic)])
    return Demand(values, (len(values) + 1) // 2)


def _explicit(part: str) -> Value:
    match = _ONE.fullmatch(part)
    if match is None:
        raise CapstoneError(
            f"check {part!r} is not of the form: quantity [in unit] [within N %], or none"
        )
    tolerance = float(match["percent"]) / 100 if match["percent"] else TOLERANCE
    return value_of(match["request"], tolerance)


def _undigited(request: str) -> str:
    """A request without its number of decimals: they are for the page."""
    return re.sub(r"\s+to\s+\d$", "", request.strip())


def _distinct(values: Sequence[Value]) -> tuple[Value, ...]:
    """One of each: two names of the same amount would be met, or missed, together."""
    kept: dict[tuple[str, float], Value] = {}
    for value in values:
        kept.setdefault((value.unit.family, value.base), value)
    return tuple(kept.values())


def check(wanted: Demand, answer: str) -> list[Finding]:
    r"""A finding for each value, in order."""
    given = list(amounts(answer))
    return [_find(value, given) for value in wanted.values]


_DIMENSIONLESS = {"count", "ratio"}


def _readings(amount: Amount) -> list[tuple[str, float]]:
    readings = [(amount.unit.family, amount.base)]
    if is_counted(amount.unit):
        # `53 requests` answers a question for a bare number; a bare number is not 53 requests.
        readings.append(("count", amount.base))
    if amount.over is not None:
        readings.append((amount.over.family, amount.value * amount.over.factor))
    return readings


def _same(family: str, other: str) -> bool:
    return family == other or (family in _DIMENSIONLESS and other in _DIMENSIONLESS)


def _find(value: Value, given: Sequence[Amount]) -> Finding:
    alike: list[tuple[float, Amount]] = []
    for amount in given:
        for family, base in _readings(amount):
            if not _same(family, value.unit.family):
                continue
            if value.near(base):
                said = (
                    amount.text
                    if amount.text == _spaced(value)
                    else f"{amount.text}, {value.shown}"
                )
                return Finding(value, Verdict.MET, said)
            alike.append((base, amount))
    family = value.unit.family
    for amount in given:
        # Small numbers stand in every sum: only one that is worth a remark gets it.
        if amount.unit.family == "count" and amount.value >= 10 and _equal_bare(value, amount):
            text = f"{amount.text}: the number is there, of what? Expected {value.shown}"
            return Finding(value, Verdict.NO_UNIT, text)
    for base, amount in alike:
        if _prefix(value.base, base):
            text = f"{amount.text} where {value.shown} is right: a factor of 1.024 a prefix"
            return Finding(value, Verdict.PREFIX, text)
    for amount in given:
        if amount.unit.family not in {family, "count"} and _equal_bare(value, amount):
            text = (
                f"{amount.text} measures {amount.unit.family}, {value.shown} measures {family}: "
                "the number is right, the dimension is not"
            )
            return Finding(value, Verdict.OTHER_DIMENSION, text)
    if not alike:
        return Finding(value, Verdict.MISSING, f"{value.shown} does not occur")
    base, amount = min(alike, key=lambda pair: _distance(value.base, pair[0]))
    text = f"{amount.text} is the nearest; {value.shown} is right"
    if value.base and base:
        text += f", {base / value.base:.2g} times too much" if base > value.base else (
            f", {value.base / base:.2g} times too little"
        )  # fmt: skip
    return Finding(value, Verdict.WRONG, text)


def _spaced(value: Value) -> str:
    return value.shown.replace("\N{NARROW NO-BREAK SPACE}", " ")


def _equal_bare(value: Value, amount: Amount) -> bool:
    """Whether the digits agree, as printed or in the base unit, whatever they measure."""
    printed = next(amounts(value.shown), None)
    said = {value.base, value.base / value.unit.factor} | ({printed.value} if printed else set())
    return any(abs(amount.value - number) <= value.tolerance * abs(number) for number in said)


def _prefix(right: float, base: float) -> bool:
    if not right or not base:
        return False
    ratio = max(right / base, base / right)
    return any(abs(ratio / 1.024**power - 1) < 0.004 for power in (1, 2, 3, 4))


def _distance(right: float, base: float) -> float:
    """By ratio, so that half and double are equally far."""
    if not right or not base or (right < 0) != (base < 0):
        return abs(right - base) + 1e300
    return max(right / base, base / right)
