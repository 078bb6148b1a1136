r"""What must be in order before a device writes down what it is asked to do?

Three things, each of which fails late if it is missing.

**A side stream.** A stream is a queue of work on the device. Capture watches one, and must see all
that the function launches and nothing else. CUDA's default stream cannot be captured, so torch
opens one of its own.

**A run before.** On its first call a library may choose an algorithm, take a workspace or load
code; a compiler compiles. Some of that is forbidden in a capture, and none of it belongs into a
record. So each function is run once or more before it is captured, on a side stream too, as torch's
documentation shows it.

**One pool.** A graph keeps the memory in which it computes for as long as it lives, since those
addresses are in the record. With a pool for each, thirty sizes would need thirty such areas. But no
two graphs run at once, so they may share one, if nobody keeps a result of one while another runs.
The largest is captured first. What it took is then free for the next, which need less.

Not run yet on a device in this book's environment; the tests marked `gpu` do, where there is one.
Upstream: {up}`vllm/compilation/cuda_graph.py#CUDAGraphWrapper.__call__` and
{up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.capture_model`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class DeviceGraphs:
    r"""Makes graphs on a CUDA device that share one pool of memory.

    The counterpart without a device:
    {py:class}`~mini_vllm.compilation.recorded_graph.RecordedGraphs`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.num_bytes = 0

    def capture(
        self, key: Hashable, function: Callable[[], Any]
    ) -> tuple[Any, torch.cuda.CUDAGraph]:
        """Capture `function`; what it returned (written anew by each replay), and the graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            result = function()
        return result, graph

    def replay(self, key: Hashable, graph: torch.cuda.CUDAGraph) -> None:
        """Launch the whole graph with one call."""
        graph.replay()

    @contextmanager
    def capturing(self) -> Iterator[None]:
        r"""Around all captures: no garbage collection in between, and the memory counted.

        One collection before all of them is enough; one at each makes capturing
        {up}`very slow <vllm/compilation/cuda_graph.py#CUDAGraphWrapper.__call__@"across layers">`.
        Upstream freezes the collector, too:
        {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.capture_model@"_freeze_gc()"`.
        """
        torch.cuda.synchronize(self.device)
        gc.collect()
        torch.cuda.empty_cache()
        free_before, _ = torch.cuda.mem_get_info(self.device)
        enabled = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if enabled:
                gc.enable()
            torch.cuda.synchronize(self.device)
            free_after, _ = torch.cuda.mem_get_info(self.device)
            self.num_bytes += max(free_before - free_after, 0)

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Run what is in the block on a side stream, which the main one then waits for."""
        main, side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        side.wait_stream(main)
        with torch.cuda.stream(side):
            yield
        main.wait_stream(side)
