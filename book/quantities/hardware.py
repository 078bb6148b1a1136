r"""Accelerators as their makers state them: peak rates, which no program reaches."""

from __future__ import annotations

from dataclasses import dataclass

from book.quantities.registry import quantity

H100_SOURCE = "NVIDIA H100 SXM data sheet: dense bf16 rate without sparsity, HBM3 bandwidth"


@dataclass(frozen=True)
class Accelerator:
    """Peak rates of one device."""

    name: str
    bytes_per_second: float
    operations_per_second: float
    memory_bytes: int


H100 = Accelerator("H100 SXM", 3.35e12, 989e12, 80 * 10**9)

# What a serving engine gets out of the peak on long prompts; stated once, as an assumption.
USEFUL_SHARE = 0.4


@quantity("h100-bandwidth", unit="B/s", shown="TB/s", source=H100_SOURCE)
def h100_bandwidth() -> float:
    """Bytes that an H100 SXM reads from its memory in a second, at the peak."""
    return H100.bytes_per_second


@quantity("h100-bf16-peak", unit="FLOP/s", shown="TFLOP/s", source=H100_SOURCE)
def h100_bf16_peak() -> float:
    """Dense bf16 operations that an H100 SXM does in a second, at the peak."""
    return H100.operations_per_second


@quantity(
    "h100-bf16-useful",
    unit="FLOP/s",
    shown="TFLOP/s",
    source="assumption: 40% of the peak, in round figures",
)
def h100_bf16_useful() -> float:
    """Operations a second that we count on for long prompts on an H100."""
    return round(H100.operations_per_second * USEFUL_SHARE, -14)


@quantity("h100-ridge", unit="FLOP/B", source=H100_SOURCE)
def h100_ridge() -> float:
    """Operations a byte at which an H100 stops waiting for memory and starts waiting for math."""
    return H100.operations_per_second / H100.bytes_per_second
