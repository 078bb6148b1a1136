r"""Can attention be written so that a graph can hold it, with nothing but torch?

Yes, if no line asks a tensor for a number. The reference loops over requests, and so reads how many
there are and how long each is; it decides on the host. Here nothing is decided. Each token finds
its own request by a search, each request brings *all* the pages that its row of the table has room
for, and a mask takes away what is not there. The shapes depend on how many rows the buffers have
and on nothing in them:

| the reference asks | here |
|---|---|
| which tokens are whose? (`.tolist()`) | `searchsorted` in `query_start_loc`, one row a token |
| how far back does it look? (a slice) | everything, and a mask `j <= position` |
| which tokens are stored? (a mask as an index) | all; those without a slot repeat the first |

The price is plain: a token looks at as many places as the longest text may have, most of which are
masked away. A kernel for a GPU has the same freedom for less, because its programs leave early.

For `FULL` graphs where there is no device: the backend to ask for by name, with
`cudagraph_stand_in`, to see what a graph of the whole model is. Never chosen by itself.
"""

from __future__ import annotations

import torch

from mini_vllm.attention.backend import AttentionBackend, AttentionShape
from mini_vllm.attention.graph_support import AttentionCGSupport
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder


class StaticMetadataBuilder(AttentionMetadataBuilder):
    """Adds nothing: whatever could be planned here is worked out from the arrays, in the graph."""

    cudagraph_support = AttentionCGSupport.ALWAYS


class TorchStaticBackend(AttentionBackend):
    r"""Attention whose operations are the same for every batch of as many rows."""

    name = "torch_static"
    builder_cls = StaticMetadataBuilder

    def forward(
        self,
        layer: AttentionShape,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        """See {py:meth}`AttentionBackend.forward
        <mini_vllm.attention.backend.AttentionBackend.forward>`.
        """
        store_static(key, value, kv_cache, metadata.slot_mapping)
        starts, seq_lens = metadata.query_start_loc, metadata.seq_lens
        tokens = torch.arange(query.shape[0], dtype=torch.int32, device=query.device)
        # Whose is token t? The first request that ends after it; padding goes to the last one.
        request = torch.searchsorted(starts[1:], tokens, right=True).clamp(max=len(seq_lens) - 1)
        # The last token of a request is at the end of its text, the one before it one earlier.
        position = seq_lens[request] - starts[request + 1] + tokens
        keys, values = (_all_pages(half, metadata.block_table[request]) for half in kv_cache)
        return _attend(layer, query, keys, values, position)


def store_static(
    key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, slot_mapping: torch.Tensor
) -> None:
    r"""Store `key` and `value` at their slots; rows with a negative one store the first row again.

    So every row is written, and the same numbers to the same place where rows agree on one: no
    order matters. If no row has a slot, what lies in slot 0 is written over itself.
    """
    block_size = kv_cache.shape[3]
    stored = slot_mapping >= 0
    slots = torch.where(stored, slot_mapping, slot_mapping[:1].clamp(min=0))
    blocks, places = slots // block_size, slots % block_size
    for half, new in ((kv_cache[0], key), (kv_cache[1], value)):
        first = torch.where(stored[:1, None, None], new[:1], half[0, :, 0])
        half[blocks, :, places] = torch.where(stored[:, None, None], new, first)


def _all_pages(cache: torch.Tensor, block_table: torch.Tensor) -> torch.Tensor:
    # [rows, blocks, heads, block_size, d] -> [rows, heads, blocks * block_size, d]
    return cache[block_table.long()].transpose(1, 2).flatten(2, 3)


def _attend(
    layer: AttentionShape,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    position: torch.Tensor,
) -> torch.Tensor:
    rows, num_heads, head_size = query.shape
    grouped = query.float().view(rows, layer.num_kv_heads, -1, head_size)
    scores = torch.einsum("tkgd,tkjd->tkgj", grouped, keys.float()) * layer.scale
    if layer.logits_soft_cap is not None:
        scores = torch.tanh(scores / layer.logits_soft_cap) * layer.logits_soft_cap
    other = torch.arange(keys.shape[2], dtype=torch.int32, device=query.device)
    # A row that is nobody's may stand before the first position; let it see that one.
    position = position.clamp(min=0)[:, None]
    visible = other <= position
    if layer.sliding_window is not None:
        visible &= other > position - layer.sliding_window
    weights = scores.masked_fill(~visible[:, None, None], float("-inf")).softmax(dim=-1)
    # What lies in places that nobody has written may be anything, and 0 times NaN is no 0.
    seen = torch.where(visible[:, None, :, None], values.float(), 0.0)
    out = torch.einsum("tkgj,tkjd->tkgd", weights, seen)
    return out.reshape(rows, num_heads, head_size).to(query.dtype)
