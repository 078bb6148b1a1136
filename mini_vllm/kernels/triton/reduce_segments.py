r"""Many programs have each seen a part of the past. Who says what they saw together?

This kernel, one program for each head of each query token. It finds the lots that the segments of
{py:mod}`~mini_vllm.kernels.triton.unified_attention` left, merges them with the formula that
{py:mod}`mini_vllm.attention.online_softmax` derives, and divides once:

$$m = \max_k m_k, \qquad o = \frac{\sum_k 2^{m_k - m}\, a_k}{\sum_k 2^{m_k - m}\, \ell_k}.$$

All lots of a row fit into one program, as there are at most
{py:data}`~mini_vllm.kernels.split_kv.MOST_SEGMENTS`, so no second round of merging is needed, and
no order in which the segments have to finish: the launch of this kernel after the other is the only
synchronisation.

A segment may have seen nothing: a text may have fewer tiles than there are segments, and in a
chunk an early token may see none of the last. Its total is then 0, and this is how the merge
knows. Of such a lot the weighted sum is not read: nobody wrote it in this step, and what an earlier
one left there may be anything.

Base 2, as in the kernel that wrote the lots. The weighted sums are float32 whatever the model's
type is: they are sums that go on.

Upstream: {up}`vllm/v1/attention/ops/triton_unified_attention.py#reduce_segments`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mini_vllm.kernels.split_kv import LaunchPlan
from mini_vllm.kernels.triton.language import narrow, next_power_of_two


@triton.jit
def reduce_segments_kernel(
    out_ptr,  # [num_queries, num_heads, head_size]
    weighted_ptr,  # [num_queries, num_heads, SEGMENTS, HEAD_PADDED]
    largest_ptr,  # [num_queries, num_heads, SEGMENTS]
    total_ptr,
    HEAD_SIZE: tl.constexpr,
    HEAD_PADDED: tl.constexpr,
    SEGMENTS: tl.constexpr,
):
    """One head of one query token: all its lots become one, and the average is taken."""
    row = tl.program_id(0).to(tl.int64)
    lots = row * SEGMENTS + tl.arange(0, SEGMENTS)
    numbers = tl.arange(0, HEAD_PADDED)
    real = numbers < HEAD_SIZE
    total = tl.load(total_ptr + lots)
    some = total > 0
    largest = tl.where(some, tl.load(largest_ptr + lots), float("-inf"))
    height = tl.max(largest, 0)
    # In a padded batch there are rows of no request, with no lot at all.
    height = tl.where(height == float("-inf"), 0.0, height)
    fade = tl.exp2(largest - height)
    whole = tl.sum(tl.where(some, total, 0.0) * fade, 0)
    weighted = tl.load(
        weighted_ptr + lots[:, None] * HEAD_PADDED + numbers[None, :],
        mask=some[:, None] & real[None, :],
        other=0.0,
    )
    result = tl.sum(weighted * fade[:, None], 0) / tl.where(whole == 0, 1.0, whole)
    tl.store(
        out_ptr + row * HEAD_SIZE + numbers,
        narrow(result, out_ptr.dtype.element_ty),
        mask=real,
    )


def padded_head_size(head_size: int) -> int:
    """The numbers of a head in a tile: a power of two, and at least what a matrix unit wants."""
    return max(16, next_power_of_two(head_size))


def reduce_segments(
    out: torch.Tensor,
    weighted: torch.Tensor,
    largest: torch.Tensor,
    total: torch.Tensor,
    plan: LaunchPlan,
) -> None:
    r"""Put the segments' findings together: overwrites the first `plan.num_queries` rows of `out`.

    `weighted` is `[num_queries, num_heads, num_segments, padded head size]`, `largest` and `total`
    the same without the last axis, in the units of the kernel ($\log_2$). Upstream:
    {up}`vllm/v1/attention/ops/triton_unified_attention.py#reduce_segments`.
    """
    num_heads, head_size = out.shape[1:]
    reduce_segments_kernel[(plan.num_queries * num_heads,)](
        out,
        weighted,
        largest,
        total,
        HEAD_SIZE=head_size,
        HEAD_PADDED=padded_head_size(head_size),
        SEGMENTS=plan.num_segments,
        num_warps=4,
    )


def workspace_numbers(num_rows: int, head_size: int) -> int:
    """How many float32 numbers hold `num_rows` lots: a weighted sum, a largest score, a total."""
    return num_rows * (padded_head_size(head_size) + 2)


def parts_of(
    workspace: torch.Tensor | None, plan: LaunchPlan, num_heads: int, padded: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    r"""The three tensors of a plan's findings, as views of one buffer.

    Weighted sums, `[num_queries, num_heads, num_segments, padded]`, then the largest scores and the
    totals without the last axis. Raises `ValueError` for a buffer that is missing or too small.
    """
    lots = plan.num_queries * num_heads * plan.num_segments
    needed = lots * (padded + 2)
    if workspace is None or workspace.numel() < needed:
        found = 0 if workspace is None else workspace.numel()
        raise ValueError(
            f"{plan.num_segments} segments need a workspace of {needed} numbers, got {found}"
        )
    shape = (plan.num_queries, num_heads, plan.num_segments)
    return (
        workspace[: lots * padded].view(*shape, padded),
        workspace[lots * padded : lots * (padded + 1)].view(shape),
        workspace[lots * (padded + 1) : needed].view(shape),
    )
