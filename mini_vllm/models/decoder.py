r"""What does a forward pass do to a step's tokens?

It takes them all through the same stack, once, side by side. There is no loop over requests and no
padding: a batch is a flat row of tokens, `[num_tokens]`, with a position for each, and whether a
token is the 3rd of a prompt of 500 or the only one of a request that decodes makes no difference
to any line in this module.

One layer is two sublayers, and each reads a normed copy of the residual stream and adds its result
to it. Written down naively that is norm, work, add, norm, work, add. Here, as upstream, each add
is done together with the norm that follows it, even across the boundary of two layers; so what
travels from layer to layer is a pair, the last result and the stream that it has not been added to
yet ({up}`vllm/model_executor/models/llama.py#LlamaDecoderLayer.forward`).

```{listing} mini_vllm.models.decoder.DecoderLayer.forward
```

The forward pass ends with hidden states, not with scores, and with one row per request: that of its
last token. Scores for the whole vocabulary are the widest product in a small model, and of a prompt
only the last token needs them. Nor do the others need anything that follows the last layer's
attention. They go through that layer to leave their keys and values there, and no further; in a
model of four layers that saves a good part of what a prompt costs.

Upstream runs all layers over all tokens, and then picks rows
({up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner.execute_model`): its forward pass is a
compiled graph, in which every layer should have the same shape, and it has other readers, such as
prompt log-probabilities. When this model is compiled or captured it is run in that way too, cut at
its attentions: {py:mod}`mini_vllm.compilation.piecewise`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from mini_vllm.attention.backend import AttentionBackend
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.kernels.interface import Kernels
from mini_vllm.layers.attention import Attention
from mini_vllm.layers.embedding import Embedding, OutputHead
from mini_vllm.layers.mlp import GatedMLP
from mini_vllm.layers.norm import RMSNorm
from mini_vllm.layers.rotary import RotaryEmbedding
from mini_vllm.models.decoder_config import DecoderConfig

if TYPE_CHECKING:
    from mini_vllm.models.single_token import SingleTokenPath


class DecoderLayer(nn.Module):
    """Attention, then an MLP, each on a normed copy of the residual stream."""

    def __init__(
        self,
        config: DecoderConfig,
        layer_index: int,
        rotary: RotaryEmbedding,
        backend: AttentionBackend | None = None,
        kernels: Kernels | None = None,
    ):
        super().__init__()
        size, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = RMSNorm(size, eps, kernels)
        self.self_attn = Attention(
            size,
            config.num_heads,
            config.num_kv_heads,
            config.head_size,
            rotary,
            qkv_bias=config.qkv_bias,
            output_bias=config.attention_output_bias,
            qk_norm_eps=eps if config.qk_norm else None,
            sliding_window=config.sliding_windows[layer_index],
            backend=backend,
            kernels=kernels,
        )
        self.post_attention_layernorm = RMSNorm(size, eps, kernels)
        self.mlp = GatedMLP(size, config.intermediate_size, bias=config.mlp_bias, kernels=kernels)

    def forward(
        self,
        positions: torch.Tensor,
        hidden: torch.Tensor,
        residual: torch.Tensor | None,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
        last_tokens_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""From the last sublayer's result and the stream, to this layer's result and the stream.

        Both are `[num_tokens, hidden_size]`; the stream is None before the first layer. With
        `last_tokens_only`, all tokens come in and each request's last one comes out. Modifies only
        `kv_cache`.
        """
        if residual is None:
            hidden, residual = self.input_layernorm(hidden), hidden
        else:
            hidden, residual = self.input_layernorm(hidden, residual)
        hidden = self.self_attn(positions, hidden, kv_cache, metadata, last_tokens_only)
        if last_tokens_only:
            residual = residual[metadata.last_tokens]
        hidden, residual = self.post_attention_layernorm(hidden, residual)
        return self.mlp(hidden), residual


class DecoderModel(nn.Module):
    """Embedding, the stack of layers, and a last norm; named as checkpoints name them."""

    def __init__(
        self,
        config: DecoderConfig,
        max_position: int,
        backend: AttentionBackend | None = None,
        kernels: Kernels | None = None,
    ):
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        rotary = RotaryEmbedding(config.head_size, max_position, config.rope)
        self.layers = nn.ModuleList(
            DecoderLayer(config, index, rotary, backend, kernels)
            for index in range(config.num_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps, kernels)
        self.backend, self.kernels = backend, kernels
        self.single_token: SingleTokenPath | None = None

    def process_weights_after_loading(self) -> None:
        """Prepare the short way for a single token, where kernels and backend are the loops."""
        if self.kernels is None or not self.kernels.fuses_single_tokens:
            return
        if self.backend is None or self.backend.name != "cpu_numba":
            return
        from mini_vllm.models.single_token import SingleTokenPath

        self.single_token = SingleTokenPath(self)

    def forward(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        """From tokens `[num_tokens]` to each last token's hidden state, normed."""
        hidden, residual = self.embed_tokens(token_ids), None
        if self.single_token is not None and self.single_token.suits(token_ids):
            return self.norm(*self.single_token(hidden, positions, kv_caches, metadata))[0]
        last = len(self.layers) - 1 if metadata.max_query_len > 1 else None
        for i, (layer, kv_cache) in enumerate(zip(self.layers, kv_caches, strict=True)):
            # What a layer says of a token is read by the layers above it, as keys and values.
            # Above the last one there is no reader left, except for the scores of last tokens.
            hidden, residual = layer(positions, hidden, residual, kv_cache, metadata, i == last)
        hidden, _ = self.norm(hidden, residual)
        return hidden


class DecoderForCausalLM(nn.Module):
    r"""A decoder that predicts the next token.

    `max_position` is the longest text it may see, in tokens; its rotary table has that many rows.
    `backend` and `kernels` are handed to the layers, which default to the plain torch ones.
    Weights are allocated and not set: {py:func}`mini_vllm.loader.load_weights` fills them.
    Upstream: {up}`vllm/model_executor/models/llama.py#LlamaForCausalLM`.
    """

    def __init__(
        self,
        config: DecoderConfig,
        max_position: int,
        backend: AttentionBackend | None = None,
        kernels: Kernels | None = None,
    ):
        super().__init__()
        self.config = config
        self.model = DecoderModel(config, max_position, backend, kernels)
        tied_to = self.model.embed_tokens if config.tie_word_embeddings else None
        self.lm_head = OutputHead(config.vocab_size, config.hidden_size, tied_to, kernels)

    def forward(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        r"""Hidden states of each request's last token, `[num_reqs, hidden_size]`.

        `token_ids` and `positions` are `[num_tokens]`; `kv_caches` has one cache per layer, and
        receives the step's keys and values, of all tokens.
        """
        return self.model(token_ids, positions, kv_caches, metadata)

    def compute_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores in float32, `[n, vocab_size]`, for the `n` rows of `hidden`."""
        return self.lm_head(hidden)
