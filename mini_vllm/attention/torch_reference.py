r"""What does paged attention compute, if speed is no object?

This, on any device. One request at a time, its pages are gathered into the dense keys and values
that a textbook would have started with; scores, mask, softmax and weighted sum follow, each in a
line, all in float32. The fast backend must agree with it, and it must agree with attention on
tensors that never saw a page.

Gathering is honest work, however: it copies the whole past of each request in each layer of each
step, to use it once. That copy is what a paged kernel saves.
"""

from __future__ import annotations

import torch

from mini_vllm.attention.backend import AttentionBackend, AttentionShape
from mini_vllm.attention.metadata import AttentionMetadata


class TorchReferenceBackend(AttentionBackend):
    """Gather the pages, then attend as in a textbook. Slow, right, and able to do everything."""

    name = "torch_reference"

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
        write_to_pages(key, value, kv_cache, metadata.slot_mapping)
        out = torch.empty_like(query)
        starts = metadata.query_start_loc.tolist()
        for row, seq_len in enumerate(metadata.seq_lens.tolist()):
            tokens = slice(starts[row], starts[row + 1])
            block_ids = metadata.block_table[row]
            keys, values = (gather_pages(half, block_ids, seq_len) for half in kv_cache)
            out[tokens] = dense_attention(
                query[tokens],
                keys,
                values,
                layer.scale,
                layer.sliding_window,
                layer.logits_soft_cap,
            )
        return out


def write_to_pages(
    key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, slot_mapping: torch.Tensor
) -> None:
    """Store `key` and `value`, `[num_tokens, num_kv_heads, head_size]`, at their slots of
    `kv_cache`.
    """
    block_size = kv_cache.shape[3]
    stored = slot_mapping >= 0
    slots = slot_mapping[stored]
    blocks, places = slots // block_size, slots % block_size
    # [block, :, place, :] with two index arrays -> [num_tokens, num_kv_heads, head_size]
    kv_cache[0][blocks, :, places] = key[stored]
    kv_cache[1][blocks, :, places] = value[stored]


def gather_pages(cache: torch.Tensor, block_ids: torch.Tensor, seq_len: int) -> torch.Tensor:
    r"""The first `seq_len` positions of one request, dense: `[num_kv_heads, seq_len, head_size]`.

    `cache` is the keys or the values of a layer, `[num_blocks, num_kv_heads, block_size,
    head_size]`. Only as many ids are read as `seq_len` needs; what follows in the row is stale.
    """
    block_size = cache.shape[2]
    num_blocks = -(-seq_len // block_size)
    # [n, heads, block_size, d] -> [heads, n, block_size, d] -> [heads, n * block_size, d]
    pages = cache[block_ids[:num_blocks].long()].transpose(0, 1)
    return pages.flatten(1, 2)[:, :seq_len]


def dense_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scale: float,
    sliding_window: int | None = None,
    logits_soft_cap: float | None = None,
) -> torch.Tensor:
    r"""Causal attention of the *last* `num_tokens` positions of a sequence over all of it.

    `query`: `[num_tokens, num_heads, head_size]`; `keys`, `values`: `[num_kv_heads, seq_len,
    head_size]`. Returns `[num_tokens, num_heads, head_size]` in the type of `query`.
    """
    num_tokens, num_heads, head_size = query.shape
    num_kv_heads, seq_len, _ = keys.shape
    # Query heads h with the same h // group share a key head: [t, kv, group, d] -> [kv, group, t,
    # d]
    grouped = query.float().view(num_tokens, num_kv_heads, num_heads // num_kv_heads, head_size)
    scores = torch.einsum("tkgd,kjd->kgtj", grouped, keys.float()) * scale
    if logits_soft_cap is not None:
        scores = logits_soft_cap * torch.tanh(scores / logits_soft_cap)
    visible = causal_mask(num_tokens, seq_len, sliding_window, query.device)
    weights = scores.masked_fill(~visible, float("-inf")).softmax(dim=-1)
    out = torch.einsum("kgtj,kjd->tkgd", weights, values.float())
    return out.reshape(num_tokens, num_heads, head_size).to(query.dtype)


def causal_mask(
    num_tokens: int, seq_len: int, sliding_window: int | None, device: torch.device
) -> torch.Tensor:
    r"""Who may look at whom: `[num_tokens, seq_len]`, True where token sees position.

    The tokens are the last ones of the sequence, so the diagonal ends in the lower *right* corner.
    A library's `is_causal` puts it into the upper left, which is the same only if nothing was
    stored before.
    """
    position = torch.arange(seq_len - num_tokens, seq_len, device=device).unsqueeze(1)
    other = torch.arange(seq_len, device=device).unsqueeze(0)
    visible = other <= position
    if sliding_window is not None:
        visible &= other > position - sliding_window
    return visible
