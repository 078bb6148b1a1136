r"""Llama-3-8B, the model of most interview answers: its shape, and what follows from the shape."""

from __future__ import annotations

from dataclasses import dataclass

from book.quantities.registry import quantity

CONFIG_SOURCE = "config.json of meta-llama/Meta-Llama-3-8B; bf16 takes two bytes"
BF16_BYTES = 2


@dataclass(frozen=True)
class DecoderShape:
    """The numbers of a config.json that decide memory and arithmetic."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int

    def kv_bytes_per_token(self, element_bytes: int = BF16_BYTES) -> int:
        """One key and one value a layer, for each head that keeps its own."""
        return 2 * self.layers * self.kv_heads * self.head_dim * element_bytes

    def parameters(self) -> int:
        """Weights of embedding, attention, gated MLP, norms and an untied output layer."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        layer = attention + 3 * self.hidden * self.mlp + 2 * self.hidden
        return 2 * self.vocab * self.hidden + self.layers * layer + self.hidden


LLAMA3_8B = DecoderShape(
    layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, mlp=14336, vocab=128256
)


@quantity("llama3-8b-parameters", unit="parameter", source=CONFIG_SOURCE, phases=(1,))
def llama3_8b_parameters() -> int:
    """Weights of Llama-3-8B, counted from its shape."""
    return LLAMA3_8B.parameters()


@quantity("llama3-8b-weight-bytes", unit="B", shown="GB", source=CONFIG_SOURCE, phases=(1,))
def llama3_8b_weight_bytes() -> int:
    """Bytes of the weights of Llama-3-8B in bf16."""
    return LLAMA3_8B.parameters() * BF16_BYTES


@quantity("llama3-8b-kv-bytes-per-token", unit="B", source=CONFIG_SOURCE, phases=(1,))
def llama3_8b_kv_bytes_per_token() -> int:
    """Keys and values that one token of Llama-3-8B adds to the cache in bf16, all layers."""
    return LLAMA3_8B.kv_bytes_per_token()


@quantity(
    "llama3-8b-flop-per-token",
    unit="FLOP/token",
    shown="GFLOP/token",
    source=CONFIG_SOURCE,
    phases=(1,),
)
def llama3_8b_flop_per_token() -> int:
    """Multiplications and additions of one token through the weights: two a weight.

    The embedding is a look-up and is left out; attention over the context comes on top.
    """
    return 2 * (LLAMA3_8B.parameters() - LLAMA3_8B.vocab * LLAMA3_8B.hidden)
