r"""How does a number become a vector, and how does a vector become a number again?

By the same table, in many small models. The embedding is `[vocab_size, hidden_size]`: row `t` is
what the model first knows of token `t`. At the end, the score of token `t` is the dot product of
the last hidden state with row `t` of the output table, so a table may serve twice ("tied"), at a
saving that is a quarter of the book's model and nothing much of an 8B one.

The way back is expensive and the way in is free: looking up a row reads one row, scoring reads all
of them. So scores are computed only for tokens that may be followed by a new one: the last of each
request. The rest of a prompt never meets the output table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.weight_slot import WeightSlot


class Embedding(nn.Module):
    r"""A table of vectors: token ids `[num_tokens]` to `[num_tokens, hidden_size]`.

    Upstream: {up}`vllm/model_executor/layers/vocab_parallel_embedding.py#VocabParallelEmbedding`.
    """

    def __init__(self, vocab_size: int, hidden_size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size), requires_grad=False)

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        """One row per token."""
        return F.embedding(token_ids, self.weight)

    def weight_slots(self, name: str) -> dict[str, WeightSlot]:
        """The table, under its own name."""
        return {f"{name}.weight": WeightSlot.whole(self.weight)}


class OutputHead(nn.Module):
    r"""Scores for every token of the vocabulary: `[n, hidden_size]` to `[n, vocab_size]`, float32.

    Give it `tied_to` and it scores with that embedding's table; then it has no parameter of its own
    and no tensor to load. The product runs in the model's type, and the result is widened: all
    that follows (penalties, softmax, comparisons) happens in float32, in which fewer scores tie.
    Upstream: {up}`vllm/model_executor/layers/vocab_parallel_embedding.py#ParallelLMHead`.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        tied_to: Embedding | None = None,
        kernels: Kernels | None = None,
    ):
        super().__init__()
        self.kernels = kernels or TorchKernels()
        self.tied = tied_to is not None
        self.weight = (
            nn.Parameter(torch.empty(vocab_size, hidden_size), requires_grad=False)
            if tied_to is None
            else tied_to.weight
        )
        self.product: Callable[[torch.Tensor], torch.Tensor] | None = None

    def process_weights_after_loading(self) -> None:
        """Let the kernels prepare the table; what is written to it later is not seen."""
        self.product = self.kernels.prepare_linear(self.weight)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """One row of scores per row of `hidden`."""
        if self.product is None:
            return self.kernels.linear(hidden, self.weight).float()
        return self.product(hidden).float()

    def weight_slots(self, name: str) -> dict[str, WeightSlot]:
        """The table under its own name, or nothing if it belongs to the embedding."""
        return {} if self.tied else {f"{name}.weight": WeightSlot.whole(self.weight)}
