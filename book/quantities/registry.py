r"""The registry of computed numbers: a function, its unit, and where its inputs come from.

```python
@quantity("llama3-8b-kv-bytes-per-token", unit="B", source="config.json of Llama-3-8B")
def llama3_8b_kv_bytes_per_token() -> int:
    '''Keys and values that one token adds to the cache, all layers.'''
    return 2 * LLAMA3_8B.layers * LLAMA3_8B.kv_heads * LLAMA3_8B.head_dim * BF16_BYTES
```

The decorated function stays a plain function, so quantities call each other by name and a test can
call them too. A page prints one with {qty}, in its own unit or in another of the same family:
`llama3-8b-kv-bytes-per-token in KiB`, or `... in ms to 1` for one decimal.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from book.quantities.units import Unit, UnitError, unit, written

COMMANDS = {"lint", "__main__"}  # beside the modules with numbers
_REQUEST = re.compile(r"(?P<name>[a-z0-9-]+)(?:\s+in\s+(?P<unit>\S+))?(?:\s+to\s+(?P<digits>\d))?")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class QuantityError(LookupError):
    """A quantity that nobody computes, or one that does not compute to a finite number."""


@dataclass(frozen=True)
class Quantity:
    """A named number: computed when asked, never stored."""

    name: str
    unit: Unit
    source: str
    phases: tuple[int, ...]
    function: Callable[[], float]
    shown: Unit | None = None

    @property
    def description(self) -> str:
        """What the number is: the function's docstring, as one paragraph."""
        return " ".join((self.function.__doc__ or "").split())

    def value(self) -> float:
        """Compute it, in its own unit; refuse what fails and what is no finite number."""
        if self.name in _VALUES:
            return _VALUES[self.name]
        try:
            result = self.function()
        except Exception as problem:
            raise QuantityError(f"{self.name} does not compute: {problem!r}") from problem
        if isinstance(result, bool) or not isinstance(result, (int, float)):
            raise QuantityError(f"{self.name} computes {result!r}, which is no number")
        if not math.isfinite(result):
            raise QuantityError(f"{self.name} computes {result!r}")
        _VALUES[self.name] = result
        return result

    def text(self, shown: str | None = None, decimals: int | None = None) -> str:
        """The number as a page prints it: in the unit asked for, else in the one it prefers."""
        return written(self.value(), self.unit, unit(shown) if shown else self.shown, decimals)


_QUANTITIES: dict[str, Quantity] = {}
_VALUES: dict[str, float] = {}


def quantity(
    name: str, *, unit: str, source: str, phases: tuple[int, ...] = (), shown: str | None = None
) -> Callable[[Callable[[], float]], Callable[[], float]]:
    """Register the decorated function under `name`; names are unique and sources are required.

    The function returns the value in `unit`; pages print it in `shown` where they ask for none.
    """
    measured_in = unit_of(unit)
    preferred = unit_of(shown) if shown else None
    if preferred is not None and preferred.family != measured_in.family:
        raise QuantityError(f"{name}: {shown!r} measures {preferred.family}")
    if not _NAME.fullmatch(name):
        raise QuantityError(f"{name!r} is no name: lower case, digits and hyphens")
    if not source.strip():
        raise QuantityError(f"{name} has no source")

    def register(function: Callable[[], float]) -> Callable[[], float]:
        known = _QUANTITIES.get(name)
        if known is not None and known.function.__qualname__ != function.__qualname__:
            raise QuantityError(f"{name} is registered twice")
        if not (function.__doc__ or "").strip():
            raise QuantityError(f"{name} has no docstring to say what it is")
        _QUANTITIES[name] = Quantity(name, measured_in, source, tuple(phases), function, preferred)
        return function

    return register


def unit_of(symbol: str) -> Unit:
    """The unit of a symbol (a name that the decorator's own argument does not shadow)."""
    return unit(symbol)


@cache
def load() -> None:
    """Import every module beside this one, once, so that their quantities are registered."""
    package = importlib.import_module("book.quantities")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in COMMANDS:
            importlib.import_module(f"book.quantities.{module.name}")


def get(name: str) -> Quantity:
    """The quantity of that name; an unknown one is refused with its nearest neighbours."""
    if name not in _QUANTITIES:
        load()
    if name not in _QUANTITIES:
        import difflib

        near = difflib.get_close_matches(name, _QUANTITIES, n=3, cutoff=0.4)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise QuantityError(f"no quantity is named {name!r}{hint}")
    return _QUANTITIES[name]


def all_quantities(phase: int | None = None) -> Iterator[Quantity]:
    """All quantities by name, or those of one phase."""
    load()
    for name in sorted(_QUANTITIES):
        if phase is None or phase in _QUANTITIES[name].phases:
            yield _QUANTITIES[name]


def known(module: str, phase: int | None = None) -> list[Quantity]:
    """The quantities that one module, already imported, has registered, by name."""
    return [
        entry
        for _, entry in sorted(_QUANTITIES.items())
        if entry.function.__module__ == module and (phase is None or phase in entry.phases)
    ]


def remember_values(known: dict[str, float]) -> None:
    """Take over values that were computed before by the very same code."""
    _VALUES.update(known)


def known_values() -> dict[str, float]:
    """The values computed or taken over so far."""
    return dict(_VALUES)


def printed(request: str) -> str:
    """What `{qty}` prints for `name`, `name in unit` or `name in unit to decimals`."""
    match = _REQUEST.fullmatch(request.strip())
    if match is None:
        raise QuantityError(f"{request!r} is not of the form: name [in unit] [to decimals]")
    digits = int(match["digits"]) if match["digits"] else None
    try:
        return get(match["name"]).text(match["unit"], digits)
    except UnitError as problem:
        raise QuantityError(f"{match['name']}: {problem}") from problem
