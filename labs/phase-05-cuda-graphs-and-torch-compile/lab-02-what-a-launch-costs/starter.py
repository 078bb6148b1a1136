r"""Two clocks: the host that launches and the device that computes. Which of them is a step?

The host launches kernels one after the other, and each launch takes it a little time. It does not
wait for the device. The device runs kernels in order, one at a time, each as soon as it has been
launched and the one before is over, and a short *gap* after that. All times are in microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Kernel(NamedTuple):
    r"""One kernel of a step: bytes that do not depend on the batch (weights), and per row.

    `reads` and `writes` are bytes per row; `fusible` says that it works number by number, so that
    it may be computed together with a neighbour of that kind.
    """

    name: str
    weights: float
    reads: float
    writes: float
    fusible: bool = False


class Device(NamedTuple):
    r"""Bytes per microsecond, and the least time that a kernel takes, however small."""

    bandwidth: float
    shortest: float


class Span(NamedTuple):
    r"""When a kernel ran on the device."""

    start: float
    end: float


def duration(kernel: Kernel, rows: int, device: Device) -> float:
    r"""How long a kernel takes on the device: its bytes by the bandwidth, and never less than the
    shortest.
    """
    # TODO task 1: how long a kernel takes
    raise NotImplementedError("task 1: how long a kernel takes")


def timeline(durations: Sequence[float], launch: float, gap: float) -> list[Span]:
    r"""When each kernel runs, if the host takes `launch` for each and begins at 0.

    A kernel can start when the host has finished launching it, and not before the one in front of
    it has been over for `gap`.
    """
    # TODO task 2: two clocks
    raise NotImplementedError("task 2: two clocks")


def idle(spans: Sequence[Span]) -> float:
    r"""How long the device has nothing to do, from time 0 until its last kernel has ended."""
    # TODO task 3: who waits for whom
    raise NotImplementedError("task 3: who waits for whom")


def ahead(spans: Sequence[Span], launch: float) -> float:
    r"""How far ahead the host is when it has launched everything: what the device still has to do.

    That is the time in which the host can prepare the next step for nothing.
    """
    # TODO task 3: who waits for whom
    raise NotImplementedError("task 3: who waits for whom")


def as_graph(durations: Sequence[float], launch: float, gap: float) -> list[Span]:
    r"""The same kernels as one graph: the host launches once, the device goes on by itself.

    The gap between two kernels is that of a graph here.
    """
    # TODO task 4: one launch for all
    raise NotImplementedError("task 4: one launch for all")


def fused(kernels: Sequence[Kernel]) -> list[Kernel]:
    r"""The same step with neighbours that are fusible made into one kernel.

    What one of them writes is what the next one reads: it stays in registers, so the new kernel
    reads what the first one reads and writes what the last one writes. Weights add up, names are
    joined by `+`. Kernels that are not fusible stay as they are, and so do lonely ones.
    """
    # TODO task 5: fewer kernels
    raise NotImplementedError("task 5: fewer kernels")


def where_a_graph_stops_paying(
    kernels: Sequence[Kernel],
    device: Device,
    launch: float,
    gaps: tuple[float, float],
    share: float,
    most: int,
) -> int | None:
    r"""The smallest number of rows, up to `most`, at which a graph saves less than `share`.

    A step lasts until its last kernel has ended; the share is of the step without a graph. `gaps`
    are the two, launched one by one and in a graph. `None` if it saves as much at every size.
    """
    # TODO task 6: from which batch on
    raise NotImplementedError("task 6: from which batch on")


def price_of_a_call(counts: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    r"""From times of chains of calls: what one call costs, and what there is besides, in seconds.

    `seconds[i]` was measured for a chain of `counts[i]` calls. The line through the points with the
    least squares has the two as its slope and its value at 0.
    """
    # TODO task 7: measure it
    raise NotImplementedError("task 7: measure it")


def measured(call: Callable[[], object], counts: Sequence[int], repeats: int = 31) -> list[float]:
    r"""Given: the median time of chains of calls, in seconds; the lengths take turns."""
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count in counts:
            begin = time.perf_counter()
            for _ in range(count):
                call()
            times[count].append(time.perf_counter() - begin)
    return [float(np.median(times[count])) for count in counts]


def a_step(layers: int, hidden: int) -> list[Kernel]:
    r"""Given: a decoder's step in two bytes a number, kernel by kernel; attention left out."""
    row, square = 2.0 * hidden, 2.0 * hidden * hidden
    layer = [
        Kernel("add", 0, 2 * row, row, fusible=True),
        Kernel("norm", row, row, row, fusible=True),
        Kernel("qkv", 1.5 * square, row, 1.5 * row),
        Kernel("rope", 0, 1.5 * row, 1.5 * row, fusible=True),
        Kernel("o", square, row, row),
        Kernel("add", 0, 2 * row, row, fusible=True),
        Kernel("norm", row, row, row, fusible=True),
        Kernel("up", 6 * square, row, 6 * row),
        Kernel("silu", 0, 6 * row, 3 * row, fusible=True),
        Kernel("down", 3 * square, 3 * row, row),
    ]
    return layer * layers


def main() -> None:
    r"""Print where a step's time goes for some models, as launched, fused, as a graph, and both."""
    device, launch, gaps = Device(bandwidth=3.35e6, shortest=2.0), 5.0, (1.0, 0.5)
    print(
        "microseconds of a step of 16 rows, of which idle, and the largest batch at which a graph"
    )
    print("saves a tenth; a launch takes 5, a gap 1 and 0.5 in a graph, a kernel at least 2\n")
    heads = ("step", "idle", "fused", "graph", "both", "saves up to")
    print(
        f"{'hidden':<8}{'kernels':>8}"
        + "".join(f"{head:>9}" for head in heads[:-1])
        + f"{heads[-1]:>13}"
    )
    for hidden in (512, 1024, 2048, 4096, 8192):
        kernels = a_step(28, hidden)
        ends = []
        for shape in (kernels, fused(kernels)):
            durations = [duration(kernel, 16, device) for kernel in shape]
            ends.append(timeline(durations, launch, gaps[0]))
            ends.append(as_graph(durations, launch, gaps[1]))
        step, graph, small, both = ends
        cells = [f"{step[-1].end:.0f}", f"{idle(step) / step[-1].end:.0%}"]
        cells += [f"{spans[-1].end:.0f}" for spans in (small, graph, both)]
        until = where_a_graph_stops_paying(kernels, device, launch, gaps, 0.1, 4096)
        saves = "> 4096 rows" if until is None else f"{until - 1} rows"
        print(f"{hidden:<8}{len(kernels):>8}" + "".join(f"{c:>9}" for c in cells) + f"{saves:>13}")


if __name__ == "__main__":
    main()
