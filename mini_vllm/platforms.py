r"""What machine is this, and what should the engine do about it?

Three answers are needed before a model can be built: which device, in which type to compute, and
how much memory the keys and values may have. None of them is a matter of taste, and all of them
differ between a laptop and a GPU, so they are asked in one place and nowhere else.

Upstream: {up}`vllm/platforms/interface.py#Platform`, with one subclass per vendor, chosen at
import.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
from dataclasses import dataclass

import torch

from mini_vllm.errors import ConfigError

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_GIB = 1 << 30
_BIG_PAGE = 2 << 20


@dataclass(frozen=True)
class Platform:
    r"""One device and what it is good for.

    Upstream's object of this kind answers some sixty questions; these are the ones that this
    engine asks.
    """

    device: torch.device

    @property
    def name(self) -> str:
        """`"cpu"` or `"cuda"`."""
        return self.device.type

    def dtype(self, name: str) -> torch.dtype:
        r"""The type to compute in, from its name; refuses one that the device cannot do at all.

        bfloat16 on a GPU needs compute capability 8.0. float16 on a CPU is allowed and slow: no
        compiled loop here knows it, so it takes the plain torch road.
        """
        if name not in _DTYPES:
            raise ConfigError(f"unknown dtype {name!r}; choose one of {', '.join(_DTYPES)}")
        if name == "bfloat16":
            capability = self.compute_capability()
            if capability is not None and capability < (8, 0):
                raise ConfigError(
                    f"dtype 'bfloat16' needs compute capability 8.0, this device has "
                    f"{capability[0]}.{capability[1]}; use float16 or float32"
                )
        return _DTYPES[name]

    def compute_capability(self) -> tuple[int, int] | None:
        r"""The generation of a CUDA device, such as `(9, 0)`; None elsewhere.

        What a device can do beyond speed hangs on it: which types its matrix units know, and which
        attention is tried first ({py:func}`mini_vllm.attention.selector.priorities`).
        """
        return torch.cuda.get_device_capability(self.device) if self.name == "cuda" else None

    def kv_cache_memory(self) -> int:
        r"""How many bytes the keys and values may take when nobody said, weights already loaded.

        On a GPU, nine tenths of what is free: nothing else is going to live there. On a CPU a
        quarter of what is free and at most {given}`4 GiB`, since it is somebody's desk; that is
        also the least surprise, as memory is only taken when pages are first written. Upstream
        measures a forward pass first
        ({up}`vllm/v1/worker/gpu_worker.py#Worker.determine_available_memory`).
        """
        if self.name == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            return free * 9 // 10
        return min(available_host_memory() // 4, 4 * _GIB)

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        r"""A big tensor of zeros, such as a cache.

        On the CPU it costs nothing until it is touched, since the operating system promises zeros
        and delivers them page by page; torch's own zeros are written at once, all of them. Big
        pages are asked for: attention jumps about in a cache, and each jump to another page has
        its address looked up first.
        """
        if self.name != "cpu":
            return torch.zeros(shape, dtype=dtype, device=self.device)
        memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        return torch.frombuffer(memory, dtype=dtype).view(shape)


def detect_platform(device: str = "auto") -> Platform:
    r"""The platform for `device`: `"cpu"`, `"cuda"`, or `"auto"` for CUDA where there is one.

    Raises {py:class}`~mini_vllm.errors.ConfigError` for another name, and for CUDA where torch
    sees no device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"unknown device {device!r}; choose auto, cpu or cuda")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ConfigError("device 'cuda' was asked for, and torch finds no CUDA device here")
    kind = "cuda" if has_cuda and device != "cpu" else "cpu"
    return Platform(torch.device(kind))


def prefer_big_pages(tensor: torch.Tensor) -> bool:
    r"""Ask for big pages under a tensor that has not been written yet; whether that was possible.

    A processor finds the place of each page in a table of its own that holds a few thousand; the
    weights of a model of a billion parameters lie in half a million pages of {given}`4 KiB`, and
    every step reads all of them. In pages of {given}`2 MiB` they are a thousand. A request and no
    more: the operating system may ignore it, and nothing depends on it but time. Big pages are
    delivered on first touch, so a tensor that has its values already keeps its small ones.
    """
    if tensor.device.type != "cpu" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return False
    # Only whole pages inside the tensor: its neighbours in memory belong to somebody else.
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if end - begin < _BIG_PAGE:
        return False
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    arguments = ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_HUGEPAGE
    return madvise(*arguments) == 0


def available_host_memory() -> int:
    r"""How many bytes this machine could still give to a process without writing any to disk.

    Not the same as free memory: what holds copies of files is available too. Where the system does
    not say (Linux does), its free pages are counted, and where it does not say that either,
    {given}`8 GiB` are assumed.
    """
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * _GIB
