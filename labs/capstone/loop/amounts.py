r"""Which numbers stand in an answer, and what do they measure?

"At 3.35 TB/s the 16 GB take 4.8 ms" holds three amounts. Each is read with its unit, in the
families of {py:mod}`book.quantities.units`, so that 128 KiB and 131,072 bytes are the same amount,
131 kB is nearly the same, and 131,072 tokens is another thing altogether.

What is read: thousands with commas or thin spaces, `4e14`, `2 × 10^9`, `10⁹`, `2^30`, `16k`,
`8 billion`; decimal and binary bytes; rates (`GB/s`, `tokens per second`), amounts per token
(`KiB a token`), ratios (`1.3x`, `32 %`), and counted things (tokens, blocks, steps, devices).
A number before any other word is a bare count. A product is not worked out: write its result.

`8B parameters` are eight billion of them; `8B` alone are eight bytes. `KB` is read as kB, a
thousand: whoever means 1,024 writes KiB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from book.quantities.units import UNITS, Unit

COUNT = UNITS[""]
#: The table spells it with the Greek letter, keyboards write the micro sign.
MICRO = next(symbol for symbol in UNITS if UNITS[symbol] == Unit(symbol, "time", 1e-6))
#: Counted things and spellings that a page of the book does not print, but an answer may use.
EXTRA = [
    Unit("device", "device", plural="devices"),
    Unit("replica", "replica", plural="replicas"),
    Unit("node", "node", plural="nodes"),
    Unit("PFLOP", "operations", 1e15),
    Unit("PB", "bytes", 1e15),
    Unit("d", "time", 86_400),
]
_BASE = {**UNITS, **{unit.symbol: unit for unit in EXTRA}}

_SPELLINGS: dict[str, str] = {
    "byte": "B", "bytes": "B", "KB": "kB", "kb": "kB", "mb": "MB", "gb": "GB", "tb": "TB",
    "kib": "KiB", "mib": "MiB", "gib": "GiB", "tib": "TiB",
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "msec": "ms", "millisecond": "ms", "milliseconds": "ms",
    "us": MICRO, "\N{MICRO SIGN}s": MICRO, "microsecond": MICRO, "microseconds": MICRO,
    "nanosecond": "ns", "nanoseconds": "ns",
    "mins": "min", "minute": "min", "minutes": "min",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d",
    "tok": "token", "toks": "token", "req": "request", "reqs": "request",
    "params": "parameter", "param": "parameter", "weights": "parameter",
    "GPU": "device", "GPUs": "device", "gpu": "device", "gpus": "device",
    "FLOPs": "FLOP", "flop": "FLOP", "flops": "FLOP", "ops": "FLOP", "operations": "FLOP",
    "operation": "FLOP",
    "percent": "%", "per cent": "%", "times": "×", "-fold": "×", "fold": "×",
}  # fmt: skip
_RATES = {"FLOPS": "FLOP/s", "tps": "tok/s", "rps": "req/s", "qps": "req/s"}
#: What may stand over what: (family over, family under) → the family and the base units under it.
_COMPOUND = {
    ("bytes", "time"): "bytes a second",
    ("operations", "time"): "operations a second",
    ("token", "time"): "tokens a second",
    ("request", "time"): "requests a second",
    ("bytes", "token"): "bytes a token",
    ("operations", "token"): "operations a token",
    ("operations", "bytes"): "operations a byte",
}


def _simple() -> dict[str, Unit]:
    known: dict[str, Unit] = {}
    for unit in _BASE.values():
        if unit.symbol and "/" not in unit.symbol:
            known[unit.symbol] = unit
            if unit.plural:
                known[unit.plural] = unit
    for spelling, symbol in _SPELLINGS.items():
        known[spelling] = _BASE[symbol]
    for prefix, factor in (("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15)):
        known[f"{prefix}FLOPs"] = Unit(f"{prefix}FLOP", "operations", factor)
        known[f"{prefix}FLOPS"] = Unit(f"{prefix}FLOP/s", "operations a second", factor)
        known[f"{prefix}bit"] = Unit(f"{prefix}bit", "bytes", factor / 8)
    for spelling, symbol in _RATES.items():
        known[spelling] = UNITS.get(symbol) or Unit(symbol, "operations a second")
    return known


_SIMPLE = _simple()
_LONGEST_FIRST = sorted(set(_SIMPLE) - {"%", "×"}, key=len, reverse=True)
_UNIT = re.compile(
    rf"(?:{'|'.join(map(re.escape, _LONGEST_FIRST))})(?![A-Za-z])|[%×]|x(?![A-Za-z])"
)
_OVER = re.compile(r"[ \u00a0\u202f]*/[ \u00a0\u202f]*|\s+per\s+|\s+an?\s+|\s+each\s+")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_POWER = r"(?:(?:\^|\*\*)[({]?(?P<NAME>-?\d{1,3})[)}]?|(?P<NAMEs>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}))"
_NUMBER = re.compile(
    r"(?<![\w.])(?P<digits>\d{1,3}(?:[,_ \u00a0\u202f\u2009]\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d+(?:\.\d+)?|\.\d+)(?P<exponent>[eE][+-]?\d{1,3})?"
    + _POWER.replace("NAME", "p")
    + r"?(?:\s*[×x*·]\s*10"
    + _POWER.replace("NAME", "t")
    + r")?(?![\d])"
)
_SCALE = re.compile(
    r"[ \u00a0\u202f]*(?:(?P<word>thousand|million|billion|trillion|bn)\b"
    r"|(?P<billions>B)(?=[ -]*(?:param|weight|model))"
    r"|(?P<letter>[kKM])(?![A-Za-z]))"
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "bn": 1e9, "trillion": 1e12}
_NAME_BEFORE = re.compile(r"(?:[A-Za-z]-(?:[\d.]+-)?|[A-Za-z]\.|[#@§$])\Z")
_GAP = re.compile(r"[ \u00a0\u202f\u2009-]?")


@dataclass(frozen=True)
class Amount:
    r"""One number of an answer with what it measures; `value` is in `unit`.

    `over` is the unit before "a token" or "per step", where the whole is read as such: 128 KiB a
    token also are 128 KiB.
    """

    value: float
    unit: Unit
    text: str
    start: int
    over: Unit | None = None

    @property
    def base(self) -> float:
        r"""The value in the base unit of its family: bytes, seconds, operations."""
        return self.value * self.unit.factor


def is_counted(unit: Unit) -> bool:
    r"""Whether the unit is a thing that one counts: tokens, blocks, requests, devices."""
    return unit.family == unit.symbol


def amounts(text: str) -> Iterator[Amount]:
    r"""All amounts of a text, in order. Names with numbers in them (`p99`, `Llama-3-8B`) are none.

    Never fails: what cannot be read as a finite number is no amount.
    """
    for match in _NUMBER.finditer(text):
        if _NAME_BEFORE.search(text, max(0, match.start() - 16), match.start()):
            continue
        value = _value(match)
        if value is None:
            continue
        end = match.end()
        scale = _SCALE.match(text, end)
        if scale:
            value *= _SCALES.get(scale["word"] or "", 0) or (
                1e9 if scale["billions"] else 1e6 if scale["letter"] == "M" else 1e3
            )
            end = scale.end()
        unit, over, end = _unit(text, end)
        if math.isfinite(value * unit.factor):
            yield Amount(value, unit, text[match.start() : end].strip(), match.start(), over)


def _value(match: re.Match[str]) -> float | None:
    digits = re.sub(r"[,_ \u00a0\u202f\u2009]", "", match["digits"])
    try:
        value = float(digits + (match["exponent"] or ""))
        power = match["p"] or (match["ps"] or "").translate(_SUPERSCRIPTS)
        if power:
            value = value ** int(power)
        tens = match["t"] or (match["ts"] or "").translate(_SUPERSCRIPTS)
        if tens:
            value *= 10.0 ** int(tens)
    except (OverflowError, ZeroDivisionError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _unit(text: str, end: int) -> tuple[Unit, Unit | None, int]:
    """The unit that begins at `end`, what stands over its stroke, and where it ends."""
    gap = _GAP.match(text, end)
    at = gap.end() if gap else end
    if text.startswith("-", end) and not text.startswith("-fold", end):
        # `8-bit` and `5-10 ms`: the first number has no unit; `64-token chunk` has one.
        if not re.match(r"-(?:tokens?|blocks?|steps?)\b", text[end : end + 8]):
            return COUNT, None, end
    elif text.startswith("-fold", end):
        at = end
    match = _UNIT.match(text, at)
    if match is None:
        return COUNT, None, end
    if match[0] in {"x", "×"}:
        # Between two numbers it is a product, unless it stands close to the first (`1.3x 5`).
        close = at == end and text[match.end() : match.end() + 1].isspace()
        if not close and re.match(r"\s*[\d(]", text[match.end() :]):
            return COUNT, None, end
        return UNITS["×"], None, match.end()
    unit = _SIMPLE[match[0]]
    stroke = _OVER.match(text, match.end())
    below = _UNIT.match(text, stroke.end()) if stroke else None
    if below is None or below[0] in {"x", "×", "%"}:
        return unit, None, match.end()
    under = _SIMPLE[below[0]]
    family = _COMPOUND.get((unit.family, under.family))
    if family is None:
        return unit, None, match.end()
    factor = unit.factor / under.factor
    known = (u for u in _BASE.values() if u.family == family and u.factor == factor)
    whole = next(known, None) or Unit(f"{unit.symbol}/{under.symbol}", family, factor)
    return whole, unit if under.family == "token" else None, below.end()


def unit_named(symbol: str) -> Unit | None:
    r"""The unit of a symbol as data files write it (`GiB`, `tok/s`, `devices`), or none."""
    found = next(amounts(f"1 {symbol}"), None)
    return found.unit if found and found.text == f"1 {symbol}" else None
