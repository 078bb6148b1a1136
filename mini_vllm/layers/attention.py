r"""Where do tokens meet?

Here, and nowhere else in the model. The layer projects each token to queries, keys and values,
turns the first two by the token's position, and leaves the rest to a backend that knows pages
({py:class}`~mini_vllm.attention.backend.AttentionBackend`). What it does not do is as telling. It
keeps no cache: the pages are handed in, and belong to the runner. It does not know how many
requests there are, or which of them is a prompt: that is in the metadata, which it passes on
unread.

Keys are rotated before they are stored. A key is read at each later step and written once, so
whatever can be done to it once is done at the write. The price: a cached block is good only for the
positions it was computed at, which is why prefix caching works from the beginning of a prompt and
not from its middle.
"""

from __future__ import annotations

import torch
from torch import nn

from mini_vllm.attention.backend import AttentionBackend
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.torch_reference import TorchReferenceBackend
from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.linear import Linear, StackedLinear
from mini_vllm.layers.norm import RMSNorm
from mini_vllm.layers.rotary import RotaryEmbedding


class Attention(nn.Module):
    r"""Grouped-query attention over a paged cache.

    `num_heads` query heads share `num_kv_heads` key and value heads, in groups of equal size.
    `head_size` need not be `hidden_size / num_heads`. With `qk_norm_eps` each head of the queries
    and keys is normed before it is rotated (Qwen3). `sliding_window` counts the token itself.
    `logits_soft_cap` bends the scores before the softmax so that none exceeds it (Gemma 2; no
    model of this house asks for it).
    Upstream: {up}`vllm/model_executor/models/llama.py#LlamaAttention`.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        head_size: int,
        rotary: RotaryEmbedding,
        *,
        qkv_bias: bool = False,
        output_bias: bool = False,
        qk_norm_eps: float | None = None,
        sliding_window: int | None = None,
        logits_soft_cap: float | None = None,
        backend: AttentionBackend | None = None,
        kernels: Kernels | None = None,
    ):
        super().__init__()
        if num_heads % num_kv_heads:
            raise ValueError(
                f"{num_heads} query heads cannot share {num_kv_heads} key heads evenly"
            )
        self.num_heads, self.num_kv_heads, self.head_size = num_heads, num_kv_heads, head_size
        self.scale = head_size**-0.5
        self.sliding_window = sliding_window
        self.logits_soft_cap = logits_soft_cap
        self.backend = backend or TorchReferenceBackend()
        if logits_soft_cap is not None and not self.backend.supports_soft_cap:
            raise ValueError(
                f"logits_soft_cap={logits_soft_cap}, but the attention backend "
                f"{self.backend.name} knows no soft cap"
            )
        self.kernels = kernels or TorchKernels()
        kv_size = num_kv_heads * head_size
        parts = {"q_proj": num_heads * head_size, "k_proj": kv_size, "v_proj": kv_size}
        self.qkv_proj = StackedLinear(hidden_size, parts, bias=qkv_bias, kernels=kernels)
        self.o_proj = Linear(num_heads * head_size, hidden_size, bias=output_bias, kernels=kernels)
        self.rotary = rotary
        # Modules for their weights; the arithmetic is in the fused kernel.
        self.q_norm = self.k_norm = None
        if qk_norm_eps is not None:
            self.q_norm = RMSNorm(head_size, qk_norm_eps)
            self.k_norm = RMSNorm(head_size, qk_norm_eps)

    def project(
        self, positions: torch.Tensor, hidden: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        r"""Queries and keys, rotated, and values, each `[num_tokens, heads, head_size]`.

        Row by row: `hidden` is `[num_tokens, hidden_size]`, `positions` `[num_tokens]`.
        """
        return self.rotary.split_and_rotate(
            self.qkv_proj(hidden),
            positions,
            self.num_heads,
            self.num_kv_heads,
            self.q_norm,
            self.k_norm,
            self.kernels,
        )

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        r"""Store keys and values in `kv_cache`, and let the queries look: all that is not by rows.

        Returns `[num_queries, num_heads * head_size]`. There may be fewer queries than keys: see
        {py:meth}`AttentionBackend.forward <mini_vllm.attention.backend.AttentionBackend.forward>`.
        """
        out = self.backend.forward(self, query, key, value, kv_cache, metadata)
        # [num_queries, num_heads, head_size] -> [num_queries, num_heads * head_size]
        return out.flatten(1)

    def forward(
        self,
        positions: torch.Tensor,
        hidden: torch.Tensor,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
        last_tokens_only: bool = False,
    ) -> torch.Tensor:
        r"""`hidden` is `[num_tokens, hidden_size]`, and so is the result; `positions`
        `[num_tokens]`.

        Writes this step's keys and values into `kv_cache`,
        `[2, num_blocks, num_kv_heads, block_size, head_size]`. With `last_tokens_only` all of them
        are written, and only each request's last token attends: the result has one row a request.
        """
        query, key, value = self.project(positions, hidden)
        if last_tokens_only:
            query, metadata = query[metadata.last_tokens], metadata.last_tokens_only
        return self.o_proj(self.attend(query, key, value, kv_cache, metadata))
