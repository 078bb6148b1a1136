r"""Who knows that a piece of the model is a graph?

Nobody but its wrapper. {py:class}`CUDAGraphWrapper` stands in front of a callable and is called in
its place. What it does depends on the step, and it is told by a
{py:class}`StepContext` that the runner sets before each: in a step that runs some other way it
calls the function; in one that is its own it replays the graph for the step's shape, and returns
the tensors that the graph writes to. The model that is cut into wrapped pieces reads like one that
is not.

A graph reads its inputs where they lay at capture. So a wrapper remembers where that was, and at
each replay compares. If a tensor has moved it says which one, since the alternative is a step that
is computed on old numbers. With `copy_inputs` it copies the newcomer to the old place instead, at
the price of one more launch for each.

Upstream relies on buffers that never move. It compares only when it logs at debug level
({up}`vllm/compilation/cuda_graph.py#CUDAGraphWrapper.__call__@"self.is_debugging_mode:"`), and then
only {up}`positional arguments
<vllm/compilation/cuda_graph.py#CUDAGraphWrapper.__call__@"assert new_input_addresses == ">`.
Pieces get theirs by position. The whole model is {up}`called by keyword
<vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._model_forward>`, so for a full graph two empty
lists are compared. And attention's metadata is no argument anywhere: it comes by the context.

## What is not held

The results of all graphs lie in one pool, and thirty shapes of a piece have thirty results. If each
were held, the pool would have to have room for all of them at once, though no two shapes are ever
needed together. So a wrapper keeps the *place* of its result and lets go of the tensor
({py:meth}`GraphMaker.borrow`): what is captured next may be given the same memory. The one who must
not let go is the caller, during a capture, until the piece that reads the result has been captured
as well; hence what `CUDAGraphWrapper.__call__` returns then is the tensor itself. Upstream
takes the same care ({up}`vllm/utils/torch_utils.py#weak_ref_tensor`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol

import torch
from torch.utils._pytree import tree_map_only

from mini_vllm.compilation.dispatcher import BatchDescriptor
from mini_vllm.config.compilation import CUDAGraphMode
from mini_vllm.errors import GraphError


class GraphMaker(Protocol):
    """What captures and replays: a device, or the stand-in for one."""

    @property
    def num_bytes(self) -> int:
        """Memory that all graphs keep for as long as they live."""

    def capture(self, key: Hashable, function: Callable[[], Any]) -> tuple[Any, Any]:
        """Capture `function` for steps of shape `key`; its result, and the graph."""

    def replay(self, key: Hashable, graph: Any) -> None:
        """Run what was captured."""

    def borrow(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same memory, not held: whoever captures next may be given it."""

    def capturing(self) -> AbstractContextManager[None]:
        """In force while graphs are captured."""

    def warming_up(self) -> AbstractContextManager[None]:
        """In force while a function is run before its capture."""


@dataclass
class StepContext:
    r"""How the present step is run, for all wrappers of one model; and what they have done so far.

    Upstream has it as a global that is set around the forward pass:
    {up}`vllm/forward_context.py#ForwardContext`.
    """

    mode: CUDAGraphMode = CUDAGraphMode.NONE
    descriptor: BatchDescriptor | None = None
    #: Whether a shape that is met for the first time is captured, or refused.
    may_capture: bool = False
    num_captures: int = 0
    num_replays: int = 0


@dataclass
class CUDAGraphEntry:
    r"""One captured graph: what it reads from outside, what it writes to, and the graph.

    Of the inputs the shapes and the addresses are kept, and the tensors themselves, in `held`, only
    where newcomers are copied to them. `output` is borrowed.
    """

    shapes: list[torch.Size]
    addresses: list[int]
    output: Any
    graph: Any
    held: list[torch.Tensor] = field(default_factory=list)


class CUDAGraphWrapper:
    r"""A callable that runs as a graph in the steps that are its own.

    `runtime_mode` is `FULL` or `PIECEWISE`: in steps of any other mode `runnable` is called. A
    shape that was not captured is captured if the context allows it, and else refused with a
    {py:class}`~mini_vllm.errors.GraphError`, as are inputs that have moved, unless `copy_inputs`.
    Returns tensors that the next replay overwrites. Upstream:
    {up}`vllm/compilation/cuda_graph.py#CUDAGraphWrapper`.
    """

    def __init__(
        self,
        runnable: Callable[..., Any],
        runtime_mode: CUDAGraphMode,
        context: StepContext,
        maker: GraphMaker,
        *,
        name: str = "model",
        copy_inputs: bool = False,
    ) -> None:
        self.runnable, self.runtime_mode = runnable, runtime_mode
        self.context, self.maker = context, maker
        self.name, self.copy_inputs = name, copy_inputs
        self.entries: dict[BatchDescriptor, CUDAGraphEntry] = {}

    def __call__(self, *args: Any) -> Any:
        """Call, capture or replay, as the context says."""
        context, descriptor = self.context, self.context.descriptor
        if context.mode is not self.runtime_mode or descriptor is None:
            return self.runnable(*args)
        entry = self.entries.get(descriptor)
        if entry is None:
            return self._capture(descriptor, args)
        self._bring_inputs(entry, args)
        self.maker.replay(descriptor, entry.graph)
        context.num_replays += 1
        return entry.output

    def _capture(self, descriptor: BatchDescriptor, args: tuple[Any, ...]) -> Any:
        if not self.context.may_capture:
            raise GraphError(
                f"{self.name}: no graph was captured for {descriptor}, and none may be captured "
                "while requests run"
            )
        inputs = [tensor for _, tensor in _tensors_in(args)]
        output, graph = self.maker.capture(descriptor, lambda: self.runnable(*args))
        self.entries[descriptor] = CUDAGraphEntry(
            shapes=[tensor.shape for tensor in inputs],
            addresses=[tensor.data_ptr() for tensor in inputs],
            output=tree_map_only(torch.Tensor, self.maker.borrow, output),
            graph=graph,
            held=inputs if self.copy_inputs else [],
        )
        self.context.num_captures += 1
        # Not the borrowed one: who captures the next piece must hold what that piece reads.
        return output

    def _bring_inputs(self, entry: CUDAGraphEntry, args: tuple[Any, ...]) -> None:
        given = list(_tensors_in(args))
        if len(given) != len(entry.shapes):
            raise GraphError(
                f"{self.name}: captured with {len(entry.shapes)} tensors, called with {len(given)}"
            )
        for index, ((name, tensor), shape, address) in enumerate(
            zip(given, entry.shapes, entry.addresses, strict=True)
        ):
            if tensor.shape != shape:
                raise GraphError(
                    f"{self.name}: {name} was {list(shape)} at capture and is "
                    f"{list(tensor.shape)}: a graph has one shape"
                )
            if tensor.data_ptr() == address:
                continue
            if not self.copy_inputs:
                raise GraphError(
                    f"{self.name}: {name} was captured at {address:#x} and lies at "
                    f"{tensor.data_ptr():#x}: the graph would read the old place"
                )
            entry.held[index].copy_(tensor)


def _tensors_in(value: Any, name: str = "input") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in arguments, lists of them and records, with a name to blame it by."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, one in enumerate(value):
            yield from _tensors_in(one, f"{name} {index}")
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            if isinstance(part := getattr(value, one.name), torch.Tensor):
                yield f"{name}.{one.name}", part
