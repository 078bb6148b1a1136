r"""Which attention ran, and why not the other one?

The question is asked whenever two machines disagree on speed, so the answer is kept: the choice
carries its reason, and each backend that was passed over carries its own. The rule is the one that
{up}`vllm/platforms/cuda.py#CudaPlatformBase.get_attn_backend_cls` applies: a backend asked for by
name must fit or the start fails, and otherwise the first that fits wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec

import torch

from mini_vllm.attention.backend import AttentionBackend
from mini_vllm.attention.torch_reference import TorchReferenceBackend
from mini_vllm.errors import ConfigError

#: Names in the order in which "auto" tries them.
PRIORITY = ("cpu_numba", "torch_reference")


@dataclass(frozen=True)
class AttentionChoice:
    """The backend that was chosen, why, and what stood against those tried before it."""

    backend: AttentionBackend
    reason: str
    passed_over: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        passed = "".join(f"; not {name}: {why}" for name, why in self.passed_over.items())
        return f"attention backend {self.backend.name} ({self.reason}){passed}"


def obstacle_to(
    name: str, device: torch.device, dtype: torch.dtype, head_size: int
) -> tuple[type[AttentionBackend] | None, str | None]:
    """The backend class called `name`, and why it cannot be used here (None if it can)."""
    if name == TorchReferenceBackend.name:
        return TorchReferenceBackend, None
    if find_spec("numba") is None:
        return None, "numba is not installed"
    from mini_vllm.attention.cpu_numba import CpuNumbaBackend

    return CpuNumbaBackend, CpuNumbaBackend.supports(device, dtype, head_size)


def select_attention_backend(
    device: torch.device, dtype: torch.dtype, head_size: int, requested: str = "auto"
) -> AttentionChoice:
    r"""The backend for a model of this `dtype` and `head_size` on `device`.

    `requested` is `"auto"` or one of {py:data}`PRIORITY`; an unknown name, or a known one that
    does not fit, is a {py:class}`~mini_vllm.errors.ConfigError` that says why.
    """
    if requested not in ("auto", *PRIORITY):
        raise ConfigError(
            f"unknown attention backend {requested!r}: choose auto, {', '.join(PRIORITY)}"
        )
    passed_over: dict[str, str] = {}
    for name in PRIORITY if requested == "auto" else (requested,):
        backend, obstacle = obstacle_to(name, device, dtype, head_size)
        if backend is not None and obstacle is None:
            reason = "the first that fits" if requested == "auto" else "asked for by name"
            return AttentionChoice(backend(), reason, passed_over)
        passed_over[name] = obstacle or "not available"
    raise ConfigError(f"attention backend {requested!r} cannot be used: {passed_over[requested]}")
