r"""What does a graph freeze?

Everything but the numbers in memory. A device that captures writes down which kernels were
launched, in which order, with which arguments; and an argument is an address, a size, a plain
number. What Python did to get there leaves no trace. The branch that was taken is taken for ever. A
list that was looped over is as long as it was. An integer that was read from a tensor keeps the
value that it had. At replay nobody asks again. What lies *in* memory is read afresh, and that is
the one way in which a replay can differ from the capture.

On a device all of this is invisible. It shows as an answer that is slightly wrong, some steps
later. So here is a graph that one can look at. {py:class}`RecordedGraph` captures on any machine,
by standing between torch and its operations. It notes each with the very tensors that it was
called with. A replay runs exactly those operations on exactly those tensors, and writes each
result where the first one lies. Nothing else is run. A Python branch, a new shape, a value from
the host is frozen in it as in the real thing. What a device could not capture is refused where it
happens, in words:

- reading a number on the host (`.item()`, `.tolist()`, `.numpy()`, `if tensor:`): a device would
  have to finish first, and nothing may wait in a capture;
- a result whose *shape* depends on numbers (`nonzero`, a mask as an index): its memory could not
  be laid out beforehand;
- a tensor made of a list on the host: it would have to be copied from memory that is gone by the
  next replay.

One thing is refused here and allowed there: drawing random numbers. On a device torch keeps the
generator's place in memory and moves it on at each replay; this graph has no such place.

```python
x = torch.zeros(4)
graph = RecordedGraph()
y = graph.capture(lambda: x * 2 + 1)
x.fill_(5.0)
graph.replay()  # y, the same tensor as before, now holds 11s
print(graph.listing())
```

## Memory that comes back

Graphs of one engine share a pool, because only one of them runs at a time: what one leaves in its
results may be overwritten as soon as another is replayed. Whoever keeps a result for longer reads
what the other has put there. {py:class}`RecordedGraphs` makes this visible too: when a graph of
another shape is replayed, all results of the others are filled with NaN.

## What it does not show

Time: an operation costs here what it always costs. And code that does not go through torch's
operations (a compiled loop that was handed an address) is not seen; the ways out to it are refused
instead.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mini_vllm.errors import GraphError

#: Methods of a tensor that hand its numbers, or its memory, to the host.
_TO_THE_HOST = {
    getattr(torch.Tensor, name): name
    for name in (
        "numpy", "tolist", "item", "cpu", "__array__",
        "__bool__", "__int__", "__float__", "__index__",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    r"""One line of the record: what was called, on which tensors, and where its results lie.

    `kind` is `compute` (results are written to where the first ones lie), `in place` (the results
    are arguments) or `view` (another way to look at memory; nothing to do at replay).
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[torch.Tensor, ...]
    kind: str
    addresses: tuple[int, ...]

    @property
    def name(self) -> str:
        """As in `aten.mm`."""
        return str(self.function).rsplit(".", 1)[0]

    def __str__(self) -> str:
        inputs = ", ".join(_what(leaf) for leaf in tree_leaves((self.args, self.kwargs)))
        outputs = ", ".join(_what(result) for result in self.results)
        return f"{self.name}({inputs}) -> {outputs} [{self.kind}]"


