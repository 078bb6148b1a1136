r"""What does it take to use somebody else's attention?

Their package, their types, their pages. FlashAttention's second version (the package `flash_attn`)
has what a paged engine needs in one function, `flash_attn_varlen_func`: queries of all requests in
a row, a table of pages, a causal mask whose diagonal ends in the lower right corner, a window, a
cap. This module is the adapter, and each line of it is a difference between two conventions.

- **Pages.** Theirs are `[num_blocks, block_size, num_kv_heads, head_size]`, ours have heads before
  places. Their function takes strides, so a transposed view is enough.
- **Block size.** A page must be a multiple of {given}`256` places, sixteen times our default: in
  every release that has pages, from 2.5.0 to the 2.8.4 of summer 2026, the function's first lines
  refuse others, because that was
  [easier to implement](https://github.com/Dao-AILab/flash-attention/issues/828). The selector
  passes over this backend otherwise, and says so. vLLM ships a build of its own in which multiples
  of 16 do
  ({up}`vllm/v1/attention/backends/flash_attn.py#FlashAttentionBackend.get_supported_kernel_block_sizes`).
- **Release.** The function takes a table of pages since {py:data}`PAGES_SINCE` (before, only
  `flash_attn_with_kvcache` did), and a cap since {py:data}`CAP_SINCE`. FlashAttention 4 is a
  package of another name, `flash-attn-4`, that puts itself *into* the module `flash_attn`: the
  module is there then, and the function is not. So the question is put to the package, and not to
  the module.
- **Lengths.** It wants the requests' pasts as a running sum, from which it takes differences. That
  sum is the same for all layers, hence the builder.
- **Window.** Theirs counts the positions to the left of the token, ours the token too.
- **No cap** is 0 there.

Types are float16 and bfloat16, the two that upstream's backend lists
({up}`vllm/v1/attention/backends/flash_attn.py#FlashAttentionBackend@"[torch.float16,"`).
The keys are stored by our own kernel.

The host hands over the longest query and the longest past of the step, and what it launches may
depend on them. So nothing of it is recorded in a graph until somebody has replayed one on a device.
Upstream records its build: version 3 for every batch, others for uniform ones.

Written from the package's documented interface. Not run yet: it needs a CUDA device and the
package; `tests/gpu` holds the tests that wait for both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from importlib import metadata
from importlib.util import find_spec

import torch

from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig, AttentionShape
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder

#: The release from which `flash_attn_varlen_func` takes a `block_table`.
PAGES_SINCE = (2, 5, 7)
#: The release from which it takes `softcap`.
CAP_SINCE = (2, 6, 0)


@dataclass(frozen=True, kw_only=True)
class FlashAttentionMetadata(AttentionMetadata):
    """A step, and the running sum of its requests' lengths, `[num_reqs + 1]`, int32."""

    seq_start_loc: torch.Tensor


class FlashAttentionMetadataBuilder(AttentionMetadataBuilder):
    """Sums up the lengths, once a step and on the device."""

    def build(self, common: AttentionMetadata) -> FlashAttentionMetadata:
        """The same arrays, and `seq_start_loc`."""
        ends = common.seq_lens.cumsum(0, dtype=torch.int32)
        arrays = {f.name: getattr(common, f.name) for f in fields(AttentionMetadata)}
        arrays["builder"] = self
        return FlashAttentionMetadata(**arrays, seq_start_loc=torch.nn.functional.pad(ends, (1, 0)))


class FlashAttentionBackend(AttentionBackend):
    r"""The library's kernel over our pages, where `flash_attn` is installed.

    Upstream: {up}`vllm/v1/attention/backends/flash_attn.py#FlashAttentionBackend`.
    """

    name = "flash_attention"
    supported_devices = ("cuda",)
    minimum_capability = (8, 0)
    required_packages = ("flash_attn", "triton")
    supported_dtypes = (torch.float16, torch.bfloat16)
    head_size_multiple = 8
    largest_head_size = 256
    block_size_multiple = 256
    builder_cls = FlashAttentionMetadataBuilder

    @classmethod
    def other_obstacles(cls, config: AttentionSelectorConfig) -> list[str]:
        """What the installed release lacks; nothing where no module of the name is there."""
        if find_spec("flash_attn") is None:
            return []
        release = installed_release()
        if release is None:
            return ["the module flash_attn is there, and the package flash-attn (version 2) is not"]
        known = ".".join(map(str, release))
        found = []
        if release < PAGES_SINCE:
            found.append(f"flash-attn {known} takes no pages in flash_attn_varlen_func, 2.5.7 does")
        if config.has_soft_cap and release < CAP_SINCE:
            found.append(f"flash-attn {known} knows no soft cap, 2.6.0 does")
        return found

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
        from flash_attn import flash_attn_varlen_func

        from mini_vllm.kernels.triton.kv_write import write_kv

        if not isinstance(metadata, FlashAttentionMetadata):
            raise TypeError(
                f"the flash_attention backend wants what its builder makes, "
                f"got {type(metadata).__name__}"
            )
        keys, values = kv_cache.unbind(0)
        write_kv(key, value, keys, values, metadata.slot_mapping)
        window = (-1, -1) if layer.sliding_window is None else (layer.sliding_window - 1, 0)
        return flash_attn_varlen_func(
            query,
            keys.transpose(1, 2),
            values.transpose(1, 2),
            cu_seqlens_q=metadata.query_start_loc,
            cu_seqlens_k=metadata.seq_start_loc,
            max_seqlen_q=metadata.max_query_len,
            max_seqlen_k=metadata.max_seq_len,
            softmax_scale=layer.scale,
            causal=True,
            window_size=window,
            softcap=layer.logits_soft_cap or 0.0,
            block_table=metadata.block_table,
        )


def installed_release() -> tuple[int, ...] | None:
    """The version of the package `flash-attn`, as three numbers; None where it is not installed."""
    try:
        version = metadata.version("flash-attn")
    except metadata.PackageNotFoundError:
        return None
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
