r"""Why are three projections one matrix?

Queries, keys and values are three linear maps of the same vector. Stacked into one matrix they are
one product with more columns, which a matrix library runs at a better rate, and one call instead of
three; at a batch of one, where a call costs as much as its work, that is most of the gain. The
gate and the up projection of an MLP are stacked in the same way.

A checkpoint stores the maps apart, under the names that its training code gave them. The stacked
layer knows those names and hands out a slot for each, so the fusion ends at the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.weight_slot import WeightSlot


class Linear(nn.Module):
    r"""`x @ weight.T + bias`: `[num_tokens, in_size]` to `[num_tokens, out_size]`.

    The weight is kept as checkpoints keep it, `[out_size, in_size]`. Memory is allocated and not
    initialised: a loader fills it, or fails.
    Upstream: {up}`vllm/model_executor/layers/linear.py#LinearBase`, whose subclasses differ in
    how they are cut across GPUs.
    """

    bias: nn.Parameter | None

    def __init__(
        self, in_size: int, out_size: int, *, bias: bool = False, kernels: Kernels | None = None
    ):
        super().__init__()
        self.kernels = kernels or TorchKernels()
        self.weight = nn.Parameter(torch.empty(out_size, in_size), requires_grad=False)
        # A bias is a parameter like any other, or a loader will not see it.
        bias_ = nn.Parameter(torch.empty(out_size), requires_grad=False) if bias else None
        self.register_parameter("bias", bias_)
        self.product: Callable[[torch.Tensor], torch.Tensor] | None = None

    def process_weights_after_loading(self) -> None:
        r"""Let the kernels prepare the weight; what is written to it later is not seen.

        Upstream's layers have a hook of this name, and pack in it:
        {up}`vllm/model_executor/layers/linear.py#UnquantizedLinearMethod`.
        """
        self.product = self.kernels.prepare_linear(self.weight, self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the map to each row of `x`."""
        if self.product is None:
            return self.kernels.linear(x, self.weight, self.bias)
        return self.product(x)

    def weight_slots(self, name: str) -> dict[str, WeightSlot]:
        """The weight, and the bias if there is one, under their own names."""
        slots = {f"{name}.weight": WeightSlot.whole(self.weight)}
        if self.bias is not None:
            slots[f"{name}.bias"] = WeightSlot.whole(self.bias)
        return slots


class StackedLinear(Linear):
    r"""Several maps of one input as one matrix; the output holds their results side by side.

    `parts` gives, in order, each map's name in the checkpoint and its number of outputs. A layer
    `self_attn.qkv_proj` with parts `q_proj`, `k_proj`, `v_proj` is filled by
    `self_attn.q_proj.weight` and its siblings. Upstream:
    {up}`vllm/model_executor/layers/linear.py#QKVParallelLinear` and
    {up}`vllm/model_executor/layers/linear.py#MergedColumnParallelLinear`.
    """

    def __init__(
        self,
        in_size: int,
        parts: Mapping[str, int],
        *,
        bias: bool = False,
        kernels: Kernels | None = None,
    ):
        super().__init__(in_size, sum(parts.values()), bias=bias, kernels=kernels)
        self.parts = dict(parts)

    def weight_slots(self, name: str) -> dict[str, WeightSlot]:
        """One slot per part, named as a sibling of this layer."""
        parent, _, _ = name.rpartition(".")
        slots: dict[str, WeightSlot] = {}
        start = 0
        for part, size in self.parts.items():
            sibling = f"{parent}.{part}" if parent else part
            slots[f"{sibling}.weight"] = WeightSlot(self.weight, start, size)
            if self.bias is not None:
                slots[f"{sibling}.bias"] = WeightSlot(self.bias, start, size)
            start += size
        return slots
