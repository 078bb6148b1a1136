r"""What must be in order before a device writes down what it is asked to do?

Three things, each of which fails late if it is missing.

**A side stream.** A stream is a queue of work on the device. Capture watches one, and must see all
that the function launches and nothing else. CUDA's default stream cannot be captured, so there is
one of its own, the same for all captures and for the runs before them.

**A run before.** On its first call a library may choose an algorithm, take a workspace or load
code; a compiler compiles. Some of that is forbidden in a capture, and none of it belongs into a
record. So each function is run once or more before it is captured, and on the very stream of the
capture: workspaces belong to streams, and if each run had a stream of its own, each would take one.

**One pool.** A graph keeps the memory in which it computes for as long as it lives, since those
addresses are in the record. With a pool for each, thirty sizes would need thirty such areas. But no
two graphs run at once, so they may share one, if nobody keeps a result of one while another runs.
The largest is captured first. What it took is then free for the next, which need less. "Free" is to
be taken literally: the pool gives again what no tensor holds. So results are
{py:func}`borrowed <tensor_at>`, as addresses, once they are captured.

Not run yet on a device in this book's environment; the tests marked `gpu` do, where there is one.
Upstream: {up}`vllm/compilation/cuda_graph.py#CUDAGraphWrapper.__call__` and
{up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.capture_model`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch


class DeviceGraphs:
    r"""Makes graphs on a CUDA device that share one pool of memory.

    The counterpart without a device:
    {py:class}`~mini_vllm.compilation.recorded_graph.RecordedGraphs`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)
        self.num_bytes = 0

    def capture(
        self, key: Hashable, function: Callable[[], Any]
    ) -> tuple[Any, torch.cuda.CUDAGraph]:
        """Capture `function`; what it returned (written anew by each replay), and the graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            result = function()
        return result, graph

    def replay(self, key: Hashable, graph: torch.cuda.CUDAGraph) -> None:
        """Launch the whole graph with one call."""
        graph.replay()

    def borrow(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor as the address that it is."""
        return tensor_at(tensor)

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
        """Run what is in the block on the stream of the captures, which the main one waits for."""
        main = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(main)
        with torch.cuda.stream(self.stream):
            yield
        main.wait_stream(self.stream)


class Place:
    r"""Memory of a device, described as other libraries describe theirs, for torch to view it.

    Types are told by their width alone, since the description knows no bfloat16. Holds nothing.
    """

    _WIDTHS: ClassVar[dict[int, str]] = {1: "|u1", 2: "<i2", 4: "<i4", 8: "<i8"}

    def __init__(self, tensor: torch.Tensor) -> None:
        width = tensor.element_size()
        self.__cuda_array_interface__ = {
            "version": 3,
            "typestr": self._WIDTHS[width],
            "shape": tuple(tensor.shape),
            "strides": tuple(step * width for step in tensor.stride()),
            "data": (tensor.data_ptr(), False),
        }


def tensor_at(tensor: torch.Tensor) -> torch.Tensor:
    r"""Another tensor over the same memory, which does not keep that memory from being given away.

    Good as long as the pool that owns the memory is. Upstream has an operation for it, in C++:
    {up}`vllm/utils/torch_utils.py#weak_ref_tensor`.
    """
    if tensor.numel() == 0:
        return tensor
    return torch.as_tensor(Place(tensor), device=tensor.device).view(tensor.dtype)
