r"""Numbers of phase 05: asking, computing, padding, pieces; computed, or read from a measurement.

Times of an H100 are *floors*: bytes over bandwidth and operations over rate, both from the data
sheet. A launch is a given of the text, and no device was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from book.measurements import measurement
from book.quantities.hardware import H100, H100_SOURCE
from book.quantities.llama import LLAMA3_8B, DecoderShape
from book.quantities.registry import quantity
from mini_vllm.compilation.capture_sizes import CaptureSizes, default_capture_sizes

QWEN3_06B = DecoderShape(
    layers=28, hidden=1024, heads=16, kv_heads=8, head_dim=128, mlp=3072, vocab=151_936
)
QWEN3_8B = DecoderShape(
    layers=36, hidden=4096, heads=32, kv_heads=8, head_dim=128, mlp=12_288, vocab=151_936
)
LLAMA3_70B = DecoderShape(
    layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, mlp=28_672, vocab=128_256
)
#: Givens of the text: a launch by the host, the least time of a kernel, the device's gap.
LAUNCH, SHORTEST, GAP = 5e-6, 2e-6, 1e-6
FLOORS = f"floors from the {H100_SOURCE}; launch, least kernel and gap as given in the text"
CALLS = "committed measurement call-price"
LADDER = "the pinned tree's rule for capture sizes, computed"
GIVEN = "arithmetic on the numbers of the text"


class Kernel(NamedTuple):
    """One kernel of a step and its floor on an H100, in seconds."""

    name: str
    seconds: float


def kernels(
    shape: DecoderShape, batch: int, context: int = 1024, devices: int = 1
) -> Iterator[Kernel]:
    """A step of decodes in bf16, kernel by kernel: ten a layer, and the output layer."""
    hidden, queries = shape.hidden, shape.heads * shape.head_dim // devices
    keys, mlp = shape.kv_heads * shape.head_dim / devices, shape.mlp // devices

    def product(name: str, inner: float, outer: float) -> Kernel:
        moved = 2 * (inner * outer + batch * (inner + outer))
        done = 2 * batch * inner * outer
        return Kernel(name, max(moved / H100.bytes_per_second, done / H100.operations_per_second))

    def passing(name: str, numbers: float) -> Kernel:
        return Kernel(name, 2 * batch * numbers / H100.bytes_per_second)

    for _ in range(shape.layers):
        yield passing("add and norm", 4 * hidden)
        yield product("qkv", hidden, queries + 2 * keys)
        yield passing("rotary", 2 * (queries + keys))
        yield passing("cache write", 4 * keys)
        yield passing("attention", 2 * queries + 2 * keys * context)
        yield product("o", queries, hidden)
        yield passing("add and norm", 4 * hidden)
        yield product("gate and up", hidden, 2 * mlp)
        yield passing("silu and mul", 3 * mlp)
        yield product("down", mlp, hidden)
    yield product("logits", hidden, shape.vocab // devices)


def busy(durations: list[float]) -> float:
    """Seconds in which the device computes."""
    return sum(max(one, SHORTEST) for one in durations)


def eager(durations: list[float], launch: float = LAUNCH) -> float:
    """When the last kernel ends if the host asks for each."""
    end = 0.0
    for number, one in enumerate(durations, start=1):
        end = max(number * launch, end + GAP) + max(one, SHORTEST)
    return end


def graph(durations: list[float], launch: float = LAUNCH) -> float:
    """When it ends if the host asks once."""
    return launch + busy(durations) + GAP * (len(durations) - 1)


def step(shape: DecoderShape, batch: int, **more: Any) -> list[float]:
    """The floors of all kernels of a step."""
    return [kernel.seconds for kernel in kernels(shape, batch, **more)]


@quantity("p05-kernels-06b", unit="", source=GIVEN)
def kernels_06b() -> int:
    """Kernels of a step of Qwen3-0.6B, ten a layer and the output layer."""
    return len(step(QWEN3_06B, 1))


def patience(durations: list[float]) -> float:
    """The dearest launch that the device does not notice: the mean of what it does by itself."""
    return (busy(durations) + GAP * (len(durations) - 1)) / len(durations)


@quantity("p05-patience-06b", unit="s", shown="μs", source=FLOORS, phases=(5,))
def patience_06b() -> float:
    """Qwen3-0.6B, 16 decodes at 1,024 tokens: a launch may cost so much, unnoticed."""
    return patience(step(QWEN3_06B, 16))


@quantity("p05-patience-06b-one", unit="s", shown="μs", source=FLOORS, phases=(5,))
def patience_06b_one() -> float:
    """Qwen3-0.6B, one decode at 1,024 tokens: a launch may cost so much, unnoticed."""
    return patience(step(QWEN3_06B, 1))


@quantity("p05-patience-8b", unit="s", shown="μs", source=FLOORS, phases=(5,))
def patience_8b() -> float:
    """Llama-3-8B, 16 decodes at 1,024 tokens: a launch may cost so much, unnoticed."""
    return patience(step(LLAMA3_8B, 16))


@quantity("p05-patience-8b-tp8", unit="s", shown="μs", source=FLOORS, phases=(5,))
def patience_8b_tp8() -> float:
    """Llama-3-8B, 16 decodes at 1,024 tokens, on eight devices, communication left out."""
    return patience(step(LLAMA3_8B, 16, devices=8))


@quantity("p05-times-06b", unit="×", source=FLOORS)
def times_06b() -> float:
    """How many times as fast a graph is for one decode of Qwen3-0.6B at 10 μs a launch."""
    durations = step(QWEN3_06B, 1)
    return eager(durations, 10e-6) / graph(durations, 10e-6)


@quantity("p05-idle-06b", unit="%", source=FLOORS)
def idle_06b() -> float:
    """Share of a decode of Qwen3-0.6B, launched kernel by kernel, in which the device is idle."""
    durations = step(QWEN3_06B, 1)
    return 100 * (1 - busy(durations) / eager(durations, 10e-6))


@quantity("p05-times-8b-tp8", unit="×", source=FLOORS)
def times_8b_tp8() -> float:
    """And for 16 decodes of Llama-3-8B on eight devices, communication left out."""
    durations = step(LLAMA3_8B, 16, devices=8)
    return eager(durations, 10e-6) / graph(durations, 10e-6)


@lru_cache(maxsize=1)
def _calls() -> dict[str, Any]:
    return measurement("call-price").values


@quantity("p05-call-price", unit="s", shown="μs", source=CALLS, phases=(5,))
def call_price() -> float:
    """One call of torch that adds two rows of 64 numbers, on the machine of the measurement."""
    price: float = _calls()["prices_us"]["torch, a + a"]
    return price * 1e-6


@quantity("p05-python-price", unit="s", shown="μs", source=CALLS)
def python_price() -> float:
    """One call of an empty Python function there."""
    price: float = _calls()["prices_us"]["an empty Python function"]
    return price * 1e-6


@quantity("p05-cpu-operations", unit="", source=CALLS)
def cpu_operations() -> int:
    """Operations of the book's model in a step of one row, attention left out."""
    return int(_calls()["steps"][0]["operations"])


