r"""What is left for a backend to do when one kernel does all of attention?

To store, and to plan. Storing is a kernel of its own
({py:mod}`mini_vllm.kernels.triton.kv_write`), as the step's keys have to be in their pages
before anybody attends to them. The plan says how the work is cut
({py:mod}`mini_vllm.kernels.split_kv`): it depends on how many tokens and requests the step has and
on the longest past, so {py:class}`TritonMetadataBuilder` makes it once a step, one for each sliding
window that the model's layers have.

The builder owns the place where segments leave what they found. It is one buffer for all layers and
all steps, since these follow one another, and its size is bounded before any step is known
({py:func}`~mini_vllm.kernels.split_kv.largest_workspace`): so its address never changes.

## In a graph

A recorded launch keeps its number of programs, which is what the plan decides. Everything else the
kernel reads from memory. So it is enough to plan a capture for the longest past that a replay may
ever see: short pasts then have segments with nothing in them, which say so and leave. The plan
depends on the number of tokens too, and a mixed batch of as many tokens may have any number of
requests; a recorded one has as many as it was padded to. Both hold for every batch that the runner
can pad, so support is
{py:class}`ALWAYS <mini_vllm.attention.graph_support.AttentionCGSupport>`, as it is upstream:
{up}`vllm/v1/attention/backends/triton_attn.py#TritonAttentionMetadataBuilder@"AttentionCGSupport.ALWAYS"`.

Runs on CUDA. On a CPU it runs only where the process was started with `TRITON_INTERPRET=1`, which
is for tests. Not run on a device yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch

from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig, AttentionShape
from mini_vllm.attention.graph_support import AttentionCGSupport
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder
from mini_vllm.kernels.split_kv import LaunchPlan, largest_workspace, plan_launch
from mini_vllm.kernels.triton.availability import obstacles


@dataclass(frozen=True, kw_only=True)
class TritonMetadata(AttentionMetadata):
    """A step with its plans, by sliding window (None: none), and the segments' workspace."""

    plans: Mapping[int | None, LaunchPlan] = field(default_factory=dict)
    workspace: torch.Tensor | None = field(default=None, repr=False)


class TritonMetadataBuilder(AttentionMetadataBuilder):
    r"""Plans a step once for all layers.

    `num_processors` is asked of the device where it is not given; `tile` and `smallest_segment` go
    to {py:func}`~mini_vllm.kernels.split_kv.plan_launch`. Owns the workspace.
    """

    cudagraph_support = AttentionCGSupport.ALWAYS

    def __init__(
        self,
        config: AttentionSelectorConfig,
        *,
        num_processors: int | None = None,
        tile: int | None = None,
        smallest_segment: int | None = None,
    ) -> None:
        super().__init__(config)
        if num_processors is None:
            num_processors = processors_of(config.device)
        self.num_processors, self.tile = num_processors, tile
        self.smallest_segment = smallest_segment
        rows = largest_workspace(config.num_heads, config.num_kv_heads, num_processors)
        from mini_vllm.kernels.triton.reduce_segments import workspace_numbers

        self.workspace = torch.empty(
            workspace_numbers(rows, config.head_size), dtype=torch.float32, device=config.device
        )

    def build(self, common: AttentionMetadata) -> TritonMetadata:
        """The same arrays, a plan for each window of the model, and the workspace."""
        arrays = {
            f.name: getattr(common, f.name)
            for f in fields(AttentionMetadata)
            if f.name != "builder"
        }
        plans = {window: self.plan(common, window) for window in self.config.sliding_windows}
        return TritonMetadata(**arrays, builder=self, plans=plans, workspace=self.workspace)

    def plan(self, common: AttentionMetadata, sliding_window: int | None) -> LaunchPlan:
        """How layers with such a window deal this step out to programs."""
        config = self.config
        single = common.max_query_len == 1
        return plan_launch(
            num_queries=common.num_reqs if single else common.num_actual_tokens,
            num_reqs=common.num_reqs,
            max_query_len=common.max_query_len,
            max_seq_len=common.max_seq_len,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_size=config.head_size,
            element_bytes=config.dtype.itemsize,
            num_processors=self.num_processors,
            sliding_window=sliding_window,
            tile=self.tile,
            smallest_segment=self.smallest_segment,
        )


def processors_of(device: torch.device) -> int:
    """How many programs such a device runs side by side; a CPU, which interprets, runs one."""
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


class TritonAttentionBackend(AttentionBackend):
    r"""The house's own kernel for a GPU.

    Knows every head size up to 256 and every block size, windows and caps. Upstream:
    {up}`vllm/v1/attention/backends/triton_attn.py#TritonAttentionBackend`, which asks for heads of
    at least 32 and for blocks of a multiple of 16.
    """

    name = "triton"
    largest_head_size = 256
    builder_cls = TritonMetadataBuilder

    @classmethod
    def other_obstacles(cls, config: AttentionSelectorConfig) -> list[str]:
        """What stands against Triton here: not installed, no device, an old one."""
        return obstacles(config.device.type, config.compute_capability)

    def forward(
        self,
        layer: AttentionShape,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        r"""See {py:meth}`AttentionBackend.forward
        <mini_vllm.attention.backend.AttentionBackend.forward>`.

        Raises `TypeError` for metadata that its builder did not make.
        """
        from mini_vllm.kernels.triton.kv_write import write_kv
        from mini_vllm.kernels.triton.unified_attention import unified_attention

        if not isinstance(metadata, TritonMetadata):
            raise TypeError(
                f"the triton backend wants what its builder makes, got {type(metadata).__name__}"
            )
        keys, values = kv_cache.unbind(0)
        write_kv(key, value, keys, values, metadata.slot_mapping)
        return unified_attention(
            query,
            keys,
            values,
            metadata.block_table,
            metadata.query_start_loc,
            metadata.seq_lens,
            layer.scale,
            metadata.plans[layer.sliding_window],
            sliding_window=layer.sliding_window,
            logits_soft_cap=layer.logits_soft_cap,
            workspace=metadata.workspace,
        )
