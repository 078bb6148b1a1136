r"""What does a norm protect?

The sum that runs through the whole model. Each layer adds its result to the residual stream, so
the stream grows, and a layer that read it raw would see inputs of a different size at every depth.
RMSNorm hands the layer a copy scaled to unit root mean square,

$$y_i = \frac{x_i}{\sqrt{\frac{1}{n} \sum_j x_j^2 + \epsilon}} \; w_i,$$

and leaves the stream itself alone. "A copy" is the point. In bfloat16 the cast to float32 makes
one by accident; in float32 it does not, and a norm written in place then scales the stream. That is
a real bug of a real engine, silent in its usual precision and wrong in every token of the other.

It is LayerNorm without the mean and without the bias: two passes over the vector instead of three,
and models do as well without.
"""

from __future__ import annotations

import torch
from torch import nn

from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.weight_slot import WeightSlot


class RMSNorm(nn.Module):
    r"""Scale rows to unit root mean square, times a learned weight per column.

    `norm(x)` returns the norm of `x`, `[num_tokens, size]`. `norm(x, residual)` returns two
    tensors: the norm of `x + residual`, and that sum, which is the next residual. Neither input is
    modified. Upstream: {up}`vllm/model_executor/layers/layernorm.py#RMSNorm`.
    """

    def __init__(self, size: int, eps: float, kernels: Kernels | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size), requires_grad=False)
        self.eps = eps
        self.kernels = kernels or TorchKernels()

    def forward(
        self, x: torch.Tensor, residual: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The norm of `x`, or of `x + residual` together with that sum."""
        if residual is None:
            return self.kernels.rms_norm(x, self.weight, self.eps)
        return self.kernels.add_rms_norm(x, residual, self.weight, self.eps)

    def weight_slots(self, name: str) -> dict[str, WeightSlot]:
        """The one weight, under its own name."""
        return {f"{name}.weight": WeightSlot.whole(self.weight)}
