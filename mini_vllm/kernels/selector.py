r"""Who decides which code computes a norm?

One function, once, when the model is built. It takes the first candidate that can do the work
and keeps the reason why each earlier one could not, so that "why is this slow here" has an answer
that can be printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from mini_vllm.errors import ConfigError
from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.kernels.triton.availability import is_interpreted, obstacles

#: What `select_kernels` can be asked for by name.
CHOICES = ("auto", "triton", "onednn", "numba", "torch")


@dataclass(frozen=True)
class KernelChoice:
    """The kernels that were chosen, and in one sentence why."""

    kernels: Kernels
    reason: str


def why_not_numba(device: torch.device, dtype: torch.dtype) -> str | None:
    """The reason why the compiled loops cannot serve this device and type, or None if they can."""
    if device.type != "cpu":
        return f"the compiled loops run on the CPU, not on {device.type}"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"the compiled loops know float32 and bfloat16, not {dtype}"
    if find_spec("numba") is None:
        return "numba is not installed"
    return None


def why_not_triton(device: torch.device) -> str | None:
    r"""All reasons why the Triton kernels cannot serve this device, in one line, or None if they
    can.

    They can on CUDA, and on a CPU whose process interprets them; whether they *should* there is
    another matter, so they are chosen for a CPU only by name.
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        return "torch finds no CUDA device here"
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    found = obstacles(device.type, capability)
    if device.type == "cuda" and is_interpreted():
        found.append("TRITON_INTERPRET is set: this process would interpret its kernels")
    return "; ".join(found) or None


def select_kernels(
    device: torch.device, dtype: torch.dtype, requested: str = "auto"
) -> KernelChoice:
    r"""The fastest {py:class}`~mini_vllm.kernels.interface.Kernels` for `device` and `dtype`.

    `requested` names one or leaves the choice (`"auto"`); a named one that cannot serve is a
    {py:class}`~mini_vllm.errors.ConfigError`, never a silent fall-back.
    """
    if requested not in CHOICES:
        raise ConfigError(f"unknown kernels {requested!r}: choose one of {', '.join(CHOICES)}")
    if requested == "torch":
        return KernelChoice(TorchKernels(), "asked for by name")
    if requested == "triton" or (requested == "auto" and device.type == "cuda"):
        return _triton(device, by_name=requested == "triton")
    obstacle = why_not_numba(device, dtype)
    if obstacle is not None:
        if requested != "auto":
            raise ConfigError(f"kernels {requested!r} cannot be used: {obstacle}")
        return KernelChoice(TorchKernels(), obstacle)
    # Only now: they import numba.
    from mini_vllm.kernels.numba_kernels import NumbaKernels
    from mini_vllm.kernels.onednn import OneDnnKernels, why_not_onednn

    if requested == "numba":
        return KernelChoice(NumbaKernels(), "asked for by name")
    obstacle = why_not_onednn(dtype)
    if obstacle is None:
        named = requested == "onednn"
        why = "asked for by name" if named else f"fastest for {dtype} on the CPU"
        return KernelChoice(OneDnnKernels(), why)
    if requested == "onednn":
        raise ConfigError(f"kernels 'onednn' cannot be used: {obstacle}")
    return KernelChoice(NumbaKernels(), obstacle)


def _triton(device: torch.device, *, by_name: bool) -> KernelChoice:
    obstacle = why_not_triton(device)
    if obstacle is not None:
        if by_name:
            raise ConfigError(f"kernels 'triton' cannot be used: {obstacle}")
        return KernelChoice(TorchKernels(), obstacle)
    # Only now: it imports triton.
    from mini_vllm.kernels.triton_kernels import TritonKernels

    why = "asked for by name" if by_name else "one kernel for what torch does in several"
    return KernelChoice(TritonKernels(interpreted=device.type != "cuda"), why)
