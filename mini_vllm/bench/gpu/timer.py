r"""How long does a GPU work, when the call that asks for the work returns at once?

The device keeps time itself: an event before the work and one after it, both on its own queue, and
the difference is read when it has finished. Two things would spoil that. If the last turn left its
inputs in the device's second-level cache, the next turn would measure the cache; so an array larger
than the cache is written in between. And if the host is slower to ask than the device to work, the
events enclose waiting; but while the device is still busy with that array, the host is already
ahead.
"""

from __future__ import annotations

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
    """Events on the current CUDA stream; the cache is emptied before each turn."""

    def __init__(self) -> None:
        import torch

        self._flush = torch.empty(_FLUSH_BYTES, dtype=torch.uint8, device="cuda")

    def __call__(self, work: Callable[[], object], repeats: int) -> list[float]:
        """See {py:class}`Timer`."""
        import torch

        for _ in range(WARM_UP):
            work()
        pairs = []
        for _ in range(repeats):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            self._flush.zero_()
            before.record()
            work()
            after.record()
            pairs.append((before, after))
        torch.cuda.synchronize()
        return [before.elapsed_time(after) / 1e3 for before, after in pairs]


def middle(seconds: list[float]) -> float:
    r"""The median of at least three turns; raises `ValueError` for fewer, or for a time of 0."""
    if len(seconds) < 3:
        raise ValueError(f"a median of {len(seconds)} turns says nothing; take at least 3")
    if min(seconds) <= 0:
        raise ValueError(f"a turn took {min(seconds)} s: the clock is broken")
    return median(seconds)
