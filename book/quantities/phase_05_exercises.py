r"""Numbers of phase 05's exercises. The inputs are those of the page, and stand in its text."""

from __future__ import annotations

from book.quantities.hardware import h100_bandwidth
from book.quantities.llama import LLAMA3_8B
from book.quantities.phase_05 import FLOORS, GIVEN, LADDER, QWEN3_8B, kernels
from book.quantities.registry import quantity
from mini_vllm.compilation.capture_sizes import CaptureSizes, default_capture_sizes
from mini_vllm.compilation.dispatcher import FULL, PIECEWISE, CudagraphDispatcher
from mini_vllm.config.compilation import CUDAGraphMode

US = 1e-6


def _dispatcher(seats: int, query_len: int = 1, budget: int = 8192) -> CudagraphDispatcher:
    largest = min(2 * seats * query_len, 512)
    sizes = [n for n in default_capture_sizes(largest, budget) if n % query_len == 0]
    made = CudagraphDispatcher(CaptureSizes(tuple(sizes)), seats, query_len)
    made.initialize_cudagraph_keys(CUDAGraphMode.FULL_AND_PIECEWISE)
    return made


# A hundred kernels of 3 microseconds


def _one_by_one(launch: float) -> float:
    end = 0.0
    for number in range(1, 101):
        end = max(number * launch, end + 1 * US) + 3 * US
    return end


@quantity("p05-hundred-eager", unit="s", shown="\u03bcs", source=GIVEN)
def hundred_eager() -> float:
    """A hundred kernels of 3, a launch of 5, a gap of 1."""
    return _one_by_one(5 * US)


@quantity("p05-hundred-quick", unit="s", shown="\u03bcs", source=GIVEN)
def hundred_quick() -> float:
    """A hundred kernels of 3, a gap of 1, and a launch of 2.5: a host twice as quick."""
    return _one_by_one(2.5 * US)


@quantity("p05-hundred-graph", unit="s", shown="\u03bcs", source=GIVEN)
def hundred_graph() -> float:
    """A hundred kernels of 3 and a gap of 1 as a graph, after one launch of 5."""
    return (5 + 100 * 3 + 99 * 1) * US


# How many graphs


@quantity("p05-captures-8b", unit="", source=LADDER)
def captures_8b() -> int:
    """Captures of a model of 36 layers with 256 seats."""
    keys = _dispatcher(256).cudagraph_keys
    return len(keys[PIECEWISE]) * (QWEN3_8B.layers + 1) + len(keys[FULL])


@quantity("p05-full-8b", unit="", source=LADDER)
def full_8b() -> int:
    """Full graphs among them."""
    return len(_dispatcher(256).cudagraph_keys[FULL])


@quantity("p05-seats-with-edge", unit="", source="mini_vllm's dispatcher, asked")
def seats_with_edge() -> int:
    """Numbers of seats from 1 to 256 whose fullest step of decodes has no full graph."""
    return sum(_dispatcher(n).dispatch(n, True).mode is not FULL for n in range(1, 257))


@quantity("p05-pool-share", unit="%", source=LADDER)
def pool_share() -> float:
    """What one pool for all sizes up to 512 takes of what pools of their own would."""
    sizes = default_capture_sizes(512, 8192)
    return 100 * max(sizes) / sum(sizes)


# What padding costs in time


def _without_attention(batch: int) -> float:
    return sum(k.seconds for k in kernels(LLAMA3_8B, batch) if k.name != "attention")


@quantity("p05-padding-33", unit="%", source=FLOORS)
def padding_33() -> float:
    """By how much the floor of Llama-3-8B's step grows from 33 rows to 40, attention left out."""
    return 100 * (_without_attention(40) / _without_attention(33) - 1)


@quantity("p05-padding-257", unit="%", source=FLOORS)
def padding_257() -> float:
    """And from 257 to 272."""
    return 100 * (_without_attention(272) / _without_attention(257) - 1)


@quantity("p05-padding-497", unit="%", source=FLOORS)
def padding_497() -> float:
    """And from 497 to 512."""
    return 100 * (_without_attention(512) / _without_attention(497) - 1)


# Pieces and their launches


@quantity("p05-piecewise-calls", unit="", source=GIVEN)
def piecewise_calls() -> int:
    """What the host asks for in a piecewise step: pieces, attentions, cache writes."""
    return LLAMA3_8B.layers + 1 + 2 * LLAMA3_8B.layers


@quantity("p05-piecewise-host", unit="s", shown="ms", source=GIVEN)
def piecewise_host() -> float:
    """What the host needs for a piecewise step at 10 microseconds a request."""
    return piecewise_calls() * 10 * US


@quantity("p05-eager-host", unit="s", shown="ms", source=GIVEN)
def eager_host() -> float:
    """Ten kernels a layer and the output layer, asked for one by one at 10 microseconds."""
    return (10 * LLAMA3_8B.layers + 1) * 10 * US


# Merging


@quantity("p05-silu-apart", unit="B", shown="MB", source=GIVEN)
def silu_apart() -> int:
    """SiLU and product as two operations, 64 rows of Llama-3-8B in bf16."""
    row = LLAMA3_8B.mlp * 2
    return 64 * row * (2 + 3)


@quantity("p05-silu-merged", unit="B", shown="MB", source=GIVEN)
def silu_merged() -> int:
    """SiLU and product as one operation, 64 rows of Llama-3-8B in bf16."""
    row = LLAMA3_8B.mlp * 2
    return 64 * row * 3


@quantity("p05-silu-saved", unit="s", shown="\u03bcs", source=FLOORS)
def silu_saved() -> float:
    """What an H100 needs at least for the difference, all layers of Llama-3-8B."""
    return LLAMA3_8B.layers * (silu_apart() - silu_merged()) / h100_bandwidth()
