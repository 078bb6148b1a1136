r"""Where does a transformer keep most of its weights?

In two matrices per layer that do nothing but look at one token: up to a wider space, and back
down. In between, one half of the wide vector decides how much of the other half passes:

$$\mathrm{mlp}(x) = W_{down} \left( \mathrm{silu}(W_{gate} x) \odot W_{up} x \right)$$

The two wide products share their input, so they are one stacked product, and gate and up come out
side by side for {py:meth}`~mini_vllm.kernels.interface.Kernels.silu_and_mul`.
"""

from __future__ import annotations

import torch
from torch import nn

from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.linear import Linear, StackedLinear


class GatedMLP(nn.Module):
    r"""Up, gate, down, for each token alone: `[num_tokens, hidden]` to the same shape.

    Upstream: {up}`vllm/model_executor/models/llama.py#LlamaMLP`.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        bias: bool = False,
        kernels: Kernels | None = None,
    ):
        super().__init__()
        parts = {"gate_proj": intermediate_size, "up_proj": intermediate_size}
        self.gate_up_proj = StackedLinear(hidden_size, parts, bias=bias, kernels=kernels)
        self.down_proj = Linear(intermediate_size, hidden_size, bias=bias, kernels=kernels)
        self.kernels = kernels or TorchKernels()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the MLP to each row of `x`."""
        return self.down_proj(self.kernels.silu_and_mul(self.gate_up_proj(x)))
