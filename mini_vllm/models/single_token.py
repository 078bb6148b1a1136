r"""How does a decoder compute a single token without asking for each operation?

By preparing the questions. {py:class}`SingleTokenPath` walks through the layers of a model once,
after its weights are loaded, and notes for each the arrays that
{py:func}`mini_vllm.kernels.single_token.decoder_layer` wants. A step with a single token is then
one call per layer. Steps with more tokens take the ordinary road, which does the same and is the
one to read: {py:class}`mini_vllm.models.decoder.DecoderLayer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.kernels.numba_kernels import as_array, num_threads
from mini_vllm.kernels.single_token import decoder_layer
from mini_vllm.layers.norm import RMSNorm
from mini_vllm.models.decoder import DecoderModel


class SingleTokenPath:
    r"""The layers of `model` for a step of one token, on the CPU.

    Holds views of the weights, and none of its own. Not for steps that a team of threads would
    speed up: ask {py:meth}`suits` first.
    """

    def __init__(self, model: DecoderModel) -> None:
        self._layers = [_arrays_of(layer) for layer in model.layers]
        self._largest_weight = max(p.numel() for p in model.layers.parameters())

    def suits(self, token_ids: torch.Tensor) -> bool:
        """Whether there is a single token, and a single thread for it."""
        return token_ids.shape[0] == 1 and num_threads(self._largest_weight) == 1

    def __call__(
        self,
        embedded: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        metadata: AttentionMetadata,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""From the token's embedding, `[1, hidden_size]`, to the last layer's result and the
        stream.
        """
        hidden, residual = embedded.clone(), torch.zeros_like(embedded)
        step = (
            as_array(hidden),
            as_array(residual),
            as_array(positions),
            metadata.host.slot_mapping,
            metadata.host.block_table[0],
        )
        for kv_cache, layer in zip(kv_caches, self._layers, strict=True):
            caches = as_array(kv_cache)
            decoder_layer(*step, caches[0], caches[1], *layer)
        return hidden, residual


def _arrays_of(layer: Any) -> tuple:
    # `layer` is a DecoderLayer; a list of modules has forgotten that.
    attention, mlp = layer.self_attn, layer.mlp
    nothing = as_array(attention.qkv_proj.weight.new_empty(0))

    def array(tensor: torch.Tensor | None) -> np.ndarray:
        return nothing if tensor is None else as_array(tensor.detach())

    def weight_of(norm: RMSNorm | None) -> np.ndarray:
        return nothing if norm is None else array(norm.weight)

    return (
        array(attention.rotary.cos_sin_cache),
        array(layer.input_layernorm.weight),
        array(attention.qkv_proj.weight),
        array(attention.qkv_proj.bias),
        weight_of(attention.q_norm),
        weight_of(attention.k_norm),
        array(attention.o_proj.weight),
        array(attention.o_proj.bias),
        array(layer.post_attention_layernorm.weight),
        array(mlp.gate_up_proj.weight),
        array(mlp.gate_up_proj.bias),
        array(mlp.down_proj.weight),
        array(mlp.down_proj.bias),
        np.float32(layer.input_layernorm.eps),
        np.float32(attention.scale),
        attention.sliding_window or 0,
    )