@quantity("p05-cpu-step", unit="s", shown="ms", source=CALLS)
def cpu_step() -> float:
    """What they took."""
    microseconds: float = _calls()["steps"][0]["us"]
    return microseconds * 1e-6


@quantity("p05-cpu-asking", unit="%", source=CALLS)
def cpu_asking() -> float:
    """Share of that which is asking, at the price of an addition each."""
    return 100 * cpu_operations() * call_price() / cpu_step()


@quantity("p05-cpu-weights-h100", unit="s", shown="μs", source=H100_SOURCE)
def cpu_weights_h100() -> float:
    """What an H100 would need at least to read the weights that these operations read."""
    # Four layers of the book's model: hidden 256, 4 and 2 heads of 64, MLP of 640, float32.
    layer = 256 * 64 * (4 + 2 + 2) + 4 * 64 * 256 + 3 * 256 * 640
    return 4 * 4 * layer / H100.bytes_per_second


@quantity("p05-sizes-512", unit="", source=LADDER, phases=(5,))
def sizes_512() -> int:
    """Capture sizes up to 512."""
    return len(default_capture_sizes(512, 8192))


@quantity("p05-waste-33", unit="%", source=LADDER)
def waste_33() -> float:
    """Padding in a step of 33 tokens."""
    return 100 * CaptureSizes(default_capture_sizes(512, 8192)).waste([33])


@quantity("p05-waste-257", unit="%", source=LADDER)
def waste_257() -> float:
    """Padding in a step of 257 tokens."""
    return 100 * CaptureSizes(default_capture_sizes(512, 8192)).waste([257])


@quantity("p05-waste-5", unit="%", source=LADDER)
def waste_5() -> float:
    """Padding in a step of 5 tokens."""
    return 100 * CaptureSizes(default_capture_sizes(512, 8192)).waste([5])
