"""A device that is not the CPU, where there is none: every rule of CUDA, and none of its speed.

A tensor "there" reports torch's device `meta`, so that all code which asks takes the road that it
takes for a GPU; its numbers are kept in a CPU tensor inside. A mode stands between torch and its
operations and holds to what a GPU would hold to. Tensors of the two sides do not mix. A value that
the host reads is counted, since a GPU would be waited for. Random numbers come from a generator of
the device. While a graph is captured nothing may be read, sent, drawn, or shaped by numbers, and
no kernel of Triton may be launched that was not launched before in the same specialisation, as it
would have to be compiled. What was captured can be replayed, on the same memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from unittest.mock import patch

import torch
import torch._dynamo  # modules that it loads must not be loaded under the patches below
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from mini_vllm.platforms import Platform

#: How torch calls the other device. It is the only one that any build of torch has beside the CPU.
THERE = torch.device("meta")
aten = torch.ops.aten
_INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)


class DeviceError(RuntimeError):
    """What CUDA would have refused, or done wrong without a word."""


class Remote(torch.Tensor):
    """A tensor on the other device. `inner` holds its numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Remote:
        """Look like `inner`, but for the device."""
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=THERE,
        )
        made.inner = inner
        OtherDevice.held[made] = True
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        """Shape and type alone: a debugger must not count as a reader."""
        return f"Remote({list(self.shape)}, {self.dtype})"

    def data_ptr(self) -> int:
        """Where the numbers are."""
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        """All numbers, on the host: waits for the device."""
        OtherDevice.active().read("tolist")
        return self.inner.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """As on CUDA: not without a copy."""
        raise TypeError("can't convert a tensor of the other device to numpy; use Tensor.cpu()")

    def exponential_(self, lambd: float = 1.0, *, generator: Any = None) -> Remote:
        """As ever; torch forgets on the way down whose generator it was given."""
        if generator is not None and not getattr(generator, "is_remote", False):
            raise DeviceError("exponential_: a generator of the CPU for numbers of the device")
        super().exponential_(lambd, generator=generator)
        return self

    def __getitem__(self, index: Any) -> Any:
        """As ever; a list would be made a tensor below the level at which a mode can see it."""
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        """See `__getitem__`."""
        super().__setitem__(_with_tensors(index), value)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Reached where no device is active."""
        raise DeviceError(f"{func} on a tensor whose device is gone")


class AnyGenerator(torch.Generator):
    """What stands for `torch.Generator` while there is another device to make one for."""

    is_remote: bool

    def __new__(cls, device: Any = "cpu") -> AnyGenerator:
        """One of the CPU's in any case, marked."""
        there = torch.device(device) == THERE
        made = super().__new__(cls, device="cpu" if there else device)
        made.is_remote = there
        return made

    def __init__(self, device: Any = "cpu") -> None:
        """Nothing is left to do."""


