r"""How fast is this device when it does one thing only?

Two works, each the simplest of its kind: a copy of an array that no cache holds, which reads and
writes every byte once, and a product of two large square matrices by the vendor's library. Their
best turns are the limits to which every other figure of the run refers. The best and not the
median: a limit that was measured too low would flatter whoever is measured against it.
"""

from __future__ import annotations

from collections.abc import Callable

from mini_vllm.bench.gpu.timer import Timer
from mini_vllm.kernels.cost import Device

#: Bytes that the copy reads; it writes as many: 2 GiB.
COPIED = 2 << 30
#: The side of the square matrices.
SIDE = 8192


def limits(
    name: str,
    copy: Callable[[], object],
    product: Callable[[], object],
    timer: Timer,
    *,
    copied: int = COPIED,
    side: int = SIDE,
    repeats: int = 20,
) -> Device:
    """The device as this run found it."""
    bandwidth = 2 * copied / min(timer(copy, repeats))
    rate = 2 * side**3 / min(timer(product, repeats))
    return Device(name, bandwidth, rate, "measured in the same run: a copy, a square product")


def cuda_limits(name: str, timer: Timer) -> Device:
    """{py:func}`limits` of the current CUDA device, in bfloat16."""
    import torch

    source = torch.empty(COPIED, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    a, b = (
        torch.randn(SIDE, SIDE, device="cuda").bfloat16() for _ in range(2)
    )  # not zeros: numbers that do not change cost less power, and a device runs faster on them
    return limits(name, lambda: target.copy_(source), lambda: a @ b, timer)
