r"""In which order do the numbers of a page lie?

A page holds, for each key head and each place, a vector of `head_size` numbers, and the numbers of
a vector are neighbours in every layout. What is left is one choice: which comes first, the place
or the head?

- **NHD**: place, head, number. A token's keys of all heads are neighbours, so *writing* them is one
  run of memory. It is upstream's
  {up}`default <vllm/distributed/kv_transfer/kv_connector/utils.py#get_kv_connector_cache_layout>`,
  and what FlashAttention's own package calls a page.
- **HND**: head, place, number. The keys of one head are neighbours, so *reading* a head's page is
  one run. Upstream's FlashInfer
  {up}`asks for it
  <vllm/v1/attention/backends/flashinfer.py#FlashInferBackend.get_required_kv_cache_layout>`
  on devices of capability 10.x.

A token is written once and read at each later step, by one head at a time. So the order that is
kind to reading is the one to have, wherever the kernel allows it; {py:data}`HND` is the house's.
With 16 places of 128 numbers in bfloat16 a run is {qty}`attention-page-run-bytes` long instead of
{qty}`attention-row-run-bytes`.

A kernel that takes strides does not care. Seen through a transposed view, an HND page is an NHD
page with odd strides: no number moves. This is how
{py:mod}`~mini_vllm.attention.flash_attention` reads ours. Upstream separates the two ideas as well:
a backend names a logical shape
({up}`vllm/v1/attention/backends/flash_attn.py#FlashAttentionBackend.get_kv_cache_shape`) and an
order of strides
({up}`vllm/v1/attention/backends/flash_attn.py#FlashAttentionBackend.get_kv_cache_stride_order`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KVCacheLayout:
    r"""A name, and the dimensions of one layer's cache from the slowest to the fastest.

    `dimensions` is an order of `kv` (keys, then values), `block`, `head`, `place` and `number`.
    """

    name: str
    dimensions: tuple[str, ...]

    def __post_init__(self) -> None:
        if sorted(self.dimensions) != sorted(("kv", "block", "head", "place", "number")):
            raise ValueError(
                f"a layout orders kv, block, head, place and number, got {self.dimensions}"
            )

    def shape(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[int, ...]:
        """How long each dimension is."""
        sizes = {
            "kv": 2,
            "block": num_blocks,
            "head": num_kv_heads,
            "place": block_size,
            "number": head_size,
        }
        return tuple(sizes[name] for name in self.dimensions)

    def strides(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> dict[str, int]:
        """How many numbers lie between one and the next along each dimension."""
        strides, step = {}, 1
        shape = self.shape(num_blocks, block_size, num_kv_heads, head_size)
        for name, size in zip(reversed(self.dimensions), reversed(shape)):
            strides[name] = step
            step *= size
        return strides


#: A head's places are neighbours: kind to reading. What every backend here uses.
HND = KVCacheLayout("HND", ("kv", "block", "head", "place", "number"))
#: A token's heads are neighbours: kind to writing.
NHD = KVCacheLayout("NHD", ("kv", "block", "place", "head", "number"))
