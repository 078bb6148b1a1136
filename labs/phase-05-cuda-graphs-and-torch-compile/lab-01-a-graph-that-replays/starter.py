r"""A toy device with memory and kernels, and graphs of launches that can be replayed on it.

Memory is a row of cells. A *kernel* reads some stretches of cells and writes one, all of the same
size. The host *launches* kernels one at a time. While a capture is on, a launch is written down and
not run. A *graph* is such a list: kernels, addresses, sizes and plain numbers, as they were when it
was captured. To replay it is one launch of the host.

Memory is handed out from *pools*. What is released goes back to the pool that it came from, and
only that pool hands it out again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

#: What the kernels compute, from stretches of cells and plain numbers.
KERNELS: dict[str, Callable[..., np.ndarray]] = {
    "copy": lambda x: x,
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "scale": lambda x, by: x * by,
    "shift": lambda x, by: x + by,
}

EAGER = "eager"


class CaptureError(RuntimeError):
    r"""Something was asked of the device that a capture cannot do, or cannot do twice."""


class Tensor(NamedTuple):
    r"""A stretch of cells."""

    address: int
    size: int


class Launch(NamedTuple):
    r"""One launch, with everything that the device needs to run it."""

    kernel: str
    out: Tensor
    inputs: tuple[Tensor, ...]
    numbers: tuple[float, ...]


class Graph(NamedTuple):
    r"""What a capture has written down, and the tensor that the captured function returned."""

    launches: list[Launch]
    output: Tensor


class Device:
    r"""Memory, kernels, and a count of how often the host had to launch something."""

    def __init__(self, num_cells: int = 4096) -> None:
        self.cells = np.full(num_cells, np.nan)
        self.host_launches = 0
        #: What has been written down since the capture began; `None` when there is none.
        self.captured: list[Launch] | None = None
        #: The pool from which `empty` takes its cells.
        self.pool = EAGER
        self.free: dict[str, list[Tensor]] = {}
        #: By address: the stretch that begins there, and the pool that it belongs to.
        self.stretches: dict[int, tuple[str, Tensor]] = {}
        self.num_used = 0

    # ---------------------------------------------------------------- memory, given

    def empty(self, size: int) -> Tensor:
        r"""Cells from the current pool: the first that were released and suffice, or fresh ones."""
        released = self.free.setdefault(self.pool, [])
        for place, stretch in enumerate(released):
            if stretch.size >= size:
                return Tensor(released.pop(place).address, size)
        fresh = Tensor(self.num_used, size)
        self.num_used += size
        self.stretches[fresh.address] = self.pool, fresh
        return fresh

    def release(self, tensor: Tensor) -> None:
        r"""Give cells back to the pool that they came from. What they hold stays there, for now."""
        pool, stretch = self.stretches[tensor.address]
        self.free.setdefault(pool, []).append(stretch)

    def write(self, tensor: Tensor, values: Sequence[float]) -> None:
        r"""Copy numbers of the host into the first cells of a tensor; not in a capture."""
        self._at_once("write")
        if len(values) > tensor.size:
            raise ValueError(f"{len(values)} numbers into a tensor of {tensor.size}")
        self.cells[tensor.address : tensor.address + len(values)] = values

    def read(self, tensor: Tensor) -> list[float]:
        r"""Copy a tensor to the host; not in a capture, since nothing has been computed yet."""
        self._at_once("read")
        return self.cells[tensor.address : tensor.address + tensor.size].tolist()

    def _at_once(self, what: str) -> None:
        if self.captured is not None:
            raise CaptureError(f"cannot {what} while a capture is on: the kernels have not run")

    # ---------------------------------------------------------------- launches

    def run(self, launch: Launch) -> None:
        r"""Given: what the device itself does for one launch."""
        stretches = [self.cells[t.address : t.address + t.size] for t in launch.inputs]
        result = KERNELS[launch.kernel](*stretches, *launch.numbers)
        self.cells[launch.out.address : launch.out.address + launch.out.size] = result

    def launch(
        self, kernel: str, out: Tensor, *inputs: Tensor, numbers: Sequence[float] = ()
    ) -> None:
        r"""Have the device run a kernel; while a capture is on, write it down instead.

        A launch that runs counts as one of the host's. All tensors must have the size of `out`,
        else `ValueError`, in a capture as well.
        """
        # TODO task 1: launch, or write down
        raise NotImplementedError("task 1: launch, or write down")


def capture(device: Device, function: Callable[[], Tensor], pool: str) -> Graph:
    r"""Call a function once, write its launches down, and run none of them.

    What it allocates comes from `pool`, so that nobody else is given cells that the graph will
    write to for as long as it lives. When it returns, or raises, the device is as it was before: no
    capture, the pool that was current. A capture within a capture is a {py:class}`CaptureError`.
    """
    # TODO task 2: capture
    raise NotImplementedError("task 2: capture")


def replay(device: Device, graph: Graph) -> Tensor:
    r"""Run everything that was written down, in order, as one launch of the host.

    Returns the graph's output; the next replay overwrites it. Not possible in a capture
    ({py:class}`CaptureError`).
    """
    # TODO task 3: replay
    raise NotImplementedError("task 3: replay")


def first_difference(one: Graph, other: Graph) -> str | None:
    r"""What two captures of one function disagree on, by their first launch that differs.

    `"kernel"`: another kernel, and a branch of the host was frozen. `"count"`: one has more
    launches. `"size"`, `"address"`: a tensor, of the inputs or the output, is larger or elsewhere.
    `"number"`: a number of the host was frozen. In this order, if a launch differs in several.
    `None` if they agree.
    """
    # TODO task 4: find what was frozen
    raise NotImplementedError("task 4: find what was frozen")


class GraphRunner:
    r"""A model behind graphs of a few batch sizes.

    `model(device, x)` launches kernels on a tensor of inputs, one number a request, and returns a
    tensor of outputs of the same size. It works row by row: what stands in other rows does not
    change a row's result.
    """

    def __init__(
        self, device: Device, model: Callable[[Device, Tensor], Tensor], sizes: Sequence[int]
    ) -> None:
        r"""Capture the model once for each size, all in one pool.

        The largest comes first: the others then find its cells in the pool, and need none of their
        own.

        All graphs read their inputs from the first cells of one buffer, which is as large as the
        largest size and belongs to no graph's pool. A tensor of the first cells is
        `Tensor(buffer.address, size)`. What the model returned is released when its graph has been
        captured, as only one graph runs at a time.
        """
        self.device, self.model = device, model
        # TODO task 5: capture every size
        raise NotImplementedError("task 5: capture every size")

    def step(self, values: Sequence[float]) -> list[float]:
        r"""The model's outputs for a batch, one for each value.

        By the graph of the smallest size that holds it, with zeros in the rows that are left; by
        the model itself, launch by launch and on tensors that are released again, if no graph is
        large enough.
        """
        # TODO task 6: run a batch
        raise NotImplementedError("task 6: run a batch")


def small_model(device: Device, x: Tensor, layers: int = 3) -> Tensor:
    r"""Given: `x -> x * x * 0.5 + x`, several times; it releases what it does not need any more."""
    inputs = x
    for _ in range(layers):
        square = device.empty(x.size)
        device.launch("multiply", square, x, x)
        half, out = device.empty(x.size), device.empty(x.size)
        device.launch("scale", half, square, numbers=[0.5])
        device.launch("add", out, half, x)
        device.release(square)
        device.release(half)
        if x is not inputs:
            device.release(x)
        x = out
    return x


def main() -> None:
    r"""Print what a decode step costs the host, and what a graph has frozen."""
    device = Device()
    eager = GraphRunner(device, small_model, [1])
    eager.graphs.clear()
    graphs = GraphRunner(device, small_model, [1, 2, 4, 8])
    print(f"{'batch':<8}{'launches, eager':>17}{'launches, graph':>17}{'rows computed':>15}")
    for batch in (1, 3, 5, 8, 9):
        counts = []
        for runner in (eager, graphs):
            before = device.host_launches
            runner.step([0.5] * batch)
            counts.append(device.host_launches - before)
        rows = min((size for size in graphs.graphs if size >= batch), default=batch)
        print(f"{batch:<8}{counts[0]:>17}{counts[1]:>17}{rows:>15}")

    x, knob = device.empty(2), {"by": 3.0}

    def scaled() -> Tensor:
        out = device.empty(2)
        device.launch("scale", out, x, numbers=[knob["by"]])
        return out

    graph = capture(device, scaled, "mine")
    device.write(x, [1.0, 2.0])
    knob["by"] = 10.0
    told = device.read(replay(device, graph))
    device.release(graph.output)
    print("\ncaptured with 3, the host says 10 now, and the graph:", told)
    print(
        "what two captures disagree on:", first_difference(graph, capture(device, scaled, "mine"))
    )


if __name__ == "__main__":
    main()