class _FromLists(TorchFunctionMode):
    """Makes tensors of lists on the CPU, and sends them: what torch does where no mode sees it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            wanted = torch.device(kwargs.pop("device"))
            return func(*args, **kwargs, device="cpu").to(wanted)
        return func(*args, **kwargs)


@dataclass
class Launch:
    """One thing that a graph does at replay."""

    run: Callable[[], Any]
    results: tuple[torch.Tensor, ...] = ()
    name: str = ""

    def replay(self) -> None:
        """Do it again, and put the results where they were."""
        made = self.run()
        for old, new in zip(self.results, _tensors(made), strict=bool(self.results)):
            old.copy_(new)


@dataclass
class Graph:
    """What was launched between the beginning and the end of a capture.

    `taken` is memory of earlier graphs that nobody held when this one was captured: a pool would
    have given it to this one.
    """

    launches: list[Launch] = field(default_factory=list)
    taken: list[torch.Tensor] = field(default_factory=list)

    def results(self) -> Iterator[torch.Tensor]:
        """Every tensor that the graph makes."""
        return (result for launch in self.launches for result in launch.results)


class OtherDevice(TorchDispatchMode):
    """The device while it is there: enter it, and `device="meta"` means it."""

    _active: ClassVar[list[OtherDevice]] = []
    #: All tensors of the device that somebody holds; what was borrowed is taken out.
    held: ClassVar[WeakIdKeyDictionary] = WeakIdKeyDictionary()

    def __init__(self) -> None:
        super().__init__()
        #: How often the host has waited, by what it did.
        self.reads: Counter[str] = Counter()
        #: Tensors of the host that were sent there.
        self.sent = 0
        #: Kernels of Triton that were launched, by name; and those that are compiled.
        self.launched: Counter[str] = Counter()
        self.compiled: set[Hashable] = set()
        self.graph: Graph | None = None
        self._patches: list[Any] = []
        self._from_lists = _FromLists()

    @classmethod
    def active(cls) -> OtherDevice:
        """The one that was entered last."""
        return cls._active[-1]

    def __enter__(self) -> OtherDevice:
        """Be there."""
        self._active.append(self)
        self._patches = [patch("torch.Generator", AnyGenerator)]
        try:
            from triton.runtime.interpreter import GridExecutor
        except ImportError:
            pass
        else:
            plain, device = GridExecutor.__call__, self

            def launch(executor: Any, *args: Any, **kwargs: Any) -> None:
                device.launch(plain, executor, args, kwargs)

            self._patches.append(patch.object(GridExecutor, "__call__", launch))
        for one in self._patches:
            one.start()
        self._from_lists.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Be gone."""
        super().__exit__(*error)
        self._from_lists.__exit__(*error)
        for one in self._patches:
            one.stop()
        self._active.pop()

    # ------------------------------------------------------------------ torch's operations

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation on the side where its tensors are."""
        kwargs = dict(kwargs or {})
        leaves = tree_leaves((args, kwargs))
        remote = [leaf for leaf in leaves if isinstance(leaf, Remote)]
        wanted = kwargs.get("device")
        made_there = wanted is not None and torch.device(wanted) == THERE
        if any(x.device == THERE and not isinstance(x, Remote) for x in _tensors(leaves)):
            raise DeviceError(f"{func}: a tensor without numbers; this stand-in has lost them")
        if not remote and not made_there:
            return func(*args, **kwargs)
        local = [x for x in leaves if isinstance(x, torch.Tensor) and not isinstance(x, Remote)]
        leaves_home = wanted is not None and not made_there
        self._check(func, args, kwargs, remote, local, leaves_home)
        if wanted is not None:
            kwargs["device"] = torch.device("cpu")
        args, kwargs = tree_map(_inner, (args, kwargs))
        made = func(*args, **kwargs)
        self._record(func, args, kwargs, made, leaves)
        if leaves_home or not isinstance(made, (torch.Tensor, tuple, list)):
            return made
        if func._schema.is_mutable:
            # The tensor that was given is the one that comes back.
            for leaf in remote:
                if leaf.inner is made:
                    return leaf
        if func is aten.copy_.default:
            return args[0]
        return tree_map(lambda x: Remote(x) if isinstance(x, torch.Tensor) else x, made)

    def _check(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        remote: list[Remote],
        local: list[torch.Tensor],
        leaves_home: bool,
    ) -> None:
        if leaves_home:
            self.read("cpu")
        elif func is aten.copy_.default:
            if not isinstance(args[0], Remote):
                self.read("copy_")
            elif local:
                self._send(func)
        elif func is aten._to_copy.default:
            if local:
                self._send(func)
        elif func in _INDEXING and isinstance(args[0], Remote):
            if any(i is not None and not isinstance(i, Remote) for i in args[1]):
                self._send(func)  # places on the host are sent, and the send is waited for
            values = args[2] if len(args) > 2 else None
            if values is not None and not isinstance(values, Remote) and values.dim():
                raise DeviceError(f"{func}: values of the CPU for a tensor of the device")
        elif any(tensor.dim() for tensor in local):
            raise DeviceError(f"{func}: tensors of the CPU and of the device do not mix")
        tags = func.tags
        if func in _INDEXING:
            # Only a mask makes a shape of numbers; integers do not.
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            if masks:
                self.read("a mask as an index")
        elif torch.Tag.data_dependent_output in tags or torch.Tag.dynamic_output_shape in tags:
            self.read(str(func))
        if self.graph is not None and torch.Tag.nondeterministic_seeded in tags:
            raise DeviceError(f"{func} in a capture: random numbers come from outside of the graph")

    def read(self, what: str) -> None:
        """Note that the host waits for a number; refuse it in a capture."""
        if self.graph is not None:
            raise DeviceError(f"{what} in a capture: the host would wait for what has not run")
        self.reads[what] += 1

    def _send(self, func: Any) -> None:
        if self.graph is not None:
            raise DeviceError(f"{func} in a capture: a copy from memory of the host")
        self.sent += 1

    # ------------------------------------------------------------------ Triton's launches

    def launch(self, plain: Any, executor: Any, args: tuple[Any, ...], kwargs: Any) -> None:
        """Interpret a kernel on the numbers inside, after all that a driver would ask."""
        name = executor.fn.__name__
        tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)]
        if not any(isinstance(tensor, Remote) for tensor in tensors):
            return plain(executor, *args, **kwargs)
        for tensor in tensors:
            if not isinstance(tensor, Remote):
                raise DeviceError(f"{name}: a pointer to the CPU's memory, {list(tensor.shape)}")
        grid = executor.grid(kwargs) if callable(executor.grid) else executor.grid
        for size, most in zip(grid, (2**31 - 1, 65535, 65535)):
            if not 1 <= size <= most:
                raise DeviceError(f"{name}: a grid of {grid}, from 1 to {most} may be asked for")
        key = (name, tuple(map(_kind, args)), tuple((k, _kind(v)) for k, v in kwargs.items()))
        if self.graph is not None and key not in self.compiled:
            raise DeviceError(f"{name} in a capture, and not compiled yet: {key[1:]}")
        self.compiled.add(key)
        self.launched[name] += 1
        args, kwargs = tree_map(_inner, (args, dict(kwargs)))

        def run() -> None:
            plain(executor, *args, **kwargs)

        run()
        if self.graph is not None:
            self.graph.launches.append(Launch(run, name=name))
        return None

    # ------------------------------------------------------------------ graphs

    def _record(self, func: Any, args: Any, kwargs: Any, made: Any, given: list[Any]) -> None:
        if self.graph is None:
            return
        results = tuple(_tensors(made))
        if func._schema.is_mutable:
            self.graph.launches.append(Launch(lambda: func(*args, **kwargs), name=str(func)))
            return
        if func.is_view or str(func).startswith("aten.empty"):
            return  # another way to look at memory, or memory with nothing in it
        inner = [x.inner for x in given if isinstance(x, Remote)]
        places = {x.untyped_storage().data_ptr() for x in inner}
        if results and all(r.untyped_storage().data_ptr() in places for r in results):
            return
        self.graph.launches.append(Launch(lambda: func(*args, **kwargs), results, str(func)))

    @contextmanager
    def capture(self) -> Iterator[Graph]:
        """Note down all that is launched on the device; nothing may wait for it."""
        if self.graph is not None:
            raise DeviceError("a capture in a capture")
        self.graph = graph = Graph()
        try:
            yield graph
        finally:
            self.graph = None


class OtherDeviceGraphs:
    """What `DeviceGraphs` is for CUDA: makes graphs that share one pool of memory.

    A replay spoils what graphs of other shapes had computed, as a shared pool may.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.graphs: dict[Hashable, list[Graph]] = {}
        self.num_bytes = 0
        self._last: Hashable = None

    def capture(self, key: Hashable, function: Callable[[], Any]) -> tuple[Any, Graph]:
        """Capture `function`: its results are not computed before a replay."""
        held = {_place(tensor.inner) for tensor in list(OtherDevice.held)}
        free = [r for one in self._all() for r in one.results() if _place(r) not in held]
        with OtherDevice.active().capture() as graph:
            result = function()
        graph.taken = free
        self.graphs.setdefault(key, []).append(graph)
        _spoil(graph.results())
        return result, graph

    def borrow(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same memory, for the pool to give away."""
        assert isinstance(tensor, Remote)
        borrowed = Remote(tensor.inner)
        del OtherDevice.held[borrowed]
        return borrowed

    def replay(self, key: Hashable, graph: Graph) -> None:
        """Launch all of it again."""
        if key != self._last:
            for other, graphs in self.graphs.items():
                for one in graphs if other != key else ():
                    _spoil(one.results())
        self._last = key
        _spoil(graph.taken)
        for launch in graph.launches:
            launch.replay()

    def _all(self) -> Iterator[Graph]:
        return (graph for graphs in self.graphs.values() for graph in graphs)

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Nothing to do."""
        yield

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Nothing to do."""
        yield


@contextmanager
def engines_run_there() -> Iterator[OtherDevice]:
    """While this is entered, an engine's platform is the other device, graphs and all."""
    import mini_vllm.worker.graph_runner as graph_runner
    import mini_vllm.worker.model_runner as model_runner

    with (
        OtherDevice() as device,
        patch.object(model_runner, "detect_platform", lambda name: Platform(THERE)),
        patch.object(graph_runner, "_graph_maker", lambda config, at: OtherDeviceGraphs(at)),
    ):
        yield device


def _with_tensors(index: Any) -> Any:
    if isinstance(index, list):
        return torch.tensor(index)
    return tuple(map(_with_tensors, index)) if isinstance(index, tuple) else index


def _spoil(results: Iterable[torch.Tensor]) -> None:
    for result in results:
        if result.is_floating_point():
            result.fill_(float("nan"))


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _inner(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, Remote) else leaf


def _tensors(tree: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


def _kind(value: Any) -> Any:
    # What Triton compiles a kernel for: types, and of integers and addresses what it can use.
    if isinstance(value, torch.Tensor):
        return value.dtype, value.data_ptr() % 16 == 0
    if isinstance(value, bool) or not isinstance(value, int):
        return "float" if isinstance(value, float) else value
    return value if value == 1 else ("int", value % 16 == 0, value > 2**31 - 1)
