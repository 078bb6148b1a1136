r"""What do the operations mean?

This. Each method below is the definition, in as few lines of torch as it takes, on any device and
in any type. It is the oracle of the fast version, and the version that runs where there is no
fast one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mini_vllm.kernels.interface import Kernels


class TorchKernels(Kernels):
    """The operations in plain torch: slow at small sizes, right everywhere."""

    name = "torch"

    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.linear`."""
        return F.linear(x, weight, bias)

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.rms_norm`."""
        # `float()` of a float32 tensor is the tensor itself, so nothing here may be in place.
        wide = x.float()
        inverse = torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
        return (wide * inverse * weight.float()).to(x.dtype)

    def add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.add_rms_norm`."""
        total = x + residual
        return self.rms_norm(total, weight, eps), total

    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor:
        """See {py:meth}`~mini_vllm.kernels.interface.Kernels.silu_and_mul`."""
        gate, up = x.float().chunk(2, dim=-1)
        return (F.silu(gate) * up).to(x.dtype)

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
        head_size = cos_sin_cache.shape[1]
        # [num_tokens, all heads * head_size] -> [num_tokens, all heads, head_size]
        heads = qkv.view(qkv.shape[0], -1, head_size)
        query, key, value = heads.split([num_heads, num_kv_heads, num_kv_heads], dim=1)
        if q_norm is not None and k_norm is not None:
            query, key = self.rms_norm(query, q_norm, eps), self.rms_norm(key, k_norm, eps)
        # One angle per token and pair, the same for all heads: [num_tokens, 1, head_size / 2].
        cos, sin = cos_sin_cache[positions].unsqueeze(1).chunk(2, dim=-1)
        return rotate(query, cos, sin), rotate(key, cos, sin), value.contiguous()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    r"""Turn each pair `(x[d], x[d + head_size / 2])` by its angle.

    A pair as a complex number $a + ib$, times $\cos\theta + i \sin\theta$. The lower and the upper
    half of the head are the real and the imaginary parts; that choice is the checkpoint's, and
    neighbours `(2d, 2d + 1)` would be another model.
    """
    real, imaginary = x.float().chunk(2, dim=-1)
    turned = torch.cat((real * cos - imaginary * sin, imaginary * cos + real * sin), dim=-1)
    return turned.to(x.dtype)
