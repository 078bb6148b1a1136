r"""Numbers of phase 04's exercises and questions; the inputs stand in the text that asks."""

from __future__ import annotations

import math

from book.quantities.hardware import H100
from book.quantities.interview_04 import mla_token
from book.quantities.llama import BF16_BYTES, LLAMA3_8B
from book.quantities.registry import quantity
from mini_vllm.kernels.split_kv import plan_launch, smallest_segment_for

GIVEN = "arithmetic on the numbers of the text"
SHAPE = "arithmetic on the shape of Llama-3-8B"
PLAN = "mini_vllm's launch plan"


# Merging


@quantity("p04-merged", unit="", source=GIVEN)
def merged() -> float:
    """The average of the lots (2, 1, 3) and (0, 4, 8)."""
    fade = math.exp(0 - 2)
    return (3 + 8 * fade) / (1 + 4 * fade)


@quantity("p04-mean-of-means", unit="", source=GIVEN)
def mean_of_means() -> float:
    """What averaging the two results gives instead."""
    return (3 / 1 + 8 / 4) / 2


@quantity("p04-lot-bytes", unit="B", source=SHAPE, phases=(4,))
def lot_bytes() -> int:
    """What a segment leaves for one query head: a weighted sum, a largest score, a total."""
    return (LLAMA3_8B.head_dim + 2) * 4


@quantity("p04-segment-findings", unit="B", shown="KiB", source=SHAPE, phases=(4,))
def segment_findings() -> int:
    """All heads, 16 segments, one layer, one query."""
    return lot_bytes() * LLAMA3_8B.heads * 16


@quantity("p04-context-layer", unit="B", shown="MiB", source=SHAPE)
def context_layer() -> int:
    """Keys and values of 100,000 positions in one layer."""
    return 100_000 * 2 * LLAMA3_8B.kv_heads * LLAMA3_8B.head_dim * BF16_BYTES


# The corner


@quantity("p04-corner-needed", unit="", source=GIVEN)
def corner_needed() -> int:
    """Pairs of a chunk of 8 after 2,040 stored tokens."""
    return sum(2040 + i + 1 for i in range(8))


@quantity("p04-corner-seen", unit="", source=GIVEN)
def corner_seen() -> int:
    """Pairs that a mask from the upper left corner leaves."""
    return sum(i + 1 for i in range(8))


# What must not be read


@quantity("p04-stale-places", unit="", source=GIVEN)
def stale_places() -> float:
    """Places behind the ends of 64 requests, blocks of 16, lengths evenly spread."""
    return 64 * sum(range(16)) / 16


# A step in four arrays


@quantity("p04-slot-decode", unit="", source=GIVEN)
def slot_decode() -> int:
    """Position 6 with the table [3, 8], blocks of 4."""
    return 8 * 4 + 6 % 4


@quantity("p04-slot-prompt", unit="", source=GIVEN)
def slot_prompt() -> int:
    """Position 4 with the table [1, 5]."""
    return 5 * 4 + 4 % 4


# Tiles


def _tiles(stored: int, new: int, side: int) -> tuple[int, int]:
    """Tiles that are read, and those of them that need a mask."""
    read = masked = 0
    for top in range(0, new, side):
        last_query = stored + min(top + side, new) - 1
        first_query = stored + top
        for left in range(0, stored + new, side):
            right = min(left + side, stored + new) - 1
            if left <= last_query:
                read += 1
                masked += right > first_query
    return read, masked


@quantity("p04-tiles-read", unit="", source=GIVEN)
def tiles_read() -> int:
    """Tiles of 64 by 64 that a chunk of 100 after 300 stored tokens reads."""
    return _tiles(300, 100, 64)[0]


@quantity("p04-tiles-masked", unit="", source=GIVEN)
def tiles_masked() -> int:
    """Tiles on the diagonal, of those that a chunk of 100 after 300 stored tokens reads."""
    return _tiles(300, 100, 64)[1]


