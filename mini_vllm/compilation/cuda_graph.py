r"""What must be in order before a device writes down what it is asked to do?

Three things, each of which fails late if it is missing.

**A side stream.** Capture watches a stream, and must see all that the function launches and
nothing else. The default stream cannot be watched, since every other stream waits for it. torch
opens one of its own for the capture.

**A run before.** The first call of a matrix library chooses an algorithm, takes a workspace and
loads code; a compiler compiles. Part of that is forbidden in a capture, and none of it belongs
into a record. So each function is run once or more before it is captured, on a side stream as
well, since workspaces belong to streams.

**One pool.** A graph keeps the memory of everything that it computes on the way, for as long as it
lives: its addresses are in the record. With a pool for each, thirty sizes would cost thirty times
the intermediate results of a step. But no two graphs run at once, so they may use the same memory,
if nobody keeps a result of one while another runs. The largest is captured first; then the memory
that it leaves behind is enough for each of the others.

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

        A collection would free tensors of others on the device, which a capture must not see.
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
