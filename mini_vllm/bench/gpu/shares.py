r"""What must attention and a product move and compute, whoever does it?

The counts here are those of the *work*, not of a kernel: each input once, the result once, and the
multiplications that the definition has. A kernel that reads a key twice is not given credit for the
second time. The share that a kernel reaches is the floor of its work over its time; on a device
whose limits were measured, 1 would be a kernel that does nothing but move what must be moved, at
the speed of a copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mini_vllm.bench.gpu.timer import middle
from mini_vllm.kernels.cost import Device, KernelCost


@dataclass(frozen=True)
class HeadShape:
    """The heads of one attention layer."""

    num_heads: int
    num_kv_heads: int
    head_size: int


def attention_work(
    query_lens: Sequence[int], seq_lens: Sequence[int], heads: HeadShape, *, itemsize: int = 2
) -> KernelCost:
    r"""Causal attention of requests whose last `query_len` of `seq_len` tokens are asked about.

    Queries, keys and values in, a result as large as the queries out. A query and a key that it
    may see take two operations a number for the score and two for the sum of values; exponentials
    are not counted.
    """
    queries = sum(query_lens) * heads.num_heads * heads.head_size
    past = 2 * sum(seq_lens) * heads.num_kv_heads * heads.head_size
    pairs = sum(
        length * query - query * (query - 1) // 2
        for query, length in zip(query_lens, seq_lens, strict=True)
    )
    operations = 4 * pairs * heads.num_heads * heads.head_size
    return KernelCost((queries + past) * itemsize, queries * itemsize, operations)


def product_work(rows: int, columns: int, depth: int, *, itemsize: int = 2) -> KernelCost:
    """`[rows, depth]` by `[depth, columns]`."""
    read = (rows + columns) * depth * itemsize
    return KernelCost(read, rows * columns * itemsize, 2 * rows * columns * depth)


@dataclass(frozen=True)
class Measured:
    """One work on the device: what, by whom, what it must cost, and the seconds of each turn."""

    name: str
    what: str
    by: str
    cost: KernelCost
    seconds: list[float]

    def as_row(self, device: Device) -> dict[str, Any]:
        r"""The row of a record, with the share of `device`'s limit that was reached."""
        floor, median = self.cost.floor(device), middle(self.seconds)
        return {
            "name": self.name,
            "what": self.what,
            "by": self.by,
            "bytes": self.cost.bytes_moved,
            "operations": self.cost.operations,
            "seconds": self.seconds,
            "median_s": median,
            "floor_s": floor.seconds,
            "bound_by": floor.bound_by,
            "share": floor.share(median),
        }


def times_as_fast(slow_s: float, fast_s: float) -> float:
    """How many times as fast; raises `ValueError` for times that are not above 0."""
    if not slow_s > 0 or not fast_s > 0:
        raise ValueError(f"times must be above 0, got {slow_s} s and {fast_s} s")
    return slow_s / fast_s
