r"""How fast can this machine read its memory, and how fast can it multiply?

That is the floor under a decode step. To draw one token the model reads every weight once, and a
weight that is used once costs what it costs to bring it in. So the time per token at batch 1 cannot
be below the bytes of the weights divided by this figure, whoever wrote the engine.

Three plain reads are tried, over an array that no cache holds, each several times; the best of all
is taken, since a limit that is too low would flatter us.

A step of many tokens has another floor: its products. {py:func}`products` times square ones, large
enough that memory does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def bandwidth(mebibytes: int = 1024, passes: int = 5, threads: int = 1) -> dict[str, float]:
    """Bytes a second, of the best pass of the best way to read."""
    import torch

    torch.set_num_threads(threads)
    count = mebibytes * (1 << 20) // 4
    # Not zeros: pages of zeros that nobody has written are all one page, which a cache holds.
    floats = torch.ones(count)
    words = floats.view(torch.int32)
    half = words.view(torch.bfloat16).view(-1, 4096)
    row = torch.zeros(4096, dtype=torch.bfloat16)
    ways = {
        "sum": lambda: floats.sum(),
        "max": lambda: words.max(),
        "product": _our_product(half, row),
    }
    rates = {}
    for name, read in ways.items():
        seconds = []
        for _ in range(passes):
            started = time.perf_counter()
            read()
            seconds.append(time.perf_counter() - started)
        rates[name] = count * 4 / min(seconds)
    return {"bytes_per_s": max(rates.values()), **rates}


def products(size: int = 1024, passes: int = 40, threads: int = 1) -> dict[str, float]:
    """Operations a second of a square product in each type, the best pass."""
    import torch

    torch.set_num_threads(threads)
    rates = {}
    for name in ("float32", "bfloat16"):
        one = torch.ones(size, size, dtype=getattr(torch, name))
        seconds = []
        for _ in range(passes):
            started = time.perf_counter()
            one @ one
            seconds.append(time.perf_counter() - started)
        rates[name] = 2 * size**3 / min(seconds)
    return rates


def _our_product(half: torch.Tensor, row: torch.Tensor) -> Callable[[], object]:
    """The engine's own product with one row, which reads as a decode step does."""
    import torch

    from mini_vllm.kernels.selector import select_kernels

    kernels = select_kernels(torch.device("cpu"), torch.bfloat16).kernels
    one = row.view(1, -1)
    return lambda: kernels.linear(one, half, None)
