r"""Where does a new key go, and who tells the GPU?

A list of numbers does. Every token of a step has a *slot*: block `slot // block_size`, place `slot
% block_size`, as the block table says; the list is made once a step and serves all layers. The
kernel is a scatter. It computes nothing, and reads and writes each byte of the step's keys and
values once, so nothing can be won by cleverness and a good deal lost by carelessness.

**The grid.** One program a token. It loads the token's slot, one number, and then owns all heads of
the token's key and value: a tile of `[num_kv_heads, head_size]`, contiguous where it comes from,
and in the pages `num_kv_heads` pieces of `head_size` numbers, a page's row each. Consecutive
threads hold consecutive numbers of one head, so both sides move in instructions as wide as a thread
can make them.

**A negative slot** means "not stored": a padded place of a captured graph, say. Its program reads
the slot and returns. It must not touch memory, since the slot's address would lie before the cache.

**What is left to the cache**: nothing. Every byte is asked for once.

Upstream's kernel of the same name for the slots, in Triton:
{up}`vllm/v1/attention/ops/triton_reshape_and_cache_flash.py#reshape_and_cache_kernel_flash`; it
takes scales for a quantized cache as well, and one that is laid out in other orders.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.triton.language import next_power_of_two


@triton.jit
def write_kv_kernel(
    key,
    value,
    key_cache,
    value_cache,
    slots,
    key_stride,
    value_stride,
    NUM_HEADS: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    HEADS: tl.constexpr,
    SIZE: tl.constexpr,
):
    r"""One token: all heads of its key and its value, to their place in the pages.

    `HEADS` and `SIZE` are `NUM_HEADS` and `HEAD_SIZE` rounded up to powers of two; the surplus is
    masked.
    """
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots + token).to(tl.int64)
    if slot < 0:
        return
    block, place = slot // BLOCK_SIZE, slot % BLOCK_SIZE
    head, d = tl.arange(0, HEADS)[:, None], tl.arange(0, SIZE)[None, :]
    inside = (head < NUM_HEADS) & (d < HEAD_SIZE)
    source = head * HEAD_SIZE + d
    # [num_blocks, num_kv_heads, block_size, head_size]
    target = ((block * NUM_HEADS + head) * BLOCK_SIZE + place) * HEAD_SIZE + d
    tl.store(key_cache + target, tl.load(key + token * key_stride + source, inside), inside)
    tl.store(value_cache + target, tl.load(value + token * value_stride + source, inside), inside)


def write_kv(
    key: torch.Tensor,
    value: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    slot_mapping: torch.Tensor,
) -> None:
    r"""Put this step's keys and values where `slot_mapping` says. Overwrites the caches there.

    `key`, `value`: `[num_tokens, num_kv_heads, head_size]`, each token's part contiguous; the
    caches `[num_blocks, num_kv_heads, block_size, head_size]`; `slot_mapping`: `[num_tokens]`,
    integers. A negative slot is not stored. There may be fewer slots than tokens, and then only
    the first tokens are. Two tokens with one slot are a race, which upstream's has as well.

    Raises `ValueError` for caches whose shape or type does not fit the keys'.
    """
    num_heads, head_size = key.shape[1:]
    for name, cache in (("key_cache", key_cache), ("value_cache", value_cache)):
        if cache.shape[1] != num_heads or cache.shape[3] != head_size or cache.dtype != key.dtype:
            raise ValueError(
                f"{name} {tuple(cache.shape)} of {cache.dtype} does not fit keys "
                f"{tuple(key.shape)} of {key.dtype}"
            )
        if not cache.is_contiguous():
            raise ValueError(f"{name} must be contiguous, its strides are {cache.stride()}")
    for name, tensor in (("key", key), ("value", value)):
        if tensor.stride()[1:] != (head_size, 1):
            raise ValueError(f"{name}: a token's heads must be contiguous, not {tensor.stride()}")
    if slot_mapping.shape[0] == 0:
        return
    write_kv_kernel[(slot_mapping.shape[0],)](
        key,
        value,
        key_cache,
        value_cache,
        slot_mapping,
        key.stride(0),
        value.stride(0),
        NUM_HEADS=num_heads,
        HEAD_SIZE=head_size,
        BLOCK_SIZE=key_cache.shape[2],
        HEADS=next_power_of_two(num_heads),
        SIZE=next_power_of_two(head_size),
    )


def write_kv_reference(
    key: torch.Tensor,
    value: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    slot_mapping: torch.Tensor,
) -> None:
    """What {py:func}`write_kv` means, token by token."""
    block_size = key_cache.shape[2]
    for token, slot in enumerate(slot_mapping.tolist()):
        if slot >= 0:
            key_cache[slot // block_size, :, slot % block_size] = key[token]
            value_cache[slot // block_size, :, slot % block_size] = value[token]


def write_kv_cost(
    num_slots: int,
    num_stored: int,
    num_kv_heads: int,
    head_size: int,
    *,
    itemsize: int = 2,
    slot_itemsize: int = 8,
) -> KernelCost:
    r"""Keys and values of `num_stored` tokens, in and out, and `num_slots` slots; no arithmetic."""
    moved = 2 * num_stored * num_kv_heads * head_size * itemsize
    return KernelCost(moved + num_slots * slot_itemsize, moved, 0)
