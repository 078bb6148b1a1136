r"""Why would one kernel split, norm and rotate?

Because each of the three would read and write everything. The projection leaves queries, keys and
values of a token side by side in one row. Attention wants three tensors; Qwen3 wants each head of
the first two normed; and all of them turned by the token's position. Apart, that is up to five
kernels, each of which moves the row through memory for a few operations a number. Together it is
one: in, three short steps in registers, out.

**The grid** is a token, and a group of its heads: {py:data}`TILE` numbers of the row, whichever
heads they are. A head's number says what to do with it. The first `num_heads` are queries, then
come the keys, which are treated alike and go elsewhere, then the values, which are only carried.
So there is no program that does nothing but copy, and none that waits for another; and a single
token of a decode step is several programs rather than one.

**What a program holds** is each head as two tiles, the lower half of what is rotated and the upper,
since number `d` is turned together with number `d + half`. Loaded so, the pair meets in one
thread's registers and nothing has to be shuffled. If only a part of each head is rotated, the rest
is a third tile; it takes part in the norm and passes by the rotation.

**What is left to the cache**: the token's row of cosines and sines, which each of its programs asks
for, and the weights of the norms. The table is in float32 whatever the model's type: at position
{given}`100,000` a bfloat16 could not tell neighbouring angles apart.

Upstream does it in two: {up}`csrc/libtorch_stable/pos_encoding_kernels.cu#rotary_embedding_kernel`
rotates in place, with a tensor split by view; where a model norms its heads a compiler's pass puts
{up}`csrc/libtorch_stable/fused_qknorm_rope_kernel.cu#fusedQKNormRopeKernel` in its stead.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.torch_kernels import TorchKernels, rotate
from mini_vllm.kernels.triton.language import narrow, next_power_of_two

#: Numbers of a row that one program takes.
TILE = 1024


@triton.jit
def split_qkv_rotary_kernel(
    qkv,
    positions,
    cos_sin,
    q_norm,
    k_norm,
    query,
    key,
    value,
    qkv_stride,
    eps,
    NUM_HEADS: tl.constexpr,
    NUM_KV_HEADS: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    ROTARY: tl.constexpr,
    NORM: tl.constexpr,
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    REST: tl.constexpr,
):
    r"""`HEADS` heads of one token: normed, rotated, and put where their kind belongs.

    Of each head the first `ROTARY` numbers turn. `HALF` and `REST` are half of that, and what is
    left, rounded up to powers of two; `REST` is 0 if nothing is left.
    """
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)[:, None]
    turns = head < NUM_HEADS + NUM_KV_HEADS
    here = head < NUM_HEADS + 2 * NUM_KV_HEADS
    row = qkv + token * qkv_stride + head * HEAD_SIZE

    half: tl.constexpr = ROTARY // 2
    d = tl.arange(0, HALF)[None, :]
    pair = d < half
    lower = tl.load(row + d, here & pair, 0.0).to(tl.float32)
    upper = tl.load(row + half + d, here & pair, 0.0).to(tl.float32)
    if REST:
        r = ROTARY + tl.arange(0, REST)[None, :]
        rest = tl.load(row + r, here & (r < HEAD_SIZE), 0.0).to(tl.float32)
    if NORM:
        squares = tl.sum(lower * lower + upper * upper, axis=1, keep_dims=True)
        if REST:
            squares += tl.sum(rest * rest, axis=1, keep_dims=True)
        inverse = 1.0 / tl.sqrt(squares / HEAD_SIZE + eps)
        lower = _scaled(lower, inverse, q_norm + d, k_norm + d, pair, head, NUM_HEADS, turns)
        upper = _scaled(
            upper, inverse, q_norm + half + d, k_norm + half + d, pair, head, NUM_HEADS, turns
        )
        if REST:
            rest = _scaled(
                rest, inverse, q_norm + r, k_norm + r, r < HEAD_SIZE, head, NUM_HEADS, turns
            )

    angle = cos_sin + tl.load(positions + token).to(tl.int64) * ROTARY + d
    cos, sin = tl.load(angle, pair, 0.0), tl.load(angle + half, pair, 0.0)
    turned_lower = tl.where(turns, lower * cos - upper * sin, lower)
    turned_upper = tl.where(turns, upper * cos + lower * sin, upper)
    for_query = query + (token * NUM_HEADS + head) * HEAD_SIZE
    for_key = key + (token * NUM_KV_HEADS + head - NUM_HEADS) * HEAD_SIZE
    for_value = value + (token * NUM_KV_HEADS + head - NUM_HEADS - NUM_KV_HEADS) * HEAD_SIZE
    is_query, is_key, is_value = head < NUM_HEADS, turns & (head >= NUM_HEADS), here & ~turns
    _put(turned_lower, d, pair, for_query, for_key, for_value, is_query, is_key, is_value)
    _put(turned_upper, half + d, pair, for_query, for_key, for_value, is_query, is_key, is_value)
    if REST:
        _put(rest, r, r < HEAD_SIZE, for_query, for_key, for_value, is_query, is_key, is_value)


@triton.jit
def _scaled(x, inverse, q_weight, k_weight, inside, head, NUM_HEADS, turns):
    # One row of each weight for the whole program, and each head takes its own.
    q = tl.load(q_weight, inside, 0.0).to(tl.float32)
    k = tl.load(k_weight, inside, 0.0).to(tl.float32)
    return tl.where(turns, x * inverse * tl.where(head < NUM_HEADS, q, k), x)


@triton.jit
def _put(x, d, inside, for_query, for_key, for_value, is_query, is_key, is_value):
    # One tile, three owners: each store takes the heads that are its own.
    kept = narrow(x, for_query.dtype.element_ty)
    tl.store(for_query + d, kept, is_query & inside)
    tl.store(for_key + d, kept, is_key & inside)
    tl.store(for_value + d, kept, is_value & inside)


def split_qkv_rotary(
    qkv: torch.Tensor,
    positions: torch.Tensor,
    cos_sin_cache: torch.Tensor,
    num_heads: int,
    num_kv_heads: int,
    q_norm: torch.Tensor | None = None,
    k_norm: torch.Tensor | None = None,
    eps: float = 1e-6,
    *,
    head_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""Rotated queries, rotated keys, and values: three contiguous `[num_tokens, heads,
    head_size]`.

    As {py:meth}`~mini_vllm.kernels.interface.Kernels.split_qkv_rotary`, and more: `head_size` may
    be larger than the table is wide, and then only the first `cos_sin_cache.shape[1]` numbers of a
    head are rotated. Positions must lie in the table; nothing checks them here.

    Raises `ValueError` for a row that is not as wide as its heads, for a rotated part that is odd
    or wider than a head, and for one norm without the other.
    """
    rotary = cos_sin_cache.shape[1]
    head_size = head_size or rotary
    total = num_heads + 2 * num_kv_heads
    num_tokens, width = qkv.shape
    if width != total * head_size or qkv.stride(1) != 1:
        raise ValueError(
            f"qkv {tuple(qkv.shape)} with strides {qkv.stride()} is not {total} heads of "
            f"{head_size} numbers side by side"
        )
    if rotary % 2 or rotary > head_size:
        raise ValueError(f"cannot rotate {rotary} of a head's {head_size} numbers in pairs")
    if (q_norm is None) != (k_norm is None):
        raise ValueError("a norm for queries needs one for keys, and the other way about")
    query = torch.empty((num_tokens, num_heads, head_size), dtype=qkv.dtype, device=qkv.device)
    key = torch.empty((num_tokens, num_kv_heads, head_size), dtype=qkv.dtype, device=qkv.device)
    value = torch.empty_like(key)
    if num_tokens == 0:
        return query, key, value
    half, rest = next_power_of_two(rotary // 2), head_size - rotary
    heads = min(next_power_of_two(total), max(1, TILE // next_power_of_two(head_size)))
    split_qkv_rotary_kernel[(num_tokens, (total + heads - 1) // heads)](
        qkv,
        positions,
        cos_sin_cache,
        q_norm,
        k_norm,
        query,
        key,
        value,
        qkv.stride(0),
        eps,
        NUM_HEADS=num_heads,
        NUM_KV_HEADS=num_kv_heads,
        HEAD_SIZE=head_size,
        ROTARY=rotary,
        NORM=q_norm is not None,
        HEADS=heads,
        HALF=half,
        REST=next_power_of_two(rest) if rest else 0,
    )
    return query, key, value


def split_qkv_rotary_reference(
    qkv: torch.Tensor,
    positions: torch.Tensor,
    cos_sin_cache: torch.Tensor,
    num_heads: int,
    num_kv_heads: int,
    q_norm: torch.Tensor | None = None,
    k_norm: torch.Tensor | None = None,
    eps: float = 1e-6,
    *,
    head_size: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""What {py:func}`split_qkv_rotary` means, step by step."""
    rotary = cos_sin_cache.shape[1]
    heads = qkv.view(qkv.shape[0], -1, head_size or rotary)
    query, key, value = heads.split([num_heads, num_kv_heads, num_kv_heads], dim=1)
    if q_norm is not None and k_norm is not None:
        norm = TorchKernels().rms_norm
        query, key = norm(query, q_norm, eps), norm(key, k_norm, eps)
    cos, sin = cos_sin_cache[positions].unsqueeze(1).chunk(2, dim=-1)
    query, key = (
        torch.cat((rotate(x[..., :rotary], cos, sin), x[..., rotary:]), dim=-1)
        for x in (query, key)
    )
    return query, key, value.contiguous()


def split_qkv_rotary_cost(
    num_tokens: int,
    num_heads: int,
    num_kv_heads: int,
    head_size: int,
    *,
    rotary: int | None = None,
    norm: bool = False,
    num_positions: int | None = None,
    itemsize: int = 2,
    position_itemsize: int = 8,
) -> KernelCost:
    r"""The row in and out, the tokens' positions, a row of the table for each different one.

    `num_positions` says how many differ; all do if it is not given. A rotated number takes three
    operations, a normed one four.
    """
    rotary = rotary or head_size
    row = num_tokens * (num_heads + 2 * num_kv_heads) * head_size * itemsize
    table = (num_tokens if num_positions is None else num_positions) * rotary * 4
    turned = num_tokens * (num_heads + num_kv_heads)
    weights = 2 * head_size * itemsize if norm else 0
    return KernelCost(
        row + num_tokens * position_itemsize + table + weights,
        row,
        turned * (3 * rotary + (4 * head_size if norm else 0)),
    )
