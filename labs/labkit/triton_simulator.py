r"""A kernel language in two hundred lines: enough of Triton to write the labs' kernels in NumPy.

Same names, same meaning, for the part that the labs use; a kernel that runs here runs unchanged in
Triton. It is stricter where Triton would be silent: an address outside of an array is an error and
not a crash, a masked load without `other` gives `NaN`, and two stores into one place by different
programs are an error, since on a device either may win.

Like a device it never warns: what is divided by zero is infinite or `NaN`, and goes on as such.

Programs run one after the other. What they would do at the same time, and how fast, cannot be
learned here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np


class KernelError(IndexError):
    r"""A kernel did what would crash, hang or corrupt memory on a device."""


class Pointer:
    r"""An array seen as memory, and one or many places in it."""

    __array_ufunc__ = None  # so that `offsets + pointer` comes here

    def __init__(self, name: str, memory: np.ndarray, places: Any = 0) -> None:
        self.name, self.memory, self.places = name, memory, places

    def __add__(self, offset: Any) -> Pointer:
        if np.asarray(offset).dtype.kind not in "iu":
            raise KernelError(f"{self.name}: {offset!r} is no whole number of elements")
        return Pointer(self.name, self.memory, self.places + offset)

    __radd__ = __add__

    def at(self, mask: Any) -> tuple[np.ndarray, np.ndarray]:
        r"""Places and mask in one shape; an address that is used must be inside."""
        places, wanted = np.broadcast_arrays(self.places, True if mask is None else mask)
        if wanted.shape != np.shape(self.places):
            raise KernelError(f"{self.name}: a mask of {wanted.shape} for {np.shape(self.places)}")
        outside = wanted & ((places < 0) | (places >= self.memory.size))
        if outside.any():
            first = places[outside].flat[0]
            raise KernelError(f"{self.name}[{first}] of {self.memory.size} elements was asked for")
        return places, wanted.astype(bool)


class Running:
    r"""What the programs of one launch share: who runs, what was read, who wrote where."""

    def __init__(self) -> None:
        self.program: tuple[int, ...] = ()
        self.loaded: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self.multiplied = 0
        self.written: dict[tuple[str, int], tuple[int, ...]] = {}


_running: list[Running] = []


def _now() -> Running:
    if not _running:
        raise KernelError("this works inside a kernel only")
    return _running[-1]


class Kernel:
    r"""A function of the kernel language. `kernel[grid](…)` launches it; kernels call it plainly.

    `kernel.loaded` and `kernel.stored` say, after a launch, how many elements of each array were
    read and written, and `kernel.multiplied` how many products of two numbers `tl.dot` has formed.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.loaded: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self.multiplied = 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        _now()
        return self.fn(*arguments, **named)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*arguments: Any, **named: Any) -> None:
            names = self.fn.__code__.co_varnames
            given = dict(zip(names, arguments)) | named
            for name, value in given.items():
                if isinstance(value, np.ndarray):
                    if not value.flags.c_contiguous:
                        raise KernelError(f"{name} is not contiguous")
                    given[name] = Pointer(name, value.reshape(-1))
            running = Running()
            _running.append(running)
            try:
                with np.errstate(all="ignore"):
                    for program in np.ndindex(*grid):
                        running.program = program
                        self.fn(**given)
            finally:
                _running.pop()
            self.loaded, self.stored = running.loaded, running.stored
            self.multiplied = running.multiplied

        return launch


jit = Kernel


class tl:
    r"""The names that a kernel uses: Triton's `triton.language`, as far as the labs need it."""

    constexpr = object
    float16 = np.float16
    float32 = np.float32
    where = staticmethod(np.where)
    exp = staticmethod(np.exp)
    exp2 = staticmethod(np.exp2)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)

    @staticmethod
    def program_id(axis: int) -> int:
        r"""Which program of the grid this is, along an axis."""
        return _now().program[axis]

    @staticmethod
    def arange(start: int, end: int) -> np.ndarray:
        r"""Whole numbers; how many must be a power of two."""
        count = end - start
        if count < 1 or count & (count - 1):
            raise KernelError(f"arange({start}, {end}): {count} is not a power of two")
        return np.arange(start, end)

    @staticmethod
    def load(pointer: Pointer, mask: Any = None, other: Any = None) -> Any:
        r"""What stands at the places; where the mask is false, `other`."""
        places, wanted = pointer.at(mask)
        garbage = np.nan if pointer.memory.dtype.kind == "f" else -(10**9)
        found = np.full(places.shape, garbage if other is None else other, pointer.memory.dtype)
        found[wanted] = pointer.memory[places[wanted]]
        _now().loaded[pointer.name] += int(wanted.sum())
        return found if places.shape else found[()]

    @staticmethod
    def store(pointer: Pointer, value: Any, mask: Any = None) -> None:
        r"""Put the value at the places where the mask is true."""
        places, wanted = pointer.at(mask)
        running = _now()
        for place in places[wanted].flat:
            owner = running.written.setdefault((pointer.name, int(place)), running.program)
            if owner != running.program:
                raise KernelError(f"{pointer.name}[{place}] is written by two programs")
        pointer.memory[places[wanted]] = np.broadcast_to(value, places.shape)[wanted]
        running.stored[pointer.name] += int(wanted.sum())

    @staticmethod
    def zeros(shape: Any, dtype: Any) -> np.ndarray:
        r"""Zeros of a shape, which is a list or tuple."""
        return np.zeros(shape, dtype)

    @staticmethod
    def full(shape: Any, value: float, dtype: Any) -> np.ndarray:
        r"""One value, as often as the shape says."""
        return np.full(shape, value, dtype)

    @staticmethod
    def sum(tile: np.ndarray, axis: int) -> np.ndarray:
        r"""Sums along an axis."""
        return tile.sum(axis=axis)

    @staticmethod
    def max(tile: np.ndarray, axis: int) -> np.ndarray:
        r"""The largest along an axis."""
        return tile.max(axis=axis)

    @staticmethod
    def cast(tile: Any, dtype: Any) -> Any:
        r"""The same numbers in another type, rounded where it has fewer bits."""
        return np.asarray(tile).astype(dtype)

    @staticmethod
    def cdiv(number: Any, by: Any) -> Any:
        r"""The quotient of whole numbers, rounded up."""
        return -(-number // by)

    @staticmethod
    def trans(tile: np.ndarray) -> np.ndarray:
        r"""Rows and columns exchanged."""
        return tile.T

    @staticmethod
    def dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        r"""The product of two matrices, in float32 whatever they are.

        Both must be of one type, and what is summed over at least 16 numbers long, since a matrix
        unit takes no less. Zeros may fill it up; `NaN` times zero is `NaN`, here as there.
        """
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise KernelError(f"dot of {left.shape} and {right.shape}: no matrices that fit")
        if left.dtype != right.dtype:
            raise KernelError(f"dot of {left.dtype} and {right.dtype}: one type was expected")
        if left.shape[1] < 16:
            raise KernelError(f"dot sums over {left.shape[1]} numbers: 16 is the least")
        _now().multiplied += left.shape[0] * left.shape[1] * right.shape[1]
        return left.astype(np.float32) @ right.astype(np.float32)
