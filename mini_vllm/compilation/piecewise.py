r"""Where can a model be cut?

Where its tokens meet. A norm, a projection, a rotation, an MLP: each treats every row alone, and
does the same whatever request the row belongs to. Only attention asks who is who, and with many
backends that cannot be frozen for a mixed step. So the model is cut before and after each
attention:

```text
begin      embed, norm, qkv, rotate                                    layer 0
           attention
between    output, norm, MLP, norm, qkv, rotate                        layers 0 and 1
           attention
between    output, norm, MLP, norm, qkv, rotate                        layers 1 and 2
           ...
end        output, norm, MLP, norm                                     last layer
```

For a model of $n$ layers that is $n + 1$ pieces. Only one size of a piece varies, the number of
rows. So it can be captured for a padded number of them, or compiled once for any. The cut goes
*through* layers: what follows an attention in one layer and what precedes the next are one piece.
It is replayed with one call, and a compiler sees the add, the norm and the product that follows
side by side.

Upstream writes the model whole, lets the compiler trace it, and splits the traced graph at the
operations that are called attention ({up}`vllm/compilation/backends.py#split_graph`). It finds the
same pieces.

## A step that is padded

The pieces then compute rows that are nobody's. These rows never reach attention, which is handed
the real ones only. In the pieces they hold whatever is there, and since no row looks at another, it
does not matter what. That is why a piece needs no mask.

What attention returns is copied to the place where the next piece was captured to read it: one more
launch a layer, which upstream avoids, since its attention writes to a place that it is given
({up}`vllm/model_executor/layers/attention/attention.py#unified_attention_with_output`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from mini_vllm.attention.metadata import AttentionMetadata

if TYPE_CHECKING:
    from mini_vllm.models.decoder import DecoderLayer, DecoderModel

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Piece = Callable[..., Any]


def before_attention(
    layer: DecoderLayer,
    positions: torch.Tensor,
    hidden: torch.Tensor,
    residual: torch.Tensor | None,
) -> Tensors:
    r"""The first half of a layer: queries, keys, values, and the stream; row by row."""
    if residual is None:
        hidden, residual = layer.input_layernorm(hidden), hidden
    else:
        hidden, residual = layer.input_layernorm(hidden, residual)
    return (*layer.self_attn.project(positions, hidden), residual)


def after_attention(
    layer: DecoderLayer, attended: torch.Tensor, residual: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""The second half of a layer: its result, and the stream; row by row."""
    hidden = layer.self_attn.o_proj(attended)
    hidden, residual = layer.post_attention_layernorm(hidden, residual)
    return layer.mlp(hidden), residual


def begin(model: DecoderModel, token_ids: torch.Tensor, positions: torch.Tensor) -> Tensors:
    """The piece before the first attention."""
    return before_attention(_layer(model, 0), positions, model.embed_tokens(token_ids), None)


def between(
    layer: DecoderLayer,
    following: DecoderLayer,
    attended: torch.Tensor,
    residual: torch.Tensor,
    positions: torch.Tensor,
) -> Tensors:
    """The piece between the attentions of two layers."""
    return before_attention(following, positions, *after_attention(layer, attended, residual))


def end(model: DecoderModel, attended: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """The piece after the last attention: hidden states, normed."""
    return model.norm(*after_attention(_layer(model, -1), attended, residual))[0]


def _layer(model: DecoderModel, index: int) -> Any:
    # A list of modules has forgotten of which kind they are.
    return model.layers[index]


class PiecewiseModel:
    r"""A decoder as pieces with attentions between them; the same function of the same weights.

    `wrap(name, piece)` may put something in front of each piece: a graph, a compiler, nothing.
    `attended`, `[most rows, num_heads * head_size]`, is where pieces that are graphs read what
    attention found; without it they are handed attention's own tensor.

    Unlike the model it returns hidden states for *every* row, padding included. Upstream:
    {up}`vllm/compilation/backends.py#VllmBackend`.
    """

    def __init__(
        self,
        model: DecoderModel,
        wrap: Callable[[str, Piece], Piece] = lambda name, piece: piece,
        attended: torch.Tensor | None = None,
    ) -> None:
        layers: Sequence[Any] = list(model.layers)
        self.attentions = [layer.self_attn for layer in layers]
        self.begin = wrap("the piece before layer 0's attention", partial(begin, model))
        self.between = [
            wrap(f"the piece between the attentions of layers {i} and {i + 1}", piece)
            for i, piece in enumerate(partial(between, *pair) for pair in pairwise(layers))
        ]
        self.end = wrap(f"the piece after layer {len(layers) - 1}'s attention", partial(end, model))
        self.attended = attended

    @property
    def num_pieces(self) -> int:
        """One more than there are layers."""
        return len(self.between) + 2

    def __call__(
        self,
        token_ids: torch.Tensor,
        positions: torch.Tensor,
        kv_caches: Sequence[torch.Tensor],
        metadata: AttentionMetadata | None,
        num_rows: int | None = None,
    ) -> torch.Tensor:
        r"""Hidden states of every row, `[len(token_ids), hidden_size]`, normed.

        Attention is handed the first `num_rows` rows (all of them without), and `metadata` speaks
        of these. Without `metadata` there is no attention, and the pieces go on with zeros, which
        is enough to capture them. Modifies only the caches, at the slots of
        `metadata`.
        """
        query, key, value, residual = self.begin(token_ids, positions)
        between = iter(self.between)
        for attention, kv_cache in zip(self.attentions, kv_caches, strict=True):
            qkv = query, key, value
            attended = self._attend(attention, qkv, kv_cache, metadata, num_rows)
            if attention is not self.attentions[-1]:
                query, key, value, residual = next(between)(attended, residual, positions)
        return self.end(attended, residual)

    def _attend(
        self,
        attention: Any,
        qkv: tuple[torch.Tensor, ...],
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata | None,
        num_rows: int | None,
    ) -> torch.Tensor:
        query = qkv[0]
        if metadata is None:
            found = torch.zeros_like(query).flatten(1)
        else:
            real = (one[:num_rows] for one in qkv)
            found = attention.attend(*real, kv_cache, metadata)
        if self.attended is None:
            return found
        self.attended[: len(found)].copy_(found)
        return self.attended[: len(query)]
