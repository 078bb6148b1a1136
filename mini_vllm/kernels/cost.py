r"""How fast can a kernel be, before anybody has written it?

Count. A kernel has to read its inputs and write its outputs, once each if it is clever, and it has
to do its arithmetic. Memory delivers so many bytes in a second and the arithmetic units do so many
operations, so each of the two counts is a time, and no cleverness beats the larger:

$$
t \ge \max\left(\frac{\text{bytes}}{\text{bandwidth}},
                \frac{\text{operations}}{\text{rate}}\right).
$$

That bound is the kernel's *floor*, and the picture of it over the ratio of the two counts is the
roofline {cite}`roofline`. It is computed here and measured nowhere: a floor is not a forecast.
What it is good for is a verdict. A kernel at nine tenths of its floor is finished; one at a tenth
is not, and the side that decides says where to look.

Each kernel of {py:mod}`mini_vllm.kernels.triton` comes with a function that returns its
{py:class}`KernelCost` for given shapes, and a test runs the kernel with every load and store
counted, and compares.

Nothing here needs torch or a device.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    r"""What a floor needs to know of a machine, and who says so.

    `bandwidth` is in bytes a second, `rate` in operations a second: that of its fastest unit for
    the type in question, without sparsity, since a floor must lie below every way of doing the
    work. A multiplication and the addition that follows are two operations. `source` names the data
    sheet or the measurement; a device without one is refused.
    """

    name: str
    bandwidth: float
    rate: float
    source: str

    def __post_init__(self) -> None:
        if not self.bandwidth > 0 or not self.rate > 0:
            raise ValueError(
                f"{self.name}: bandwidth and rate must be above 0, "
                f"got {self.bandwidth} B/s and {self.rate} operations/s"
            )
        if not self.source:
            raise ValueError(f"{self.name}: say where bandwidth and rate come from")

    @property
    def ridge(self) -> float:
        r"""The operations per byte at which both sides take equally long.

        Work below it waits for memory, work above it for arithmetic.
        """
        return self.rate / self.bandwidth


@dataclass(frozen=True)
class Floor:
    r"""The time that a device needs at least, in seconds, and which side decides."""

    seconds: float
    bound_by: str

    def share(self, measured: float) -> float:
        r"""The floor as a share of a measured time: 1 is perfect, and more is an error of counting.

        Raises `ValueError` for a time that is not above 0.
        """
        if not measured > 0:
            raise ValueError(f"a measured time must be above 0, got {measured} s")
        return self.seconds / measured


@dataclass(frozen=True)
class KernelCost:
    r"""What a kernel moves and computes: bytes read, bytes written, operations.

    Bytes are those that the kernel's loads and stores touch, each address counted once, however
    many programs ask for it: what a perfect cache would fetch. Only so is the floor a floor. How
    often a byte is asked for is another number, and says how much is left to the cache
    ({py:mod}`mini_vllm.kernels.triton.counting`).

    Sums are of counts: `a + b` is the cost of both kernels' work. Its floor is that of the two
    *fused*, with neither waiting for the other; kernels that run one after the other take at least
    the sum of their floors, which is more.
    """

    bytes_read: int
    bytes_written: int
    operations: int

    def __post_init__(self) -> None:
        for name in ("bytes_read", "bytes_written", "operations"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def __add__(self, other: KernelCost) -> KernelCost:
        return KernelCost(
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.operations + other.operations,
        )

    def __mul__(self, times: int) -> KernelCost:
        return KernelCost(
            self.bytes_read * times, self.bytes_written * times, self.operations * times
        )

    @property
    def bytes_moved(self) -> int:
        """Bytes read and bytes written."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Operations per byte moved; raises `ValueError` for work that moves nothing."""
        if not self.bytes_moved:
            raise ValueError("arithmetic intensity of work that moves no byte")
        return self.operations / self.bytes_moved

    def floor(self, device: Device) -> Floor:
        """The least time on `device`; on a tie, memory is named."""
        memory, arithmetic = self.bytes_moved / device.bandwidth, self.operations / device.rate
        if arithmetic > memory:
            return Floor(arithmetic, "arithmetic")
        return Floor(memory, "memory")


#: The cost of nothing, where a sum begins.
NO_COST = KernelCost(0, 0, 0)
