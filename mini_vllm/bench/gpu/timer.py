r"""How long does a GPU work, when the call that asks for the work returns at once?

The device keeps time itself: an event before the work and one after it, both on its own queue, and
the difference is read when it has finished. Two things would spoil that. If the last turn left its
inputs in the device's second-level cache, the next turn would measure the cache; so an array larger
than the cache is written in between. And if the host is slower to ask than the device to work, the
events enclose waiting. A call of three Triton kernels takes the host longer than the device needs
to write that array once. So it is written as often as it takes ({py:func}`writes_ahead`), and while
the device is busy with it the host has asked for everything that is to be timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Protocol

#: Turns that are not counted: the first compiles, the next ones warm up.
WARM_UP = 3
#: More than the second-level cache of any device: 256 MiB.
_FLUSH_BYTES = 256 << 20


class Timer(Protocol):
    """Whoever can say how long work takes on a device."""

    def __call__(self, work: Callable[[], object], repeats: int) -> list[float]:
        """The seconds of each of `repeats` turns, after some that do not count."""


class CudaTimer:
    r"""Events on the current CUDA stream; the cache is emptied before each turn.

    Makes the array that empties it, and times the writing of it once.
    """

    def __init__(self) -> None:
        import torch

        self._flush = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")
        for _ in range(WARM_UP):
            self._flush.zero_()
        self._flush_s = median(self._turn(self._flush.zero_, 0) for _ in range(5))

    def __call__(self, work: Callable[[], object], repeats: int) -> list[float]:
        """See {py:class}`Timer`."""
        import torch

        asking = []
        for _ in range(WARM_UP):
            torch.cuda.synchronize()
            began = time.perf_counter()
            work()
            asking.append(time.perf_counter() - began)
        # The first call compiles; the quickest one is what asking takes.
        writes = writes_ahead(min(asking), self._flush_s)
        return [self._turn(work, writes) for _ in range(repeats)]

    def _turn(self, work: Callable[[], object], writes: int) -> float:
        import torch

        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(writes):
            self._flush.zero_()
        before.record()
        work()
        after.record()
        torch.cuda.synchronize()
        return before.elapsed_time(after) / 1e3


def writes_ahead(asking_s: float, write_s: float) -> int:
    r"""How often to write the array, so that the device is not done before the host has asked.

    Twice the host's time, and at least once. Raises `ValueError` for times that are not above 0.
    """
    if not asking_s > 0 or not write_s > 0:
        raise ValueError(f"times must be above 0, got {asking_s} s and {write_s} s")
    return max(1, math.ceil(2 * asking_s / write_s))


def middle(seconds: list[float]) -> float:
    r"""The median of at least three turns; raises `ValueError` for fewer, or for a time of 0."""
    if len(seconds) < 3:
        raise ValueError(f"a median of {len(seconds)} turns says nothing; take at least 3")
    if min(seconds) <= 0:
        raise ValueError(f"a turn took {min(seconds)} s: the clock is broken")
    return median(seconds)
