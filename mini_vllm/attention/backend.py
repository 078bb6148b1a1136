r"""What does a backend promise, and what does it say of itself?

It promises that for each of the step's tokens, its row of the output is

$$o = \sum_{j} \frac{e^{s_j}}{\sum_i e^{s_i}} v_j, \qquad s_j = \frac{q \cdot k_j}{\sqrt{d}}$$

over the positions $j$ of *its own* request that are not later than itself and, with a sliding
window of $w$, not $w$ or more positions earlier; and that afterwards the pages hold this step's
keys and values. With a soft cap $c$, as {up}`Gemma 2 has one
<vllm/model_executor/models/gemma2.py@"config.attn_logit_softcapping">`, each score is bent before
the softmax to $c \tanh(s_j / c)$, which hardly moves small scores and lets none exceed $c$. How it
gets there is its own affair. Every backend passes one grid of tests against the definition on dense
tensors.

## What it says of itself

Types, head sizes, block sizes, a window, a cap, a device, the layout of the pages, how much of it
a CUDA graph may record: these are attributes of the class, so that the question "could this run
here?" needs no instance and no device. {py:meth}`AttentionBackend.validate_configuration` asks all
of them and returns *every* reason against. One reason at a time would send whoever configures
through the same door once per mistake. Upstream's has the same name and the same answer:
{up}`vllm/v1/attention/backend.py#AttentionBackend.validate_configuration`.

## Three times at which it works

| when | what | who |
|---|---|---|
| once per start | is it possible here? | the class: `validate_configuration` |
| once per step | what follows from lengths and tables alone | the builder: `build` |
| once per layer and step | store, attend | the backend: `forward` |

What is in the second row is paid once instead of once per layer. That is the reason for a builder
({py:class}`~mini_vllm.attention.metadata_builder.AttentionMetadataBuilder`): a model of
{given}`32 layers` asks the same question 32 times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar, Protocol

import torch

from mini_vllm.attention.graph_support import AttentionCGSupport
from mini_vllm.attention.kv_cache_layout import HND, KVCacheLayout
from mini_vllm.attention.metadata import AttentionMetadata
from mini_vllm.attention.metadata_builder import AttentionMetadataBuilder


class AttentionShape(Protocol):
    r"""What a backend reads off the layer that calls it: its shape, and nothing else.

    `sliding_window` counts the token itself, None is no window; `logits_soft_cap` bounds the
    scores, None is no bound.
    """

    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    sliding_window: int | None
    logits_soft_cap: float | None


@dataclass(frozen=True)
class AttentionSelectorConfig:
    r"""What a model on a device asks of attention, in full: the question that a backend answers.

    `sliding_windows` and `logits_soft_caps` hold what the model's layers have, each value once:
    `(None, 4096)` is a model in which some layers see everything. `compute_capability` is that of
    the CUDA device, None elsewhere and where it is not known. Upstream:
    {up}`vllm/v1/attention/selector.py#AttentionSelectorConfig`, which says nothing of windows and
    caps, since there a backend learns of them when its layers are built.
    """

    device: torch.device
    dtype: torch.dtype
    head_size: int
    num_heads: int = 1
    num_kv_heads: int = 1
    block_size: int = 16
    sliding_windows: tuple[int | None, ...] = (None,)
    logits_soft_caps: tuple[float | None, ...] = (None,)
    compute_capability: tuple[int, int] | None = None

    @property
    def has_sliding_window(self) -> bool:
        """Whether any layer sees only part of its past."""
        return any(window is not None for window in self.sliding_windows)

    @property
    def has_soft_cap(self) -> bool:
        """Whether any layer bounds its scores."""
        return any(cap is not None for cap in self.logits_soft_caps)


class AttentionBackend(ABC):
    r"""One way to compute attention over a paged cache; holds no state of any request.

    The class attributes say what it can do. A subclass sets those that differ.
    """

    #: The name by which a configuration asks for it.
    name: ClassVar[str]
    #: torch's words for the devices that it runs on; empty: on any.
    supported_devices: ClassVar[Sequence[str]] = ()
    #: The least compute capability of a CUDA device.
    minimum_capability: ClassVar[tuple[int, int]] = (0, 0)
    #: What `pip` must have installed, as module names.
    required_packages: ClassVar[Sequence[str]] = ()
    supported_dtypes: ClassVar[Sequence[torch.dtype]] = (
        torch.float32,
        torch.float16,
        torch.bfloat16,
    )
    #: Head sizes must be a multiple of the first and at most the second.
    head_size_multiple: ClassVar[int] = 1
    largest_head_size: ClassVar[int] = 1 << 30
    #: Block sizes must be a multiple of this. Upstream's word for it is `MultipleOf`.
    block_size_multiple: ClassVar[int] = 1
    supports_sliding_window: ClassVar[bool] = True
    supports_soft_cap: ClassVar[bool] = True
    #: The order of the cache's dimensions.
    kv_cache_layout: ClassVar[KVCacheLayout] = HND
    #: What works out, once a step, what all layers share.
    builder_cls: ClassVar[type[AttentionMetadataBuilder]] = AttentionMetadataBuilder

    @classmethod
    def validate_configuration(cls, config: AttentionSelectorConfig) -> list[str]:
        r"""Every reason why this backend cannot serve `config`, in words; empty if it can.

        Each reason names the value and the limit. A backend with a reason that is not in the
        attributes adds it in {py:meth}`other_obstacles`. Imports no package and touches no device.
        """
        reasons = [f"{p} is not installed" for p in cls.required_packages if find_spec(p) is None]
        kind, capability = config.device.type, config.compute_capability
        if cls.supported_devices and kind not in cls.supported_devices:
            reasons.append(f"it runs on {' and '.join(cls.supported_devices)}, not on {kind}")
        if capability is not None and capability < cls.minimum_capability:
            least = ".".join(map(str, cls.minimum_capability))
            reasons.append(
                f"it needs compute capability {least}, not {capability[0]}.{capability[1]}"
            )
        if config.dtype not in cls.supported_dtypes:
            known = ", ".join(_short(dtype) for dtype in cls.supported_dtypes)
            reasons.append(f"it knows {known}, not {_short(config.dtype)}")
        if config.head_size % cls.head_size_multiple:
            reasons.append(
                f"head_size {config.head_size} is not a multiple of {cls.head_size_multiple}"
            )
        if config.head_size > cls.largest_head_size:
            reasons.append(f"head_size {config.head_size} is larger than {cls.largest_head_size}")
        if config.block_size % cls.block_size_multiple:
            reasons.append(
                f"block_size {config.block_size} is not a multiple of {cls.block_size_multiple}"
            )
        if config.has_sliding_window and not cls.supports_sliding_window:
            reasons.append("it knows no sliding window")
        if config.has_soft_cap and not cls.supports_soft_cap:
            reasons.append("it knows no soft cap")
        return reasons + cls.other_obstacles(config)

    @classmethod
    def other_obstacles(cls, config: AttentionSelectorConfig) -> list[str]:
        """Reasons that no attribute can state, such as two settings that exclude each other."""
        return []

    @classmethod
    def make_builder(cls, config: AttentionSelectorConfig) -> AttentionMetadataBuilder:
        """The builder of this backend's metadata, for a model of this configuration."""
        return cls.builder_cls(config)

    @classmethod
    def kv_cache_shape(
        cls, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[int, ...]:
        r"""The shape of one layer's cache, in the order of `kv_cache_layout`.

        Upstream lets the backend choose, too:
        {up}`vllm/v1/attention/backend.py#AttentionBackend.get_kv_cache_shape`.
        """
        return cls.kv_cache_layout.shape(num_blocks, block_size, num_kv_heads, head_size)

    @abstractmethod
    def forward(
        self,
        layer: AttentionShape,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        metadata: AttentionMetadata,
    ) -> torch.Tensor:
        r"""Store `key` and `value` in `kv_cache`, then attend; returns a tensor like `query`.

        `query` is `[num_queries, num_heads, head_size]`, `key` and `value` are
        `[num_tokens, num_kv_heads, head_size]`, all contiguous, with queries and keys already
        rotated. There is a key for each slot of `metadata.slot_mapping`, and as many queries as
        `metadata.query_start_loc` says: one per token, or only those of the last tokens. A batch
        that was padded has more rows than that, with slots of -1; what the result holds in them is
        not said. Modifies `kv_cache` at the slots and nowhere else.

        Storing comes first and is part of the contract: a token attends to itself, and finds
        itself in the cache. Upstream splits the two into separate operations, so that a compiled
        graph can order them:
        {up}`vllm/model_executor/layers/attention/attention.py#unified_kv_cache_update`.
        """

    @classmethod
    def graph_support(cls) -> AttentionCGSupport:
        """For which batches a CUDA graph may hold this backend's launches."""
        return cls.builder_cls.cudagraph_support


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
