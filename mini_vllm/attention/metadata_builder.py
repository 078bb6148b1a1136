r"""What can be known about a step before its first layer runs?

Everything that depends on lengths and tables, and on no tensor of the model. A backend for the
CPU wants the single tokens separated from the runs. A kernel that cuts long pasts into segments
wants to know how many, and needs a place for what the segments find. A library wants its own
arrays, or a plan that it made itself. None of this differs from layer to layer, so it is done once
and rides along in the metadata.

The model runner makes the four arrays that say what the step *is*, the common
{py:class}`~mini_vllm.attention.metadata.AttentionMetadata`, and hands them to the builder of the
chosen backend. What comes back is that object or one that extends it; layers pass it on unread.

Upstream: {up}`vllm/v1/attention/backend.py#AttentionMetadataBuilder`. There a model may mix kinds
of layers, and has one builder for each group of layers that share a cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mini_vllm.attention.graph_support import AttentionCGSupport
from mini_vllm.attention.metadata import AttentionMetadata

if TYPE_CHECKING:
    from mini_vllm.attention.backend import AttentionSelectorConfig


class AttentionMetadataBuilder:
    r"""Turns the common description of a step into what one backend wants; this one adds nothing.

    Made once, with the model's configuration; may own buffers that all steps share, because steps
    follow one another. `cudagraph_support` says for which batches the launches are the
    same whatever the lengths are.
    """

    cudagraph_support: ClassVar[AttentionCGSupport] = AttentionCGSupport.NEVER

    def __init__(self, config: AttentionSelectorConfig) -> None:
        self.config = config

    def build(self, common: AttentionMetadata) -> AttentionMetadata:
        r"""The metadata that all layers of this step will get.

        Does not modify the arrays of `common`, which may be shared with another builder. A builder
        that adds a plan returns another object, and that one names its builder: the last layer
        wants the same step with other queries, and so another plan
        ({py:attr}`AttentionMetadata.last_tokens_only
        <mini_vllm.attention.metadata.AttentionMetadata.last_tokens_only>`).
        """
        return common

    def build_for_cudagraph_capture(self, common: AttentionMetadata) -> AttentionMetadata:
        r"""The metadata under which a graph is recorded: right for every later replay.

        `common` then holds buffers that keep their addresses, and lengths that mean nothing. What
        is decided on the host must be decided from what stays the same in all replays: how many
        rows, and how long a request may ever get (`max_seq_len`). Upstream:
        {up}`vllm/v1/attention/backend.py#AttentionMetadataBuilder.build_for_cudagraph_capture`.
        """
        return self.build(common)
