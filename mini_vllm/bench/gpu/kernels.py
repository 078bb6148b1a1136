r"""Decode attention, prefill attention and products, on the device at hand.

Shapes are those of one layer of an 8B model. Attention goes through the engine's own contract, with
a cache whose blocks lie in random order, as they do after an hour of serving: the backend is asked
for by name, builds its metadata, and attends. Products are measured twice, by the vendor's library
and by the kernel of {py:mod}`mini_vllm.kernels.triton.linear`, at sizes of decode and of prefill.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mini_vllm.bench.gpu.shares import HeadShape, Measured, attention_work, product_work
from mini_vllm.bench.gpu.timer import Timer

if TYPE_CHECKING:
    import torch

#: The heads of an 8B Qwen3, and the sizes of its largest product.
HEADS = HeadShape(num_heads=32, num_kv_heads=8, head_size=128)
HIDDEN, INTERMEDIATE = 4096, 12288
BLOCK_SIZE = 16
#: Name, then query length and context of each request.
ATTENTION = {
    "decode-attention": ([1] * 64, [4096] * 64),
    "decode-attention-long": ([1] * 4, [65536] * 4),
    "prefill-attention": ([4096] * 2, [4096] * 2),
    "chunk-attention": ([512] * 4, [8192] * 4),
}
PRODUCT_ROWS = (1, 16, 64, 512, 4096)


def measure_attention(
    name: str, backend: str, timer: Timer, device: torch.device, repeats: int = 20
) -> Measured:
    """One of {py:data}`ATTENTION` by a backend of the engine, in bfloat16."""
    query_lens, seq_lens = ATTENTION[name]
    attend = attention_call(query_lens, seq_lens, HEADS, backend, device)
    lengths = f"{len(query_lens)} requests, {query_lens[0]} of {seq_lens[0]:,} tokens each"
    what = f"{lengths}, {HEADS.num_heads} / {HEADS.num_kv_heads} heads of {HEADS.head_size}"
    cost = attention_work(query_lens, seq_lens, HEADS)
    return Measured(name, what, backend, cost, timer(attend, repeats))


def attention_call(
    query_lens: list[int],
    seq_lens: list[int],
    heads: HeadShape,
    backend: str,
    device: torch.device,
    dtype: str = "bfloat16",
) -> Callable[[], torch.Tensor]:
    r"""Attention over a random cache, as a function of nothing; each call does the same work.

    The requests' blocks are dealt out in random order. Raises
    {py:class}`~mini_vllm.errors.ConfigError` for a backend that cannot serve here.
    """
    import torch

    from mini_vllm.attention.backend import AttentionSelectorConfig
    from mini_vllm.attention.metadata import AttentionMetadata
    from mini_vllm.attention.selector import select_attention_backend

    kind = getattr(torch, dtype)
    config = AttentionSelectorConfig(
        device=device,
        dtype=kind,
        head_size=heads.head_size,
        num_heads=heads.num_heads,
        num_kv_heads=heads.num_kv_heads,
        block_size=BLOCK_SIZE,
        compute_capability=(
            torch.cuda.get_device_capability(device) if device.type == "cuda" else None
        ),
    )
    chosen = select_attention_backend(config, backend).backend
    counts = [-(-length // BLOCK_SIZE) for length in seq_lens]
    order = torch.randperm(sum(counts), dtype=torch.int32) + 1
    table = torch.zeros(len(counts), max(counts), dtype=torch.int32)
    for row, blocks in enumerate(order.split(counts)):
        table[row, : len(blocks)] = blocks
    slots = [
        int(table[row, place // BLOCK_SIZE]) * BLOCK_SIZE + place % BLOCK_SIZE
        for row, (query, length) in enumerate(zip(query_lens, seq_lens))
        for place in range(length - query, length)
    ]
    starts = torch.tensor([0, *query_lens]).cumsum(0).int()
    metadata = chosen.make_builder(config).build(
        AttentionMetadata(
            query_start_loc=starts.to(device),
            seq_lens=torch.tensor(seq_lens, dtype=torch.int32, device=device),
            block_table=table.to(device),
            slot_mapping=torch.tensor(slots, device=device),
            max_query_len=max(query_lens),
            max_seq_len=max(seq_lens),
            num_actual_tokens=sum(query_lens),
        )
    )
    shape = chosen.kv_cache_shape(sum(counts) + 1, BLOCK_SIZE, heads.num_kv_heads, heads.head_size)
    cache = torch.randn(shape, device=device, dtype=kind)
    total = sum(query_lens)
    query = torch.randn(total, heads.num_heads, heads.head_size, device=device, dtype=kind)
    key = torch.randn(total, heads.num_kv_heads, heads.head_size, device=device, dtype=kind)
    layer = _Layer(heads)
    return lambda: chosen.forward(layer, query, key, key, cache, metadata)


class _Layer:
    # What a backend reads off a layer.
    sliding_window: int | None = None
    logits_soft_cap: float | None = None

    def __init__(self, heads: HeadShape) -> None:
        self.num_heads, self.num_kv_heads = heads.num_heads, heads.num_kv_heads
        self.head_size, self.scale = heads.head_size, heads.head_size**-0.5


def measure_product(
    rows: int, by: str, timer: Timer, device: torch.device, repeats: int = 20
) -> Measured:
    """A layer's up projection for `rows` tokens, by `"vendor"` or by `"triton"`."""
    import torch

    x = torch.randn(rows, HIDDEN, device=device).bfloat16()
    weight = torch.randn(INTERMEDIATE, HIDDEN, device=device).bfloat16()
    product: Callable[[], Any]
    if by == "triton":
        from mini_vllm.kernels.triton.linear import linear

        product = lambda: linear(x, weight)  # noqa: E731
    else:
        product = lambda: torch.nn.functional.linear(x, weight)  # noqa: E731
    what = f"[{rows:,}, {HIDDEN:,}] by [{HIDDEN:,}, {INTERMEDIATE:,}]"
    cost = product_work(rows, INTERMEDIATE, HIDDEN)
    return Measured(f"product-{rows}", what, by, cost, timer(product, repeats))
