r"""How does a program answer for a past that it can never hold all at once?

It walks through it, a tile at a time, and keeps three things per query: the largest score so far,
the sum of the weights, the weighted sum of the values. {py:mod}`mini_vllm.attention.online_softmax`
derives the step and proves that it is exact; this is the step as a kernel, and everything else in
it is addressing. There is one kernel for all: a decode, a prompt, a chunk of one in the middle, all
in one launch. Nothing in it asks which of them a request is.

## Why it is fast

Write softmax attention down as three library calls and count what passes through memory. For $n$
queries over $n$ positions the scores are written, read by the softmax, written again as weights and
read by the second product: four times $n^2$ numbers a head, beside $4 n d$ that have to move. At
{given}`4,096 tokens` and a head of {given}`128` numbers that is
{qty}`attention-score-traffic-share` times what is needed. The scores of one tile, however, fit in
registers, and the online softmax lets us forget them at once. So nothing of size $n^2$ ever exists.
FlashAttention {cite}`flashattention` is that sentence. It saves no operation (the corrections are
a few more); it saves the traffic.

A decode is another case, with the same kernel. Its scores are few, and its keys and values are
read once whatever one does: two operations for each number read and each query head. Then the
floor is the bandwidth ({py:func}`cost`), and a kernel is judged by how much of the device reads at
the same time. Hence the segments ({py:mod}`mini_vllm.kernels.split_kv`).

## Who does what

The grid has three axes: blocks of query tokens, key heads, segments of the past.

**Rows.** The query heads of one group share their keys. They and the tokens of the block together
are the rows of one tile: row $r$ is token $\lfloor r / g \rfloor$ and head $r$ mod $g$. So a key is
loaded once for all of them, and a decode of a model with groups has a tile to multiply rather
than a vector.

**Which request?** Blocks must not cross from one request to the next, and the kernel is launched
before anybody on the host has counted blocks. So request $i$, whose tokens start at $q_i$, gets the
blocks from $\lfloor q_i / Q \rfloor + i$ on, where $Q$ is the tokens of a block. The next request's
first block is $\lfloor q_{i+1} / Q \rfloor + i + 1$, hence request $i$ has $\lfloor q_{i+1} / Q
\rfloor - \lfloor q_i / Q \rfloor + 1$ blocks. That is enough for its tokens, and at most one too
many, which finds that it is past the end and leaves. Here are three requests that have one, four
and three tokens, in blocks of $Q = 2$:

```text
request       tokens     first block     needs   gets
A                0       0 // 2 + 0 = 0      1   0
B             1 .. 4     1 // 2 + 1 = 1      2   1, 2, and 3 leaves
C             5 .. 7     5 // 2 + 2 = 4      2   4, 5, and 6 leaves
launched                 8 // 2 + 3 = 7
```

The last line needs no request's length, only how many tokens and requests there are: that much the
host knows ({inv}`plan-reaches-every-query`). A program inverts the formula by a binary search in an
array that all programs read. Upstream's numbering is the same
({up}`vllm/v1/attention/ops/triton_attention_helpers.py#find_seq_idx`). Where each request has one
token, block $i$ is request $i$ and nobody searches.

**Which positions?** From the first that the block's first token may see to the last token of the
block itself. Tiles before a sliding window are not masked but skipped, and so are those after the
diagonal. What is left is cut evenly among the segments, here, from the lengths in memory: the host
decides how *many* segments there are, not where they begin, so a recorded graph stays right while
texts grow. (Upstream cuts the whole text and takes the window's part of each segment afterwards
({up}`vllm/v1/attention/ops/triton_attention_helpers.py#compute_tile_loop_bounds`). With a window of
{given}`1,024` in a text of {given}`32,768` tokens at most two of its 16 segments have work.)

**Where are they?** Position $p$ is at place $p$ mod $B$ of block `block_table[request, p // B]`.
Each lane looks up its own position. So the tile need not be a multiple of the block, nor the block
of the tile; blocks of 1 and of 128 take the same road.

## What must not be read

A page holds what an earlier owner left, and the table's row ends in stale ids. A weight of zero
does not help: zero times NaN is NaN. So no position outside of what the block's tokens may see is
ever *loaded*; the mask of the load is as much part of the result as the mask of the scores.

And a row may see nothing of a tile, when its window begins later. Its largest score is then still
$-\infty$; it is measured from 0, and stays $-\infty$ for the tiles that follow.

## Powers of two

PTX, the assembly that Triton writes for NVIDIA's devices, has an instruction for $2^x$ (`ex2`) and
none for $e^x$. So scores are multiplied by $\log_2 e$ where they are scaled anyway, and $2^x$ of
them is $e^x$ of the real ones; `largest` is in these units, too, and
{py:mod}`~mini_vllm.kernels.triton.reduce_segments` knows it. A soft cap, which bends scores toward
a bound, wants $\tanh x$, written so that it goes to 1 and to $-1$ at the ends, and at no place to
infinity over infinity:

$$\tanh x = 1 - \frac{2}{e^{2x} + 1}.$$

Not run on a device yet: the tests run it in the interpreter and compile it, and those of
`tests/gpu` wait for one.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.cost import KernelCost
from mini_vllm.kernels.split_kv import LaunchPlan
from mini_vllm.kernels.triton.language import dot, narrow
from mini_vllm.kernels.triton.reduce_segments import padded_head_size, parts_of, reduce_segments

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _request_of(block, query_start_ptr, num_reqs, QUERIES: tl.constexpr):
    # The last request whose first block is not after `block`.
    low = num_reqs - num_reqs
    high = num_reqs
    while high - low > 1:
        middle = (low + high) // 2
        first_block = tl.load(query_start_ptr + middle) // QUERIES + middle
        low = tl.where(first_block <= block, middle, low)
        high = tl.where(first_block <= block, high, middle)
    return low


@triton.jit(do_not_specialize=["num_reqs", "table_stride"])
def unified_attention_kernel(
    out_ptr,  # [num_queries, num_heads, head_size]
    query_ptr,  # [num_queries, num_heads, head_size]
    key_ptr,  # pages of keys, as the three strides say; a vector is contiguous
    value_ptr,
    block_table_ptr,  # [num_reqs, any]
    query_start_ptr,  # [num_reqs + 1]
    seq_lens_ptr,  # [num_reqs]
    weighted_ptr,  # [num_queries, num_heads, SEGMENTS, HEAD_PADDED], float32
    largest_ptr,  # [num_queries, num_heads, SEGMENTS], float32
    total_ptr,
    scale,
    soft_cap,
    num_reqs,
    table_stride,
    block_stride,
    head_stride,
    place_stride,
    GROUP: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    QUERIES: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    WINDOW: tl.constexpr,  # 0: none
    SOFT_CAP: tl.constexpr,
    SEGMENTS: tl.constexpr,
    ONE_QUERY: tl.constexpr,
):
    """One block of query tokens, one key head, one segment of the past."""
    block, kv_head, segment = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    num_heads = tl.num_programs(1) * GROUP
    if ONE_QUERY:
        request = block
        start = tl.load(query_start_ptr + request)
        first_query = 0
    else:
        request = _request_of(block, query_start_ptr, num_reqs, QUERIES)
        start = tl.load(query_start_ptr + request)
        first_query = (block - (start // QUERIES + request)) * QUERIES
    query_len = tl.load(query_start_ptr + request + 1) - start
    if first_query >= query_len:
        return
    seq_len = tl.load(seq_lens_ptr + request)
    past = seq_len - query_len

    rows = tl.arange(0, ROWS)
    queries = first_query + rows // GROUP
    live = (rows < QUERIES * GROUP) & (queries < query_len)
    positions = past + queries
    # The row's place in a tensor [num_queries, num_heads].
    row_index = (start + queries).to(tl.int64) * num_heads + kv_head * GROUP + rows % GROUP
    numbers = tl.arange(0, HEAD_PADDED)
    real = numbers < HEAD_SIZE
    # query: [ROWS, HEAD_PADDED]
    query = tl.load(
        query_ptr + row_index[:, None] * HEAD_SIZE + numbers[None, :],
        mask=live[:, None] & real[None, :],
        other=0.0,
    )

    # All that any token of this block may see: from `first` up to, and not including, `last`.
    last = tl.minimum(past + first_query + QUERIES, seq_len)
    first = past - past
    if WINDOW > 0:
        first = tl.maximum(past + first_query - WINDOW + 1, 0)
    first_tile, end_tile = first // TILE, tl.cdiv(last, TILE)
    share = tl.cdiv(end_tile - first_tile, SEGMENTS)
    begin = first_tile + segment * share
    end = tl.minimum(begin + share, end_tile)

    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    weighted = tl.zeros([ROWS, HEAD_PADDED], tl.float32)
    for tile in range(begin, end):
        places = tile * TILE + tl.arange(0, TILE)
        seen = (places >= first) & (places < last)
        block_ids = tl.load(
            block_table_ptr + request * table_stride + places // BLOCK_SIZE, mask=seen, other=0
        ).to(tl.int64)
        vectors = block_ids * block_stride + kv_head * head_stride
        vectors += (places % BLOCK_SIZE) * place_stride
        # keys: [HEAD_PADDED, TILE]
        keys = tl.load(
            key_ptr + vectors[None, :] + numbers[:, None],
            mask=seen[None, :] & real[:, None],
            other=0.0,
        )
        scores = dot(query, keys, tl.zeros([ROWS, TILE], tl.float32))
        if SOFT_CAP:
            bent = 1 - 2 / (tl.exp2(scores * (2 * LOG2_E * scale / soft_cap)) + 1)
            scores = bent * (soft_cap * LOG2_E)
        else:
            scores = scores * (scale * LOG2_E)
        visible = places[None, :] <= positions[:, None]
        if WINDOW > 0:
            visible = visible & (places[None, :] > positions[:, None] - WINDOW)
        scores = tl.where(visible, scores, float("-inf"))

        new_largest = tl.maximum(largest, tl.max(scores, 1))
        height = tl.where(new_largest == float("-inf"), 0.0, new_largest)
        fade = tl.exp2(largest - height)
        weights = tl.exp2(scores - height[:, None])
        total = total * fade + tl.sum(weights, 1)
        largest = new_largest
        # values: [TILE, HEAD_PADDED]
        values = tl.load(
            value_ptr + vectors[:, None] + numbers[None, :],
            mask=seen[:, None] & real[None, :],
            other=0.0,
        )
        weighted = dot(narrow(weights, values.dtype), values, weighted * fade[:, None])

    if SEGMENTS == 1:
        # A live row sees itself; only rows that nobody stores have a total of 0.
        result = weighted / tl.where(total == 0, 1.0, total)[:, None]
        tl.store(
            out_ptr + row_index[:, None] * HEAD_SIZE + numbers[None, :],
            narrow(result, out_ptr.dtype.element_ty),
            mask=live[:, None] & real[None, :],
        )
    else:
        # An empty lot says so by its total; what it would have weighed is not written.
        lot = row_index * SEGMENTS + segment
        tl.store(largest_ptr + lot, largest, mask=live)
        tl.store(total_ptr + lot, total, mask=live)
        tl.store(
            weighted_ptr + lot[:, None] * HEAD_PADDED + numbers[None, :],
            weighted,
            mask=(live & (total > 0))[:, None] & real[None, :],
        )


def unified_attention(
    query: torch.Tensor,
    key_cache: torch.Tensor,
    value_cache: torch.Tensor,
    block_table: torch.Tensor,
    query_start_loc: torch.Tensor,
    seq_lens: torch.Tensor,
    scale: float,
    plan: LaunchPlan,
    *,
    sliding_window: int | None = None,
    logits_soft_cap: float | None = None,
    workspace: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Attention of all query tokens over their requests' pages; returns a tensor like `query`.

    `query` is `[num_queries, num_heads, head_size]`, contiguous; the caches `[num_blocks,
    num_kv_heads, block_size, head_size]`, of any strides whose last is 1. The keys and values of
    the queries' own tokens must be there already. `workspace` is float32 and has at least
    {py:func}`~mini_vllm.kernels.triton.reduce_segments.workspace_numbers` numbers where the plan
    has more than one segment; rows past the last request hold nothing in particular.

    Modifies `workspace`. Raises `ValueError` for caches whose vectors are not contiguous and for a
    workspace that is missing or too small.
    """
    num_heads, head_size = query.shape[1:]
    num_kv_heads, block_size = key_cache.shape[1:3]
    if key_cache.stride() != value_cache.stride() or key_cache.stride(3) != 1:
        raise ValueError(
            f"keys and values must have the same strides, the last of them 1, "
            f"got {key_cache.stride()} and {value_cache.stride()}"
        )
    out = torch.empty_like(query)
    padded, segments = padded_head_size(head_size), plan.num_segments
    weighted = largest = total = out  # never touched where there is one segment
    if segments > 1:
        weighted, largest, total = parts_of(workspace, plan, num_heads, padded)
    grid = (plan.num_query_blocks, num_kv_heads, segments)
    unified_attention_kernel[grid](
        out,
        query,
        key_cache,
        value_cache,
        block_table,
        query_start_loc,
        seq_lens,
        weighted,
        largest,
        total,
        scale,
        1.0 if logits_soft_cap is None else logits_soft_cap,
        seq_lens.shape[0],
        block_table.stride(0),
        key_cache.stride(0),
        key_cache.stride(1),
        key_cache.stride(2),
        **constants_of(
            plan, num_heads // num_kv_heads, block_size, head_size, sliding_window, logits_soft_cap
        ),
        # The sums of a tile lie in registers: wide ones want the registers of more threads.
        num_warps=8 if plan.rows * padded > 8192 else 4,
        num_stages=2,
    )
    if segments > 1:
        reduce_segments(out, weighted, largest, total, plan)
    return out


