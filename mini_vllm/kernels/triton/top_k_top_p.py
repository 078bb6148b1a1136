r"""How do you find the fiftieth of 150,000 numbers without sorting them?

Ask a different question: is the fiftieth at least *this* large? Count the numbers that are, and
compare. Every answer halves what is left, and since a float32 has 32 bits, 32 answers are enough
for the exact number, whatever the numbers are. That is a search over bits: the bits of a float,
read as an integer with a small repair for the sign, are in the order of the floats themselves, so
the threshold is built from its highest bit down, and a bit is set if enough numbers still reach
it. Two bits are settled a pass here, by three counts, so a search is {py:data}`PASSES` passes.

The same search finds the boundary of top-p. Instead of counting the numbers above a candidate, add
up their probabilities, and instead of `k` ask for the share `p` of what top-k has left. Both
functions fall as the candidate rises, and that is all that the search needs.

**The grid** is rows. A program searches one row, and needs all of it in every pass, so the row is
read again and again: its first reading comes from memory, the others from the cache, which is large
enough for the rows of a batch. Compare a sort, which must move what it orders, many times, to
learn far more than was asked: {py:func}`~mini_vllm.sample.top_k_top_p.apply_top_k_top_p`, whose
results these are, sorts as little as it can, and waits for the device in the middle to see whether
that was enough.

**Ties** are settled as there. Tokens equal to the k-th all stay. Of tokens equal to the boundary
of top-p, as many stay as are needed to reach the share, in the order of their ids; the last pass
counts them off. So only sums, which round in another order, can tell the two apart.

**Written** are only the tokens that fall: minus infinity, in place. A row that filters nothing is
not read.

Upstream's kernel for the same narrows the range by what a normal distribution would look like
before it searches, {up}`vllm/v1/sample/ops/topk_topp_triton.py#_topk_topp_kernel`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost

#: Tokens of the vocabulary a turn of a pass.
BLOCK = 4096
#: How often a search reads its row: 32 bits, two at a time.
PASSES = 16


@triton.jit
def _key(score):
    # Bits that compare, as unsigned integers, as the floats do. Both zeros are one number.
    bits = tl.where(score == 0.0, 0.0, score).to(tl.uint32, bitcast=True)
    return tl.where(bits >= 0x80000000, bits ^ 0xFFFFFFFF, bits | 0x80000000)


@triton.jit
def _measure(row, token, inside, top, floor, WEIGH: tl.constexpr):
    # The key of each token, and what it counts: 1, or if it reaches floor its softmax weight.
    score = tl.load(row + token, inside, float("-inf")).to(tl.float32)
    key = _key(score)
    if WEIGH:
        amount = tl.where(inside & (key >= floor), tl.exp(score - top), 0.0)
    else:
        amount = tl.where(inside, 1.0, 0.0)
    return key, amount


@triton.jit
def _amount_from(row, vocab_size, top, floor, least, WEIGH: tl.constexpr, SIZE: tl.constexpr):
    # What all tokens with a key of at least `least` amount to.
    total = 0.0
    for start in range(0, vocab_size, SIZE):
        token = start + tl.arange(0, SIZE)
        key, amount = _measure(row, token, token < vocab_size, top, floor, WEIGH)
        total += tl.sum(tl.where(key >= least, amount, 0.0))
    return total


@triton.jit
def _search(row, vocab_size, top, floor, target, WEIGH: tl.constexpr, SIZE: tl.constexpr):
    # The largest key such that the tokens from it upwards amount to `target`.
    found = tl.full((), 0, tl.uint32)
    unit = tl.full((), 1 << 30, tl.uint32)
    for _turn in range(16):
        one, two, three = 0.0, 0.0, 0.0
        for start in range(0, vocab_size, SIZE):
            token = start + tl.arange(0, SIZE)
            key, amount = _measure(row, token, token < vocab_size, top, floor, WEIGH)
            one += tl.sum(tl.where(key >= found + unit, amount, 0.0))
            two += tl.sum(tl.where(key >= found + 2 * unit, amount, 0.0))
            three += tl.sum(tl.where(key >= found + 3 * unit, amount, 0.0))
        steps = (one >= target).to(tl.uint32) + (two >= target).to(tl.uint32)
        found += unit * (steps + (three >= target).to(tl.uint32))
        unit = unit >> 2
    return found


@triton.jit
def top_k_top_p_kernel(
    logits,
    top_k,
    top_p,
    vocab_size,
    stride,
    K: tl.constexpr,
    P: tl.constexpr,
    SIZE: tl.constexpr,
):
    r"""One row: find the key that top-k wants, then the one that top-p wants, then mask."""
    row = logits + tl.program_id(0).to(tl.int64) * stride
    k, p = vocab_size, 1.0
    if K:
        k = tl.load(top_k + tl.program_id(0)).to(tl.int32)
    if P:
        p = tl.load(top_p + tl.program_id(0)).to(tl.float32)
    if (k >= vocab_size) & (p >= 1.0):
        return
    floor = tl.full((), 0, tl.uint32)
    if k < vocab_size:
        floor = _search(row, vocab_size, 0.0, floor, k.to(tl.float32), False, SIZE)
    # Without top-p: everything from `floor` stays, and no equal is turned away.
    boundary, spared = floor, vocab_size
    if p < 1.0:
        top = float("-inf")
        for start in range(0, vocab_size, SIZE):
            token = start + tl.arange(0, SIZE)
            score = tl.load(row + token, token < vocab_size, float("-inf")).to(tl.float32)
            top = tl.maximum(top, tl.max(score))
        target = p * _amount_from(row, vocab_size, top, floor, floor, True, SIZE)
        boundary = _search(row, vocab_size, top, floor, target, True, SIZE)
        # Of the equals at the boundary, those that are needed: each has the same weight.
        above = _amount_from(row, vocab_size, top, floor, boundary + 1, True, SIZE)
        equals = _amount_from(row, vocab_size, top, floor, boundary, True, SIZE) - above
        count = 0.0
        for start in range(0, vocab_size, SIZE):
            token = start + tl.arange(0, SIZE)
            key, one = _measure(row, token, token < vocab_size, top, floor, False)
            count += tl.sum(tl.where(key == boundary, one, 0.0))
        needed = tl.ceil((target - above) / (equals / count))
        spared = tl.maximum(needed, 1.0).to(tl.int32)
    before = tl.full((), 0, tl.int32)
    for start in range(0, vocab_size, SIZE):
        token = start + tl.arange(0, SIZE)
        inside = token < vocab_size
        key, _one = _measure(row, token, inside, 0.0, floor, False)
        equal = (inside & (key == boundary)).to(tl.int32)
        ordinal = before + tl.cumsum(equal, axis=0)
        falls = (key < boundary) | ((key == boundary) & (ordinal > spared))
        lowest = tl.full((SIZE,), float("-inf"), tl.float32).to(logits.dtype.element_ty)
        tl.store(row + token, lowest, inside & falls)
        before += tl.sum(equal)


def apply_top_k_top_p(
    logits: torch.Tensor, top_k: torch.Tensor | None, top_p: torch.Tensor | None
) -> torch.Tensor:
    r"""Mask what the filters exclude with minus infinity, in place; at least one token a row stays.

    `logits`: `[num_rows, vocab_size]` in float32, after temperature; `top_k`: `[num_rows]`, from 1
    to `vocab_size`, which means "off"; `top_p`: `[num_rows]` in (0, 1]. Meaning:
    {py:func}`mini_vllm.sample.top_k_top_p.apply_top_k_top_p`. Never waits for the device. Raises
    `ValueError` for scores of another type.
    """
    if logits.dtype != torch.float32 or logits.stride(1) != 1:
        raise ValueError(
            f"scores must be float32, row by row; got {logits.dtype} with strides {logits.stride()}"
        )
    for name, limits in (("top_k", top_k), ("top_p", top_p)):
        if limits is not None and limits.shape != logits.shape[:1]:
            raise ValueError(f"{name} {tuple(limits.shape)} for {logits.shape[0]} rows")
    if logits.numel() == 0 or (top_k is None and top_p is None):
        return logits
    num_rows, vocab_size = logits.shape
    top_k_top_p_kernel[(num_rows,)](
        logits,
        top_k,
        top_p,
        vocab_size,
        logits.stride(0),
        K=top_k is not None,
        P=top_p is not None,
        SIZE=BLOCK,
        num_warps=8,
    )
    return logits


def top_k_top_p_cost(
    num_rows: int,
    vocab_size: int,
    num_fallen: int,
    *,
    k: bool = True,
    p: bool = True,
    limit_itemsize: int = 8,
) -> KernelCost:
    r"""Every row once, the limits, and minus infinity for the tokens that fall.

    For rows that all filter, with `k`, with `p` (of {given}`4 bytes` each), or both. Operations:
    three comparisons and sums a token and pass, and an exponential and a difference for a weight.
    """
    limits = (limit_itemsize if k else 0) + (4 if p else 0)
    passes = PASSES * (6 * k + 8 * p)
    return KernelCost(
        num_rows * (vocab_size * 4 + limits), num_fallen * 4, num_rows * vocab_size * passes
    )