@quantity("p04-window-blocks", unit="block", source=GIVEN)
def window_blocks() -> int:
    """Blocks of 16 that a decode at position 4,999 with a window of 1,024 reads."""
    first = 4999 - 1024 + 1
    return 4999 // 16 - first // 16 + 1


@quantity("p04-score-matrix", unit="B", shown="GiB", source=SHAPE)
def score_matrix() -> int:
    """The scores of a prompt of 16,384, all heads of a layer, bf16."""
    return 16_384**2 * LLAMA3_8B.heads * BF16_BYTES


# Rows, and the ridge


@quantity("p04-rows-bf16", unit="", source="the rates of an H100", phases=(4,))
def rows_bf16() -> int:
    """Query rows at which a tile over a bf16 cache reaches the ridge."""
    return math.ceil(H100.operations_per_second / H100.bytes_per_second)


@quantity("p04-rows-fp8", unit="", source="the rates of an H100", phases=(4,))
def rows_fp8() -> int:
    """Query rows at which a tile over a cache of one byte a number reaches the ridge."""
    return math.ceil(H100.operations_per_second / H100.bytes_per_second / 2)


# Segments


@quantity("p04-threshold-4", unit="request", source="constants of the pinned Triton backend")
def threshold_4() -> int:
    """Largest batch that is cut, for four key heads."""
    return 128 // 4


@quantity("p04-programs-at", unit="", source="constants of the pinned Triton backend")
def programs_at() -> int:
    """Programs at that batch."""
    return 4 * 16 * threshold_4()


@quantity("p04-programs-after", unit="", source="constants of the pinned Triton backend")
def programs_after() -> int:
    """Programs with one request more."""
    return 4 * (threshold_4() + 1)


@quantity("p04-ours-after", unit="", source=PLAN)
def ours_after() -> int:
    """Programs that our plan gives that batch, 32 query heads of 128, 32,768 positions."""
    plan = plan_launch(
        num_queries=threshold_4() + 1,
        num_reqs=threshold_4() + 1,
        max_query_len=1,
        max_seq_len=32_768,
        num_heads=32,
        num_kv_heads=4,
        head_size=128,
        element_bytes=2,
        num_processors=132,
    )
    return plan.num_query_blocks * 4 * plan.num_segments


@quantity("p04-smallest-fp8", unit="", source=PLAN)
def smallest_fp8() -> int:
    """Positions of the smallest segment: groups of 8, 64 numbers of one byte."""
    return smallest_segment_for(8, 64, 1)


# The latent cache


@quantity("p04-mla-capacity", unit="token", source="DeepSeek-V3's latent cache in bf16")
def mla_capacity() -> int:
    """Tokens of the latent cache in 40 GB."""
    return 40 * 10**9 // mla_token()


@quantity("p04-gqa-capacity", unit="token", source=SHAPE)
def gqa_capacity() -> int:
    """Tokens of Llama-3-8B's cache in 40 GB."""
    return 40 * 10**9 // LLAMA3_8B.kv_bytes_per_token()


# Cascade


@quantity("p04-cascade-read", unit="", source=GIVEN)
def cascade_read() -> int:
    """Rows that 32 requests read with 4,096 in common and 200 of their own."""
    return 4096 + 32 * 200


@quantity("p04-cascade-alone", unit="", source=GIVEN)
def cascade_alone() -> int:
    """Rows that 32 requests read with 4,096 in common and 200 of their own, without cascade."""
    return 32 * (4096 + 200)


@quantity("p04-first-choices", unit="", source="mini_vllm's order, which a test holds to the pin's")
def first_choices() -> int:
    """Of the capabilities 8.0, 8.9, 9.0, 10.0, 10.3, 12.0: how many try FlashInfer first."""
    # Here and not above: the selector imports torch, and a build of one page can do without.
    from mini_vllm.attention.selector import priorities

    devices = ((8, 0), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0))
    return sum(priorities("cuda", device)[0] == "flashinfer" for device in devices)
