r"""Which operations does a model need, apart from multiplying matrices?

Four, it turns out, for every dense decoder in this house. What lies between the matrix products is
short, limited by memory and by the price of a call, and worth having twice: once as plain torch
that anybody can check by eye, and once fast. The products themselves go to the library that the
vendor tuned, and are on the list because it has two blind spots. It is no faster at a single row
than a plain loop, and slower than a good one; and it does not know that the weights will be the
same in the next call ({py:meth}`Kernels.prepare_linear`).

{py:class}`Kernels` is the list. A layer is given one of its implementations when it is built and
never asks which; {py:func}`mini_vllm.kernels.selector.select_kernels` chooses, and says why. A
test runs every implementation against {py:class}`~mini_vllm.kernels.torch_kernels.TorchKernels`.

Upstream has the same idea grown up. An operation is declared once, with its meaning in plain
torch ({up}`vllm/ir/op.py`); providers register faster versions, and a priority list per platform
picks. So far it covers the norms; other layers still dispatch through
{up}`vllm/model_executor/custom_op.py#CustomOp`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch


class Kernels(ABC):
    r"""What every implementation offers. No method modifies its arguments."""

    #: The name by which a log line or an error speaks of this implementation.
    name: str
    #: Whether a model may compute a single token by compiled code of whole layers.
    fuses_single_tokens = False

    @abstractmethod
    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        r"""`x @ weight.T + bias`: `[num_tokens, in_size]` to `[num_tokens, out_size]`."""

    def prepare_linear(
        self, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        r"""{py:meth}`linear` with this weight and bias, as a function of `x`.

        Asked for once per layer, when the weights are loaded and will not change again. An
        implementation may prepare what it likes here; this one prepares nothing.
        """
        return lambda x: self.linear(x, weight, bias)

    @abstractmethod
    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        r"""Scale each row of `x`, `[num_tokens, size]`, to unit root mean square, times `weight`.

        The mean is taken in float32 whatever the type of `x`.
        """

    @abstractmethod
    def add_rms_norm(
        self, x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""The norm of `x + residual`, and that sum: what the next layer reads, and what it adds
        to.

        All are `[num_tokens, size]`. Upstream's fused version overwrites both of its inputs
        ({up}`vllm/model_executor/layers/layernorm.py#RMSNorm.forward_native` does not); this one
        does not.
        """

    @abstractmethod
    def silu_and_mul(self, x: torch.Tensor) -> torch.Tensor:
        r"""`silu(gate) * up` where `x`, `[num_tokens, 2 size]`, holds both side by side."""

    @abstractmethod
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
        r"""From one fused projection to rotated queries, rotated keys, and values.

        `qkv` is `[num_tokens, (num_heads + 2 num_kv_heads) head_size]`, `positions`
        `[num_tokens]`, and `cos_sin_cache` `[max_position, head_size]` in float32, cosines first.
        With `q_norm` and `k_norm` (`[head_size]` each) every head is normed before it is rotated,
        as Qwen3 does. Returns three contiguous tensors, `[num_tokens, heads, head_size]`.
        """
