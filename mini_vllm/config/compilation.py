r"""How should a step be launched: call by call, or as something made beforehand?

A small model on a fast device can spend most of a step on *asking*. Each operation is a call from
Python through the framework into the driver. A decode step of a few hundred operations pays for it
a few hundred times, whether the batch holds one request or thirty. Two techniques take that price
away, and here they are independent of each other:

- **compiling** (`mode`): fewer operations. Neighbours that only pass numbers to each other are
  fused into one kernel, which also saves the way through memory;
- **graphs** (`cudagraph_mode`): the same operations, asked for once. The device records them, and
  a step replays the record with a single call.

Both are off by default. A graph has a price at start, a capture and some memory for each size. And
it makes a rule that the rest of the engine must keep: everything that it reads or writes stays
where it was. See {py:mod}`mini_vllm.compilation`.

## The modes of graphs

What a graph cannot hold is a decision of the host. For many backends attention over prompts *is*
one: how many queries a request has and how far each looks back differs in every step, and decides
which kernel runs, and how large. So there are two kinds of graphs. A **full** one holds the whole
model, attention included. In the two lower modes of the table it serves only steps of decodes, in
which every request has the same number of new tokens. A **piecewise** one leaves attention out: the
model is cut at each attention, the pieces between are graphs, and attention is called as usual.

| `cudagraph_mode` | steps of decodes only | mixed steps |
|---|---|---|
| `NONE` | eager | eager |
| `PIECEWISE` | pieces | pieces |
| `FULL` | full | full |
| `FULL_DECODE_ONLY` | full | eager |
| `FULL_AND_PIECEWISE` | full | pieces |

Not every attention backend can be captured, so what is asked for is resolved down to what can be
done ({py:func}`~mini_vllm.compilation.resolution.resolve_cudagraph_mode`). Upstream's default is
the last row ({up}`vllm/config/vllm.py#OPTIMIZATION_LEVEL_02`, and the third level equals the
second). Ours is the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum, IntEnum
from typing import Any

from mini_vllm.errors import ConfigError

#: What `torch.compile` may be asked to end in: machine code, or the same operations uncompiled
#: (which shows whether a difference comes from tracing or from the generated code).
COMPILE_BACKENDS = ("inductor", "aot_eager", "eager")


class CompilationMode(IntEnum):
    r"""Whether the model's pieces go through `torch.compile`; names and numbers are upstream's.

    Numbers 1 and 2 hand the whole model to the compiler, and this engine has neither: cut at
    attention, three pieces serve a model of any depth. Upstream:
    {up}`vllm/config/compilation.py#CompilationMode`.
    """

    NONE = 0
    VLLM_COMPILE = 3


class CUDAGraphMode(Enum):
    r"""Which steps run as graphs. The first three also say how *one* step is run.

    The last two are pairs: one way for steps of decodes only, another for the rest. Upstream:
    {up}`vllm/config/compilation.py#CUDAGraphMode`, whose values are numbers and pairs of them.
    """

    NONE = "NONE"
    PIECEWISE = "PIECEWISE"
    FULL = "FULL"
    FULL_DECODE_ONLY = "FULL_DECODE_ONLY"
    FULL_AND_PIECEWISE = "FULL_AND_PIECEWISE"

    def separate_routine(self) -> bool:
        """Whether steps of decodes only are treated apart from mixed ones."""
        return self in (CUDAGraphMode.FULL_DECODE_ONLY, CUDAGraphMode.FULL_AND_PIECEWISE)

    def decode_mode(self) -> CUDAGraphMode:
        """How a step of decodes only is run."""
        return CUDAGraphMode.FULL if self.separate_routine() else self

    def mixed_mode(self) -> CUDAGraphMode:
        """How any other step is run."""
        if self is CUDAGraphMode.FULL_AND_PIECEWISE:
            return CUDAGraphMode.PIECEWISE
        return CUDAGraphMode.NONE if self is CUDAGraphMode.FULL_DECODE_ONLY else self

    def has_mode(self, mode: CUDAGraphMode) -> bool:
        """Whether some kind of step is run as `mode`, one of the first three."""
        return mode in (self.decode_mode(), self.mixed_mode())

    def has_full_cudagraphs(self) -> bool:
        """Whether there are graphs of the whole model."""
        return self.has_mode(CUDAGraphMode.FULL)

    def has_piecewise_cudagraphs(self) -> bool:
        """Whether there are graphs of the pieces between attentions."""
        return self.has_mode(CUDAGraphMode.PIECEWISE)

    def __str__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return self is not CUDAGraphMode.NONE


@dataclass(frozen=True, kw_only=True)
class CompilationConfig:
    r"""What is compiled and what is captured. Names are upstream's; by default, nothing.

    Compiling: `mode`, the `backend` of `torch.compile`, and the `cache_dir` of what it made
    (`None` for a folder of the user's, see {py:mod}`mini_vllm.compilation.graph_cache`).

    Graphs: `cudagraph_mode`; `cudagraph_capture_sizes`, in tokens of a step, or `None` for the
    usual ladder up to `max_cudagraph_capture_size`
    ({py:func}`~mini_vllm.compilation.capture_sizes.default_capture_sizes`);
    `cudagraph_num_of_warmups`, eager runs of each size before it is captured;
    `cudagraph_copy_inputs`, whether a graph copies inputs that lie elsewhere to where it reads
    them, rather than refuse to run; and `cudagraph_stand_in`, which asks for graphs that are
    recorded and replayed without a device ({py:mod}`mini_vllm.compilation.recorded_graph`). They
    save no time: they show, on any machine, what a graph freezes.

    Raises {py:class}`~mini_vllm.errors.ConfigError` for a value out of range, for fields that
    contradict each other, and for one that would be ignored. Upstream:
    {up}`vllm/config/compilation.py#CompilationConfig`.
    """

    mode: CompilationMode = CompilationMode.NONE
    backend: str = "inductor"
    cache_dir: str | None = None
    cudagraph_mode: CUDAGraphMode = CUDAGraphMode.NONE
    cudagraph_capture_sizes: tuple[int, ...] | None = None
    max_cudagraph_capture_size: int | None = None
    cudagraph_num_of_warmups: int = 1
    cudagraph_copy_inputs: bool = False
    cudagraph_stand_in: bool = False

    @classmethod
    def from_value(cls, value: CompilationConfig | Mapping[str, Any] | None) -> CompilationConfig:
        r"""Take what an operator writes: a record, a mapping with names for modes, or nothing.

        Modes may be given by name, in any case, as in `{"cudagraph_mode": "full"}`; `mode` also by
        number.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"compilation_config must be a mapping, got {value!r}")
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(name) for name in value.keys() - known)
        if unknown:
            raise ConfigError(
                f"compilation_config has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
            )
        given = dict(value)
        for name, kind in (("mode", CompilationMode), ("cudagraph_mode", CUDAGraphMode)):
            if name in given:
                given[name] = _member(kind, name, given[name])
        if given.get("cudagraph_capture_sizes") is not None:
            sizes = given["cudagraph_capture_sizes"]
            if not isinstance(sizes, (list, tuple)):
                raise ConfigError(f"cudagraph_capture_sizes must be a list, got {sizes!r}")
            given["cudagraph_capture_sizes"] = tuple(sizes)
        return cls(**given)

    def __post_init__(self) -> None:
        self._check_compiling()
        self._check_graphs()

    def _check_compiling(self) -> None:
        if self.backend not in COMPILE_BACKENDS:
            raise ConfigError(
                f"backend must be one of {', '.join(COMPILE_BACKENDS)}, got {self.backend!r}"
            )
        if self.mode is CompilationMode.NONE:
            if self.backend != "inductor":
                raise ConfigError(f"backend={self.backend!r} means nothing with mode=NONE")
            if self.cache_dir is not None:
                raise ConfigError(f"cache_dir={self.cache_dir!r} means nothing with mode=NONE")
        elif self.cudagraph_stand_in and self.backend == "inductor":
            raise ConfigError(
                "cudagraph_stand_in records torch's operations one by one, and in machine code "
                "there are none to see: with it, backend must be eager or aot_eager, got 'inductor'"
            )
        if self.cache_dir is not None and self.backend != "inductor":
            raise ConfigError(
                f"cache_dir={self.cache_dir!r} is for what backend 'inductor' makes; "
                f"{self.backend!r} makes nothing that could be kept"
            )

    def _check_graphs(self) -> None:
        _check_int("cudagraph_num_of_warmups", self.cudagraph_num_of_warmups, 0)
        sizes, largest = self.cudagraph_capture_sizes, self.max_cudagraph_capture_size
        if sizes is not None:
            if not sizes:
                raise ConfigError("cudagraph_capture_sizes is empty; ask for cudagraph_mode=NONE")
            for size in sizes:
                _check_int("a size of cudagraph_capture_sizes", size, 1)
            # As upstream: order and repetition say nothing.
            object.__setattr__(self, "cudagraph_capture_sizes", tuple(sorted(set(sizes))))
            if largest is not None and largest != max(sizes):
                raise ConfigError(
                    f"max_cudagraph_capture_size={largest} contradicts "
                    f"cudagraph_capture_sizes, whose largest is {max(sizes)}; give one"
                )
        if largest is not None:
            _check_int("max_cudagraph_capture_size", largest, 1)
        if self.cudagraph_mode is CUDAGraphMode.NONE:
            for name in (
                "cudagraph_capture_sizes",
                "max_cudagraph_capture_size",
                "cudagraph_copy_inputs",
                "cudagraph_stand_in",
            ):
                if value := getattr(self, name):
                    raise ConfigError(f"{name}={value!r} means nothing with cudagraph_mode=NONE")

    @property
    def is_eager(self) -> bool:
        """Whether nothing is compiled and nothing captured."""
        return self.mode is CompilationMode.NONE and self.cudagraph_mode is CUDAGraphMode.NONE


def _member(kind: type[Enum], name: str, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value.upper() in kind.__members__:
        return kind[value.upper()]
    if isinstance(value, int) and not isinstance(value, bool):
        by_number = {one.value: one for one in kind}
        if value in by_number:
            return by_number[value]
    raise ConfigError(f"{name} must be one of {', '.join(kind.__members__)}, got {value!r}")


def _check_int(name: str, value: object, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, got {value}")
