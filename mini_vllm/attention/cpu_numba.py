r"""Why should a prefill and a decode take different roads?

Count what each reads. A decoding request reads its whole past, for one query: two operations per
number read and query head, so memory sets the pace, and copying the pages first would add a write
and a second read. A
prompt of {given}`500 tokens` reads its past once for 500 queries: hundreds of operations per
number, so arithmetic sets the pace, and copying the pages first is a rounding error.

So this backend sorts the requests of a step by their number of new tokens. Those with one go, all
together, into the loop of {py:mod}`mini_vllm.kernels.paged`, which reads pages where they lie.
Each of the others becomes one call of torch's attention on dense keys and values, which multiplies
matrices in tiles and never writes the score matrix down. A prompt that starts at position 0 does
not even gather: its whole past is this step's own keys.

Upstream's CPU backend has one C++ kernel for both, with a scheduler that deals out tiles:
{up}`vllm/v1/attention/backends/cpu_attn.py#CPUAttentionBackendImpl.forward`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from mini_vllm.attention.backend import AttentionBackend, AttentionShape
from mini_vllm.attention.metadata import AttentionMetadata, HostMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder
from mini_vllm.attention.torch_reference import causal_mask, gather_pages
from mini_vllm.kernels import paged
from mini_vllm.kernels.numba_kernels import DTYPES, as_array, num_threads


class CpuNumbaMetadataBuilder(AttentionMetadataBuilder):
    """Brings the step's arrays to where loops can read them, once for all layers."""

    def build(self, common: AttentionMetadata) -> AttentionMetadata:
        r"""The same metadata, with its {py:attr}`host
        <mini_vllm.attention.metadata.AttentionMetadata.host>` arrays made.

        How the requests fall into single tokens and runs is worked out when a layer first asks;
        the road for a single token never does.
        """
        common.host  # noqa: B018 (kept by the object once it was asked for)
        return common


class CpuNumbaBackend(AttentionBackend):
    r"""A compiled loop over pages for single tokens, torch's attention for runs of them.

    Knows no soft cap: torch's attention has none, and bending the scores of the loop alone would
    be half of the work.
    """

    name = "cpu_numba"
    supported_devices = ("cpu",)
    supported_dtypes = DTYPES
    required_packages = ("numba",)
    supports_soft_cap = False
    builder_cls = CpuNumbaMetadataBuilder

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
        host = metadata.host
        out = torch.empty_like(query)
        caches = as_array(kv_cache)
        key_cache, value_cache = caches[0], caches[1]
        paged.write_kv(as_array(key), as_array(value), key_cache, value_cache, host.slot_mapping)

        if host.single_rows.size:
            # The keys and values of all their positions; one request cannot be dealt out.
            work = host.num_single_positions * 2 * key.shape[1] * key.shape[2]
            alone = host.single_rows.size == 1 or num_threads(work) == 1
            decode = paged.decode if alone else paged.decode_parallel
            decode(
                as_array(query),
                key_cache,
                value_cache,
                host.block_table,
                host.single_rows,
                host.single_tokens,
                host.seq_lens,
                layer.sliding_window or 0,
                np.float32(layer.scale),
                as_array(out),
            )
        for row in host.multi_rows:
            start, end = host.query_start_loc[row], host.query_start_loc[row + 1]
            past = _past_of(row, key[start:end], value[start:end], kv_cache, host)
            out[start:end] = _attend(layer, query[start:end], *past)
        return out


def _past_of(
    row: int, key: torch.Tensor, value: torch.Tensor, kv_cache: torch.Tensor, host: HostMetadata
) -> tuple[torch.Tensor, torch.Tensor]:
    # Dense keys and values of one request, [num_kv_heads, seq_len, head_size].
    seq_len = int(host.seq_lens[row])
    if seq_len == key.shape[0]:
        return key.transpose(0, 1), value.transpose(0, 1)
    block_ids = torch.from_numpy(host.block_table[row])
    return (
        gather_pages(kv_cache[0], block_ids, seq_len),
        gather_pages(kv_cache[1], block_ids, seq_len),
    )


def _attend(
    layer: AttentionShape, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    num_tokens, seq_len, window = query.shape[0], keys.shape[1], layer.sliding_window
    # `is_causal` is right, and lets the library skip half of the tiles, only when queries and keys
    # start at the same position and the window reaches back to it.
    square = num_tokens == seq_len and (window is None or window >= seq_len)
    mask = None if square else causal_mask(num_tokens, seq_len, window, query.device)
    out = F.scaled_dot_product_attention(
        query.transpose(0, 1).unsqueeze(0),  # [1, num_heads, num_tokens, head_size]
        keys.unsqueeze(0),
        values.unsqueeze(0),
        attn_mask=mask,
        is_causal=square,
        scale=layer.scale,
        enable_gqa=True,
    )
    return out.squeeze(0).transpose(0, 1)
