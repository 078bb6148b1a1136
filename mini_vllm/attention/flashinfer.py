r"""What if the plan is the library's?

FlashInfer divides its work in two, and shows it: `plan` looks at the lengths, on
the host, and decides how the work is dealt out; `run` does it, once for each layer. This is the
division between builder and forward that every backend here has, taken to its end: the plan is an
object of the library, and the metadata only carries it.

Two things follow. What `plan` decides with must be known when it is called, and that includes
things which here belong to the layer: the window, the cap, the scale. So there is one plan for each
window and cap that the model's layers have. (Upstream {up}`infers what all layers share
<vllm/v1/attention/backends/utils.py#infer_global_hyperparameters>`, and
{up}`refuses models whose layers differ
<vllm/v1/attention/backends/flashinfer.py#FlashInferMetadataBuilder.build@"has_same_window_lefts:">`,
except on TensorRT-LLM's kernels.) And planning is work of the host, on lengths that it must have:
this builder copies them from the device, and waits for it. So does upstream's, where
{up}`those kernels do not take the whole step
<vllm/v1/attention/backends/flashinfer.py#FlashInferMetadataBuilder.build@"needs_seq_lens_cpu =">`.

Its pages may be ours as they are: HND is one of its two layouts. It wants each request's pages
without the stale rest of the row, as one list with a running sum, and the number of places that are
taken in each last page.

Blocks of 16, 32 and 64 are what upstream's kernels take
({up}`vllm/v1/attention/backends/flashinfer.py#FlashInferBackend.get_supported_kernel_block_sizes`);
a block that is a multiple of one of these is allowed there too, and handed over in pieces. Heads of
64, 128 and 256 are {up}`in its list
<vllm/v1/attention/backends/flashinfer.py#FlashInferBackend.get_supported_head_sizes>`, which also
has 512. Prompts and decodes go through the same wrapper here; upstream takes another one for
decodes.

Written from the library's documented interface. Not run yet: it needs a CUDA device and the
package; `tests/gpu` holds the tests that wait for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig, AttentionShape
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder

#: What the library's kernels may write between their two passes, in bytes; its manual's number.
WORKSPACE_BYTES = 128 << 20
#: What a plan is made for: a layer's window and its cap.
Kind = tuple[int | None, float | None]


@dataclass(frozen=True, kw_only=True)
class FlashInferMetadata(AttentionMetadata):
    """A step, and the library's planned wrapper for each window and cap."""

    wrappers: Mapping[Kind, Any] = field(default_factory=dict, repr=False)


class FlashInferMetadataBuilder(AttentionMetadataBuilder):
    r"""Has the library plan the step, once for each kind of layer.

    Owns the library's wrappers, and the workspace that they share. A step with one query a request
    has wrappers of its own: the last layer's plan must not overwrite the one that the layers before
    it still use.
    """

    def __init__(self, config: AttentionSelectorConfig) -> None:
        super().__init__(config)
        self.workspace = torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=config.device)
        self._wrappers: dict[tuple[Kind, bool], Any] = {}

    def build(self, common: AttentionMetadata) -> FlashInferMetadata:
        """The same arrays, and a planned wrapper for each kind of layer."""
        config, host = self.config, common.host
        num_pages = -(-host.seq_lens // config.block_size)
        pages = torch.from_numpy(_pages_in_use(host.block_table, num_pages))
        starts = torch.zeros(common.num_reqs + 1, dtype=torch.int32)
        starts[1:] = torch.from_numpy(num_pages).cumsum(0)
        last_page = torch.from_numpy(host.seq_lens - (num_pages - 1) * config.block_size)
        wrappers = {}
        for window in config.sliding_windows:
            for cap in config.logits_soft_caps:
                wrapper = self._wrapper((window, cap), common.max_query_len == 1)
                wrapper.plan(
                    qo_indptr=torch.from_numpy(host.query_start_loc),
                    paged_kv_indptr=starts,
                    paged_kv_indices=pages.to(config.device),
                    paged_kv_last_page_len=last_page.int(),
                    num_qo_heads=config.num_heads,
                    num_kv_heads=config.num_kv_heads,
                    head_dim_qk=config.head_size,
                    page_size=config.block_size,
                    causal=True,
                    sm_scale=config.head_size**-0.5,
                    window_left=-1 if window is None else window - 1,
                    logits_soft_cap=cap or 0.0,
                    q_data_type=config.dtype,
                    kv_data_type=config.dtype,
                )
                wrappers[window, cap] = wrapper
        arrays = {f.name: getattr(common, f.name) for f in fields(AttentionMetadata)}
        arrays["builder"] = self
        return FlashInferMetadata(**arrays, wrappers=wrappers)

    def _wrapper(self, kind: Kind, single: bool) -> Any:
        from flashinfer import BatchPrefillWithPagedKVCacheWrapper

        if (kind, single) not in self._wrappers:
            self._wrappers[kind, single] = BatchPrefillWithPagedKVCacheWrapper(
                self.workspace, self.config_layout
            )
        return self._wrappers[kind, single]

    @property
    def config_layout(self) -> str:
        """The library's word for the order of our pages."""
        return FlashInferBackend.kv_cache_layout.name


def _pages_in_use(block_table: Any, num_pages: Any) -> Any:
    # [num_reqs, columns] -> the first num_pages[i] ids of each row i, one after the other.
    columns = torch.arange(block_table.shape[1]).numpy()
    return block_table[columns < num_pages[:, None]]


class FlashInferBackend(AttentionBackend):
    r"""The library's planned attention over our pages, where `flashinfer` is installed.

    Upstream: {up}`vllm/v1/attention/backends/flashinfer.py#FlashInferBackend`.
    """

    name = "flashinfer"
    supported_devices = ("cuda",)
    minimum_capability = (7, 5)
    required_packages = ("flashinfer", "triton")
    supported_dtypes = (torch.float16, torch.bfloat16)
    builder_cls = FlashInferMetadataBuilder

    @classmethod
    def other_obstacles(cls, config: AttentionSelectorConfig) -> list[str]:
        """Head sizes and block sizes, of which there is a list rather than a rule."""
        found = []
        if config.head_size not in (64, 128, 256):
            found.append(f"head_size {config.head_size} is not one of 64, 128, 256")
        if config.block_size not in (16, 32, 64):
            found.append(f"block_size {config.block_size} is not one of 16, 32, 64")
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
        from mini_vllm.kernels.triton.kv_write import write_kv

        if not isinstance(metadata, FlashInferMetadata):
            raise TypeError(
                f"the flashinfer backend wants what its builder makes, "
                f"got {type(metadata).__name__}"
            )
        keys, values = kv_cache.unbind(0)
        write_kv(key, value, keys, values, metadata.slot_mapping)
        wrapper = metadata.wrappers[layer.sliding_window, layer.logits_soft_cap]
        return wrapper.run(query, (keys, values))
