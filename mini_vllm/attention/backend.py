r"""What does a backend promise?

That for each of the step's tokens, its row of the output is

$$o = \sum_{j} \frac{e^{s_j}}{\sum_i e^{s_i}} v_j, \qquad s_j = \frac{q \cdot k_j}{\sqrt{d}}$$

over the positions $j$ of *its own* request that are not later than itself and, with a sliding
window of $w$, not $w$ or more positions earlier; and that afterwards the pages hold this step's
keys and values. How it gets there is its own affair. Every backend passes one grid of tests
against the definition on dense tensors.

What a backend cannot do it says beforehand and in words: {py:meth}`AttentionBackend.supports`
returns the obstacle. Upstream negotiates in the same manner, and returns a list of reasons:
{up}`vllm/v1/attention/backend.py#AttentionBackend.validate_configuration`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch

from mini_vllm.attention.metadata import AttentionMetadata


class AttentionShape(Protocol):
    """What a backend reads off the layer that calls it: its shape, and nothing else."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    sliding_window: int | None


class AttentionBackend(ABC):
    r"""One way to compute attention over a paged cache; holds no state of any request."""

    #: The name by which a configuration asks for it.
    name: str

    @classmethod
    @abstractmethod
    def supports(cls, device: torch.device, dtype: torch.dtype, head_size: int) -> str | None:
        """Why this backend cannot serve such a model here, or None if it can."""

    @staticmethod
    def kv_cache_shape(
        num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[int, ...]:
        r"""The shape of one layer's cache: keys first, values second, a page within a head
        contiguous.

        `[2, num_blocks, num_kv_heads, block_size, head_size]`. Heads come before places in the
        page because attention asks for all keys of one head; the other order is kinder to the
        write, which happens once per token, and worse for the reads, which happen at each later
        one. Upstream lets the backend choose:
        {up}`vllm/v1/attention/backend.py#AttentionBackend.get_kv_cache_shape`.
        """
        return (2, num_blocks, num_kv_heads, block_size, head_size)

    @abstractmethod
    def forward(
        self,
        layer: AttentionShape,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        r"""Store `key` and `value` in `kv_cache`, then attend; returns a tensor like `query`.

        `query` is `[num_queries, num_heads, head_size]`, `key` and `value` are
        `[num_tokens, num_kv_heads, head_size]`, all contiguous, with queries and keys already
        rotated. There is a key for each slot of `metadata.slot_mapping`, and as many queries as
        `metadata.query_start_loc` says: one per token, or only those of the last tokens. Modifies
        `kv_cache` at the slots and nowhere else.

        Storing comes first and is part of the contract: a token attends to itself, and finds
        itself in the cache. Upstream splits the two into separate operations, so that a compiled
        graph can order them:
        {up}`vllm/model_executor/layers/attention/attention.py#unified_kv_cache_update`.
        """
