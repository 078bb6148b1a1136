r"""What does a kernel believe without looking?

Nearly everything. It has no way to ask whose a block is, whether a slot is the right one or how
many tokens there are: it gets four arrays, two lengths and a number of programs, and reads and
writes where they say. A wrong entry raises nothing. It shows another request's past, or it writes
over one, and the answer is fluent.

So the arrays are held to what the scheduler decided, before any layer sees them. An
{py:class}`AttentionStep` is one step as attention will see it, beside the blocks that the scheduler
gave to each request; a {py:class}`PlannedStep` is a step beside the plan of its programs. The
{py:class}`~mini_vllm.observe.audit.Audit` makes both, in every step that a real model runs, and
checks the five statements below.

Needs no torch: the arrays are NumPy's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mini_vllm.invariants import invariant

if TYPE_CHECKING:
    from mini_vllm.kernels.split_kv import LaunchPlan


@dataclass(frozen=True)
class AttentionStep:
    r"""The four arrays of a step that is not padded, what the host says of them, and whose blocks.

    `block_ids[i]` are the blocks that the scheduler holds for request `i` of the batch, in the
    order of its text. The rest is what
    {py:class}`~mini_vllm.attention.metadata.AttentionMetadata` says, in NumPy.
    """

    # What is stated below is checked on this; see `mini_vllm.invariants`.
    invariant_owner = "attention_step"

    query_start_loc: np.ndarray
    seq_lens: np.ndarray
    block_table: np.ndarray
    slot_mapping: np.ndarray
    num_tokens: int
    max_query_len: int
    max_seq_len: int
    block_size: int
    block_ids: Sequence[Sequence[int]]


@dataclass(frozen=True)
class PlannedStep:
    """Where each request's queries begin, `[num_reqs + 1]`, and the programs that were planned."""

    # What is stated below is checked on this; see `mini_vllm.invariants`.
    invariant_owner = "attention_plan"

    query_start_loc: np.ndarray
    plan: LaunchPlan


@invariant(
    "query-starts-count-tokens",
    "The queries of a step begin at 0, one request's where the other's end, and the last end is "
    "the number of tokens; nobody has more new tokens than text.",
    phase=4,
    owner="attention_step",
    anchors=(
        'vllm/v1/worker/gpu_model_runner.py@"# Note: pad query_start_loc to be non-decreasing"',
        "vllm/v1/attention/ops/triton_attention_helpers.py#find_seq_idx",
    ),
)
def _query_starts_count_tokens(step: AttentionStep) -> Iterator[str]:
    starts, lens = step.query_start_loc, np.diff(step.query_start_loc)
    if starts[0] != 0 or (lens < 0).any() or starts[-1] != step.num_tokens:
        yield f"{step.num_tokens} tokens, and queries begin at {starts.tolist()}"
    if len(step.slot_mapping) != step.num_tokens:
        yield f"{step.num_tokens} tokens, and {len(step.slot_mapping)} slots"
    for row in np.flatnonzero(lens > step.seq_lens):
        yield f"row {row} has {lens[row]} new tokens in a text of {step.seq_lens[row]}"


@invariant(
    "longest-bounds-all",
    "The longest query and the longest text, which the host hands over, are at least as long as "
    "every request's.",
    phase=4,
    owner="attention_step",
    anchors=(
        'vllm/v1/attention/backend.py#CommonAttentionMetadata@"(may be an upper bound)"',
        'vllm/v1/attention/ops/triton_unified_attention.py#unified_attention@"or max_seqlen_q > 1"',
    ),
)
def _longest_bounds_all(step: AttentionStep) -> Iterator[str]:
    longest_query, longest_text = np.diff(step.query_start_loc).max(), step.seq_lens.max()
    if longest_query > step.max_query_len:
        yield f"somebody has {longest_query} new tokens, at most {step.max_query_len} were said"
    if longest_text > step.max_seq_len:
        yield f"a text has {longest_text} tokens, at most {step.max_seq_len} were said"


@invariant(
    "table-covers-text",
    "A row of the block table begins with its own request's blocks, in the order of the text, as "
    "many as the text fills.",
    phase=4,
    owner="attention_step",
    anchors=(
        "vllm/v1/worker/block_table.py#BlockTable.append_row",
        "vllm/v1/worker/block_table.py#BlockTable.move_row",
    ),
)
def _table_covers_text(step: AttentionStep) -> Iterator[str]:
    for row, (table, owned) in enumerate(zip(step.block_table, step.block_ids, strict=True)):
        filled = -(-int(step.seq_lens[row]) // step.block_size)
        if table[:filled].tolist() != list(owned[:filled]) or len(owned) < filled:
            yield (
                f"row {row}: {step.seq_lens[row]} tokens fill {filled} of the blocks "
                f"{list(owned)}, and the table says {table[:filled].tolist()}"
            )


@invariant(
    "slots-follow-positions",
    "Each new token that is stored goes to its position's place in a block of its own request, and "
    "no slot is written twice in a step.",
    phase=4,
    owner="attention_step",
    anchors=(
        "vllm/v1/worker/block_table.py#_compute_slot_mapping_kernel",
        'csrc/cache_kernels.cu#reshape_and_cache_flash_kernel@"if (slot_idx < 0) {"',
    ),
)
def _slots_follow_positions(step: AttentionStep) -> Iterator[str]:
    size, starts = step.block_size, step.query_start_loc.tolist()
    for row, owned in enumerate(step.block_ids):
        first = int(step.seq_lens[row]) - (starts[row + 1] - starts[row])
        for place, slot in enumerate(step.slot_mapping[starts[row] : starts[row + 1]].tolist()):
            block, offset = divmod(first + place, size)
            wanted = owned[block] * size + offset if 0 <= block < len(owned) else None
            if slot >= 0 and slot != wanted:
                yield f"row {row}: position {first + place} goes to slot {slot}, not {wanted}"
    live, counts = np.unique(step.slot_mapping[step.slot_mapping >= 0], return_counts=True)
    if (counts > 1).any():
        yield f"slots {live[counts > 1].tolist()} are written more than once"


@invariant(
    "plan-reaches-every-query",
    "The programs of a plan reach every query: each request's blocks, numbered from the lengths "
    "alone, lie inside the launch and hold all its new tokens.",
    phase=4,
    owner="attention_plan",
    anchors=(
        "vllm/v1/attention/ops/triton_unified_attention.py#unified_attention"
        '@"total_num_q_blocks ="',
        "vllm/v1/attention/ops/triton_attention_helpers.py#find_seq_idx",
    ),
)
def _plan_reaches_every_query(step: PlannedStep) -> Iterator[str]:
    plan, starts = step.plan, step.query_start_loc.tolist()
    for row, (start, end) in enumerate(pairwise(starts)):
        # Where the numbering of the kernel puts the request's first block, and how many it needs.
        first = row if plan.one_query else start // plan.queries + row
        needed = -(-(end - start) // plan.queries)
        if first + needed > plan.num_query_blocks:
            yield f"row {row} needs {needed} blocks from {first} on, of {plan.num_query_blocks}"
        if plan.one_query and end - start > 1:
            yield f"row {row} has {end - start} queries, and a plan for one each"
