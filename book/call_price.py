r"""What does it cost to *ask*, on this machine? Calls that compute nothing to speak of, timed.

Two measurements, both of the host alone:

- **chains** of calls of several lengths, and the slope of the line through their times: what one
  call of its kind costs, with whatever is paid once left out;
- a **sum** over more and more numbers, call by call: as long as the price of the call hides the
  work, its time does not grow.

And one check: the pieces of the book's model, all that it does between its attentions, have a known
number of operations ({py:mod}`mini_vllm.compilation.recorded_graph` counts them). Their time over
that number is what an operation of a real step costs, work included.

```console
$ python -m book.call_price        # about a minute; writes book/measurements/call-price.json
```

A GPU's launches are another price, on another clock: {doc}`/book/reference/gpu`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from book.measurements import record
from mini_vllm.compilation.dispatcher import BatchDescriptor
from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.config.compilation import CompilationConfig
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.executor import Executor
from mini_vllm.layers.norm import RMSNorm

CHECKPOINT = Path(__file__).parent / "model" / "checkpoint"
CHAINS = (50, 100, 200, 400)
WIDTHS = tuple(4**power for power in range(1, 11))
RUNS = 101
BATCHES = (1, 4, 16, 64)


def median_times(calls: Mapping[Any, Callable[[], object]], runs: int = RUNS) -> dict[Any, float]:
    r"""The median time of each call, in seconds. They take turns and share a noisy moment."""
    times: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(5):
        for call in calls.values():
            call()
    for _ in range(runs):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {name: float(np.median(ones)) for name, ones in times.items()}


def slope(counts: Sequence[int], seconds: Sequence[float]) -> float:
    r"""Seconds a call: of the line through the points with the least squares."""
    return float(np.polyfit(counts, seconds, 1)[0])


def chained(call: Callable[[], object], count: int) -> Callable[[], None]:
    r"""A function that makes `count` calls."""

    def chain() -> None:
        for _ in range(count):
            call()

    return chain


def prices() -> dict[str, float]:
    r"""Microseconds of one call, by kind, cheapest kind of asking first."""
    x, y, w = torch.ones(64), torch.empty(64), torch.ones(64, 64)
    row, numbers, norm = torch.ones(1, 64), np.ones(64), RMSNorm(64, 1e-6)
    torch.nn.init.ones_(norm.weight)
    kinds: dict[str, Callable[[], object]] = {
        "an empty Python function": lambda: None,
        "numpy, a + a": lambda: numbers + numbers,
        "torch, a + a into a given tensor": lambda: torch.add(x, x, out=y),
        "torch, a + a": lambda: x + x,
        "torch, a row by a small matrix": lambda: row @ w,
        "torch, the norm of a row": lambda: torch.rsqrt(row.pow(2).mean(-1, keepdim=True)) * row,
    }
    found = {}
    for name, call in kinds.items():
        times = median_times({count: chained(call, count) for count in CHAINS})
        found[name] = round(1e6 * slope(CHAINS, [times[count] for count in CHAINS]), 3)
    return found


def widths() -> list[float]:
    r"""Microseconds of one `torch.add` into a given tensor, for each of {py:data}`WIDTHS`."""
    calls = {}
    for width in WIDTHS:
        x, y = torch.ones(width), torch.empty(width)
        calls[width] = chained(lambda x=x, y=y: torch.add(x, x, out=y), 20)  # type: ignore[misc]
    times = median_times(calls)
    return [round(1e6 * times[width] / 20, 3) for width in WIDTHS]


def steps() -> list[dict[str, float]]:
    r"""For each batch: operations of the model's pieces, and their median time, one by one.

    The operations are those of the recorded graphs; a view is none, since it computes nothing.
    """
    compilation = {
        "cudagraph_mode": "PIECEWISE",
        "cudagraph_stand_in": True,
        "cudagraph_capture_sizes": BATCHES,
    }
    model = ModelConfig.from_checkpoint(CHECKPOINT, dtype="float32", max_model_len=64)
    most = max(BATCHES)
    config = EngineConfig(
        model_config=model,
        scheduler_config=SchedulerConfig(
            max_model_len=64, max_num_seqs=most, max_num_batched_tokens=most
        ),
        cache_config=CacheConfig(block_size=16, num_gpu_blocks=2 * most),
        device="cpu",
        attention_backend="torch_reference",
        compilation_config=CompilationConfig.from_value(compilation),
    )
    core = EngineCore(config, Executor(config))
    runner = core.executor.model_runner.graph_runner  # type: ignore[attr-defined]
    pieces = (runner.pieces.begin, *runner.pieces.between, runner.pieces.end)
    rows = []
    for batch in BATCHES:
        graphs = [piece.entries[BatchDescriptor(batch)].graph for piece in pieces]
        compute = [one for graph in graphs for one in graph.operations if one.kind != "view"]

        def one_by_one(operations: list[Any] = compute) -> None:
            for one in operations:
                one.function(*one.args, **one.kwargs)

        with torch.no_grad():
            seconds = median_times({batch: one_by_one})[batch]
        rows.append(
            {
                "batch": batch,
                "operations": len(compute),
                "us": round(1e6 * seconds, 1),
            }
        )
    return rows


def main() -> int:
    """Measure, write, and print."""
    torch.set_num_threads(1)
    with torch.no_grad():
        values = {"prices_us": prices(), "widths": WIDTHS, "add_us": widths(), "steps": steps()}
    path = record(
        "call-price",
        what="What a call costs on the host: slopes of chains of calls, a sum by its width, and "
        "the operations of the book's model without attention one by one, on one thread.",
        command="python -m book.call_price",
        values=values,
        runs=RUNS,
    )
    print(path.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