class RecordedGraph:
    r"""A sequence of operations on fixed tensors, recorded once and replayed as it is.

    {py:meth}`capture` runs a function of no arguments and returns what it returned; these tensors
    are the graph's results, and every {py:meth}`replay` writes to them anew. Must be used under
    `torch.no_grad`. Raises {py:class}`~mini_vllm.errors.GraphError` for what a device refuses to
    capture, and at replay when a tensor of the record no longer lies where it lay.
    """

    #: The one whose capture is under way.
    recording: ClassVar[RecordedGraph | None] = None

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._captured = False

    def capture(self, function: Callable[[], Any]) -> Any:
        """Run `function`, and remember every operation of torch that it came down to."""
        if self._captured:
            raise GraphError("this graph has been captured; a capture cannot be changed")
        RecordedGraph.recording = self
        try:
            with self.watching():
                result = function()
        finally:
            RecordedGraph.recording = None
        self._captured = True
        return result

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Write down what is done in the block, and refuse what no device could capture."""
        with _HostReads(), _Recorder(self.operations):
            yield

    def replay(self) -> None:
        """Run the recorded operations, on the tensors that they were recorded with."""
        if not self._captured:
            raise GraphError("this graph was not captured")
        for operation in self.operations:
            now = _addresses(operation)
            if now != operation.addresses:
                raise GraphError(
                    f"{operation} was captured at {_hex(operation.addresses)}; its tensors now lie "
                    f"at {_hex(now)}, and a graph would read the old place"
                )
            if operation.kind == "view":
                continue
            made = operation.function(*operation.args, **operation.kwargs)
            if operation.kind == "compute":
                for old, new in zip(operation.results, _tensors(made), strict=True):
                    old.copy_(new)

    @property
    def num_launches(self) -> int:
        """How many operations a device would be asked for: all but the views."""
        return sum(operation.kind != "view" for operation in self.operations)

    @property
    def num_bytes(self) -> int:
        """Memory of all results, kept for as long as the graph lives; each counted once."""
        made = [r for op in self.operations if op.kind == "compute" for r in op.results]
        return sum(
            {r.untyped_storage().data_ptr(): r.untyped_storage().nbytes() for r in made}.values()
        )

    def results(self) -> Iterator[torch.Tensor]:
        """Every tensor that the graph makes."""
        for operation in self.operations:
            if operation.kind == "compute":
                yield from operation.results

    def listing(self) -> str:
        """The record, one operation a line."""
        return "\n".join(f"{i:4d}  {operation}" for i, operation in enumerate(self.operations))


class RecordedGraphs:
    r"""Makes recorded graphs that share one pool, as an engine's graphs on a device do.

    Graphs of the same `key` (the shape of a step) may hand results to each other; replaying one of
    another key fills the others' results with NaN, or the least integer. The counterpart on a
    device: {py:class}`~mini_vllm.compilation.cuda_graph.DeviceGraphs`.
    """

    def __init__(self) -> None:
        self.graphs: dict[Hashable, list[RecordedGraph]] = {}
        self._last_key: Hashable = None

    def capture(self, key: Hashable, function: Callable[[], Any]) -> tuple[Any, RecordedGraph]:
        """Capture `function` as a graph for steps of this `key`; its result, and the graph."""
        graph = RecordedGraph()
        result = graph.capture(function)
        self.graphs.setdefault(key, []).append(graph)
        self._last_key = key
        return result, graph

    def replay(self, key: Hashable, graph: RecordedGraph) -> None:
        """Replay, and let the memory of graphs of other keys be taken."""
        if key != self._last_key:
            for other, graphs in self.graphs.items():
                if other != key:
                    for one in graphs:
                        _spoil(one)
            self._last_key = key
        graph.replay()

    def borrow(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor itself: a record holds all of its tensors in any case."""
        return tensor

    def capturing(self) -> Any:
        """What must be in force while graphs are captured: nothing, here."""
        return nullcontext()

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """What must be in force while a function is run before its capture: nothing, here."""
        yield

    @property
    def num_bytes(self) -> int:
        """Memory that all graphs keep. A device's pool lets graphs share, and is smaller."""
        return sum(graph.num_bytes for graphs in self.graphs.values() for graph in graphs)


def _spoil(graph: RecordedGraph) -> None:
    for result in graph.results():
        if result.is_floating_point():
            result.fill_(float("nan"))
        elif result.dtype != torch.bool:
            result.fill_(torch.iinfo(result.dtype).min)


class _HostReads(TorchFunctionMode):
    """Refuses the methods that carry numbers from a tensor to Python."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # A hash of a method descriptor; functions that cannot be hashed are none of these.
        name = _TO_THE_HOST.get(func) if isinstance(func, Hashable) else None
        if name is not None:
            raise GraphError(
                f"Tensor.{name} inside a graph: a value on the host is read once, at capture, and "
                "a device that captures has none to give"
            )
        return func(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    """Runs each operation and writes it down."""

    def __init__(self, operations: list[Operation]) -> None:
        super().__init__()
        self.operations = operations

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if (obstacle := _why_not(func, args)) is not None:
            raise GraphError(f"{func} inside a graph: {obstacle}")
        made = func(*args, **kwargs)
        results, inputs = tuple(_tensors(made)), list(_tensors((args, kwargs)))
        if func._schema.is_mutable:
            kind = "in place"
        elif results and all(_shares_memory(result, inputs) for result in results):
            kind = "view"
        else:
            kind = "compute"
        operation = Operation(func, args, kwargs, results, kind, ())
        object.__setattr__(operation, "addresses", _addresses(operation))
        self.operations.append(operation)
        return made


def _why_not(func: Any, args: tuple[Any, ...]) -> str | None:
    tags = func.tags
    if torch.Tag.data_dependent_output in tags:
        return "a value on the host is read once, at capture, and a device has none to give then"
    if torch.Tag.nondeterministic_seeded in tags:
        return "random numbers come from a state outside it"
    if func is torch.ops.aten.lift_fresh.default and args[0].numel() > 1:
        return "a tensor made of numbers on the host would have to be copied from there"
    if func in (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default):
        masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
        return "with a mask as an index, the shape depends on numbers" if masks else None
    if torch.Tag.dynamic_output_shape in tags:
        return "the shape of its result depends on numbers"
    return None


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


def _addresses(operation: Operation) -> tuple[int, ...]:
    everything = (operation.args, operation.kwargs, operation.results)
    return tuple(t.data_ptr() if t.layout == torch.strided else 0 for t in _tensors(everything))


def _shares_memory(result: torch.Tensor, inputs: list[torch.Tensor]) -> bool:
    place = result.untyped_storage().data_ptr()
    return any(one.untyped_storage().data_ptr() == place for one in inputs)


def _hex(addresses: tuple[int, ...]) -> str:
    return ", ".join(f"{address:#x}" for address in addresses)


def _what(leaf: Any) -> str:
    if not isinstance(leaf, torch.Tensor):
        return str(leaf)
    kind = str(leaf.dtype).removeprefix("torch.")
    return f"{kind}{list(leaf.shape)}@{leaf.data_ptr():x}" if leaf.layout == torch.strided else kind
