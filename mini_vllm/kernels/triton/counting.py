r"""Which bytes does a kernel really touch, and how often does it ask for each?

The interpreter knows: every load and every store passes through it with the addresses of its
elements and a mask. {py:func}`count_traffic` writes them down while a kernel runs, and keeps two
numbers for each direction. *Touched* is how many different bytes there were: what has to come from
memory at least once, and what a kernel's {py:class}`~mini_vllm.kernels.cost.KernelCost` claims.
*Asked* counts every request of every program. The second divided by the first is the kernel's faith
in the cache. A norm asks for each number of its input once and for its weight once a program; a
matrix product asks for each of its inputs once for every tile of the result that needs it.

Masked elements are not counted: no instruction is issued for them.

Imports Triton, in a process that interprets ({py:mod}`~mini_vllm.kernels.triton.availability`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from triton.runtime.interpreter import InterpreterBuilder

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.availability import is_interpreted


@dataclass
class Traffic:
    r"""The addresses that loads and stores went to, one array a request, with the bytes a piece."""

    loads: list[tuple[np.ndarray, int]] = field(default_factory=list)
    stores: list[tuple[np.ndarray, int]] = field(default_factory=list)

    @property
    def read_asked(self) -> int:
        """Bytes that programs asked for, repetitions counted."""
        return sum(at.size * width for at, width in self.loads)

    @property
    def read_touched(self) -> int:
        """Different bytes that were read."""
        return _different(self.loads)

    @property
    def written_asked(self) -> int:
        """Bytes that programs stored, repetitions counted."""
        return sum(at.size * width for at, width in self.stores)

    @property
    def written_touched(self) -> int:
        """Different bytes that were written."""
        return _different(self.stores)

    def equals(self, cost: KernelCost) -> bool:
        """Whether exactly the bytes that `cost` claims were touched."""
        return (self.read_touched, self.written_touched) == (cost.bytes_read, cost.bytes_written)


def _different(requests: list[tuple[np.ndarray, int]]) -> int:
    # Elements of one array do not overlap in part, so an element is known by its first byte.
    by_width: dict[int, list[np.ndarray]] = {}
    for at, width in requests:
        by_width.setdefault(width, []).append(at)
    return sum(np.unique(np.concatenate(at)).size * width for width, at in by_width.items())


@contextmanager
def count_traffic() -> Iterator[Traffic]:
    r"""Count what interpreted kernels load and store inside the block.

    Kernels run as they would without; atomics are not counted. Raises `RuntimeError` in a process
    that compiles its kernels, where nothing would pass by here.
    """
    if not is_interpreted():
        raise RuntimeError("traffic is counted by the interpreter: set TRITON_INTERPRET=1")
    traffic = Traffic()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def counted_load(self: Any, ptrs: Any, mask: Any, *rest: Any) -> Any:
        result = load(self, ptrs, mask, *rest)
        traffic.loads.append((_addresses(ptrs, mask), result.data.itemsize))
        return result

    def counted_store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        traffic.stores.append((_addresses(ptrs, mask), value.data.itemsize))
        return store(self, ptrs, value, mask, *rest)

    builder: Any = InterpreterBuilder
    builder.create_masked_load, builder.create_masked_store = counted_load, counted_store
    try:
        yield traffic
    finally:
        builder.create_masked_load, builder.create_masked_store = load, store


def _addresses(ptrs: Any, mask: Any) -> np.ndarray:
    at, on = np.broadcast_arrays(ptrs.data, mask.data)
    return at[on.astype(bool)].astype(np.uint64)
