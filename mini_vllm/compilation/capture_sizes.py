r"""How many graphs are enough?

A graph fits one size of step. Replayed for {given}`37 tokens` where it was captured for 40, it
computes 40 rows, and three of them are nobody's. So the captured sizes are a choice between three
prices:

- each size costs **time at start** (it is run and recorded) and **memory** (its intermediate
  results live in a pool as long as the graph does);
- each gap between two sizes costs **padding**: rows that are computed and thrown away;
- each step beyond the largest size runs **eagerly** and pays for every launch again.

The usual ladder has steps of 8 up to 256 and of 16 from there on. So padding is nearly half of the
rows at worst, in a step of 9, where it costs next to nothing: 9 rows and 16 read the same weights.
It shrinks to a few percent where a step is expensive.

```{listing} mini_vllm.compilation.capture_sizes.default_capture_sizes
```

## Where the ladder ends

At twice the number of requests that may run, but not above {given}`512 tokens`, and never above
the step's budget. Twice, although a step of decodes has one token per request: a mixed step may
have more, and with pieces it finds a graph too. Upstream's reasons for the two bounds are
{up}`memory, where few requests may run, and start-up time
<vllm/config/compilation.py#CompilationConfig@"prevents capture of many large graphs">`:
graphs of many rows take long to capture and gain little.

Upstream: {up}`vllm/config/vllm.py#VllmConfig._set_cudagraph_sizes`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mini_vllm.config import SchedulerConfig
from mini_vllm.config.compilation import CompilationConfig
from mini_vllm.errors import ConfigError
from mini_vllm.invariants import invariant

#: No default ladder goes beyond this many tokens.
LARGEST_DEFAULT = 512


def default_capture_sizes(largest: int, max_num_batched_tokens: int) -> tuple[int, ...]:
    r"""The usual ladder up to `largest`: 1, 2, 4, then by 8 below 256, then by 16.

    The budget itself is a size as well if it is not above `largest`: full steps are frequent, and
    need not be padded.
    """
    largest = min(largest, max_num_batched_tokens)
    sizes = [size for size in (1, 2, 4) if size <= largest]
    sizes += range(8, min(largest + 1, 256), 8)
    sizes += range(256, largest + 1, 16)
    if max_num_batched_tokens <= largest:
        sizes.append(max_num_batched_tokens)
    return tuple(sorted(set(sizes)))


@dataclass(frozen=True)
class CaptureSizes:
    r"""The sizes for which there are graphs, ascending, and what each step is padded to.

    Refuses to be empty, and to hold anything but different positive numbers in order.
    """

    # What is stated below is checked on this; see `mini_vllm.invariants`.
    invariant_owner = "capture_sizes"

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sizes:
            raise ConfigError("there must be at least one capture size")
        if self.sizes[0] < 1 or any(a >= b for a, b in zip(self.sizes, self.sizes[1:])):
            raise ConfigError(f"capture sizes must ascend from at least 1, got {self.sizes}")

    @classmethod
    def of(cls, config: CompilationConfig, scheduler_config: SchedulerConfig) -> CaptureSizes:
        r"""The configured sizes, or the default ladder for this scheduler.

        Raises {py:class}`~mini_vllm.errors.ConfigError` for a size above the step's budget, which
        no step could ever have. Upstream drops such sizes with a warning.
        """
        budget = scheduler_config.max_num_batched_tokens
        sizes, largest = config.cudagraph_capture_sizes, config.max_cudagraph_capture_size
        if sizes is None:
            if largest is None:
                largest = min(2 * scheduler_config.max_num_seqs, LARGEST_DEFAULT, budget)
            elif largest > budget:
                raise ConfigError(
                    f"max_cudagraph_capture_size={largest} is above "
                    f"max_num_batched_tokens={budget}: no step has so many tokens"
                )
            return cls(default_capture_sizes(largest, budget))
        if sizes[-1] > budget:
            raise ConfigError(
                f"cudagraph_capture_sizes has {sizes[-1]}, above max_num_batched_tokens={budget}: "
                "no step has so many tokens"
            )
        return cls(sizes)

    @property
    def largest(self) -> int:
        """The largest size; a step with more tokens has no graph."""
        return self.sizes[-1]

    def padded(self, num_tokens: int) -> int | None:
        r"""The smallest size that holds `num_tokens`, or None if there is none."""
        if num_tokens < 1:
            raise ValueError(f"a step has at least 1 token, got {num_tokens}")
        index = bisect_left(self.sizes, num_tokens)
        return self.sizes[index] if index < len(self.sizes) else None

    def num_padding(self, num_tokens: int) -> int:
        """How many rows of a step are nobody's: 0 for one that is too large for any graph."""
        return (self.padded(num_tokens) or num_tokens) - num_tokens

    def waste(self, steps: Iterable[int]) -> float:
        r"""Of all rows computed in `steps` (tokens of each), the share that is padding.

        Rows, not time: below a few dozen of them a step takes as long as its weights take to be
        read, and padding is nearly free.
        """
        real = padding = 0
        for num_tokens in steps:
            real += num_tokens
            padding += self.num_padding(num_tokens)
        return padding / (real + padding) if real else 0.0

    def __iter__(self) -> Iterator[int]:
        return iter(self.sizes)

    def __len__(self) -> int:
        return len(self.sizes)


@invariant(
    "padding-covers",
    "A step that runs as a graph is padded to a captured size, never cut to one.",
    phase=5,
    owner="capture_sizes",
    anchors=(
        "vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher._compute_bs_to_padded_graph_size",
    ),
)
def _padding_covers(sizes: CaptureSizes) -> Iterator[str]:
    for num_tokens in range(1, sizes.largest + 1):
        padded = sizes.padded(num_tokens)
        if padded is None or padded < num_tokens or padded not in sizes.sizes:
            yield f"{num_tokens} tokens are padded to {padded}"
    if (beyond := sizes.padded(sizes.largest + 1)) is not None:
        yield f"{sizes.largest + 1} tokens are above the largest size and padded to {beyond}"


@invariant(
    "padding-minimal",
    "No captured size lies between a step and the size that it is padded to.",
    phase=5,
    owner="capture_sizes",
    anchors=(
        "vllm/v1/cudagraph_dispatcher.py#CudagraphDispatcher._compute_bs_to_padded_graph_size",
    ),
)
def _padding_minimal(sizes: CaptureSizes) -> Iterator[str]:
    for num_tokens in range(1, sizes.largest + 1):
        padded = sizes.padded(num_tokens) or 0
        if any(num_tokens <= size < padded for size in sizes.sizes):
            yield f"{num_tokens} tokens are padded to {padded}, past a smaller size"