def constants_of(
    plan: LaunchPlan,
    group: int,
    block_size: int,
    head_size: int,
    sliding_window: int | None,
    logits_soft_cap: float | None,
) -> dict[str, Any]:
    """What the kernel is compiled for: each combination of these is a kernel of its own."""
    return {
        "GROUP": group,
        "BLOCK_SIZE": block_size,
        "HEAD_SIZE": head_size,
        "HEAD_PADDED": padded_head_size(head_size),
        "QUERIES": plan.queries,
        "ROWS": plan.rows,
        "TILE": plan.tile,
        "WINDOW": sliding_window or 0,
        "SOFT_CAP": logits_soft_cap is not None,
        "SEGMENTS": plan.num_segments,
        "ONE_QUERY": plan.one_query,
    }


def cost(
    query_lens: list[int],
    seq_lens: list[int],
    *,
    num_heads: int,
    num_kv_heads: int,
    head_size: int,
    element_bytes: int,
    plan: LaunchPlan,
    sliding_window: int | None = None,
) -> KernelCost:
    r"""What the kernel and the merge move and compute for such requests.

    A block of queries reads the keys and values that any of its tokens may see once for all its
    heads, so a prompt's past is read once per block; queries are read and outputs written once, or
    once per segment and in float32 where there are segments. Each visible pair of query and
    position takes $4d$ operations a head: a multiplication and an addition per number, for the
    scores and again for the values. What idle rows and masked pairs compute beside them is waste
    and not counted, nor are exponentials, block tables and lengths.
    """
    read = written = pairs = 0
    for query_len, seq_len in zip(query_lens, seq_lens, strict=True):
        past = seq_len - query_len
        for first_query in range(0, query_len, plan.queries):
            last = min(past + first_query + plan.queries, seq_len)
            first = max(past + first_query - sliding_window + 1, 0) if sliding_window else 0
            read += (last - first) * 2 * num_kv_heads * head_size * element_bytes
        for position in range(past, seq_len):
            pairs += min(position + 1, sliding_window or position + 1)
    numbers = sum(query_lens) * num_heads * head_size
    read += numbers * element_bytes * plan.num_segments
    written += numbers * element_bytes
    if plan.num_segments > 1:
        findings = sum(query_lens) * num_heads * plan.num_segments * (head_size + 2) * 4
        read, written = read + findings, written + findings
    return KernelCost(read, written, pairs * num_heads * head_size * 4)
