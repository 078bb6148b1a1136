r"""Which of a model's operations are worth a kernel of one's own, on a GPU?

Those between the products. A step of a small model launches some ten kernels a layer; what torch
would do in five (a slice, a square, a mean, a product, a cast) is here one, and each number passes
through memory once. The kernels, with their reasons and their costs, are the modules of
{py:mod}`mini_vllm.kernels.triton`; this class only hands tensors over.

The products go to torch, which asks the vendor's library. That library is tuned for each device
and shape, and a kernel that nobody has tuned does not beat it.
{py:mod}`mini_vllm.kernels.triton.linear` is where one begins if there is a reason: a weight in
four bits, say, that the library cannot read.

Imports Triton; {py:func}`mini_vllm.kernels.selector.select_kernels` asks first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mini_vllm.errors import ConfigError
from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.triton import activation, norm, rotary
from mini_vllm.kernels.triton.availability import is_interpreted


class TritonKernels(Kernels):
    r"""The operations as Triton kernels, for CUDA devices.

    With `interpreted` they run on the CPU, in Triton's interpreter, a thousand times slower: for
    tests. The flag must agree with the process, since a server that interprets by accident would
    look as if it hung; a {py:class}`~mini_vllm.errors.ConfigError` says so.
    """

    name = "triton"

    def __init__(self, *, interpreted: bool = False) -> None:
        if interpreted != is_interpreted():
            does = "interprets its kernels" if is_interpreted() else "compiles its kernels"
            raise ConfigError(
                f"TritonKernels(interpreted={interpreted}) in a process that {does}: "
                "TRITON_INTERPRET decides, before triton is imported"
            )

    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.linear`; the vendor's library."""
        return F.linear(x, weight, bias)

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.rms_norm`."""
        return norm.rms_norm(x, weight, eps)

    def add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.add_rms_norm`."""
        return norm.add_rms_norm(x, residual, weight, eps)

    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.silu_and_mul`."""
        return activation.silu_and_mul(x)

    def split_qkv_rotary(
        self,
        qkv: torch.Tensor,
        positions: torch.Tensor,
        cos_sin_cache: torch.Tensor,
        num_heads: int,
        num_kv_heads: int,
        q_norm: torch.Tensor | None = None,
        k_norm: torch.Tensor | None = None,
        eps: float = 1e-6,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.split_qkv_rotary`."""
        return rotary.split_qkv_rotary(
            qkv, positions, cos_sin_cache, num_heads, num_kv_heads, q_norm, k_norm, eps
        )
