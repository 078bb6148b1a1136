"""Numbers of the attention backends' docstrings; the inputs stand in their text."""

from __future__ import annotations

from book.quantities.llama import BF16_BYTES
from book.quantities.registry import quantity
from mini_vllm.kernels.split_kv import smallest_segment_for

GIVEN = "arithmetic on the numbers of the text"
BLOCK, HEAD_SIZE = 16, 128
PROCESSORS, KV_HEADS, TOKENS = 132, 8, 4096


@quantity("attention-page-run-bytes", unit="B", source=GIVEN)
def page_run_bytes() -> int:
    """One head's places of a block of 16, with 128 numbers in bf16 each."""
    return BLOCK * HEAD_SIZE * BF16_BYTES


@quantity("attention-row-run-bytes", unit="B", source=GIVEN)
def row_run_bytes() -> int:
    """One vector of 128 numbers in bf16."""
    return HEAD_SIZE * BF16_BYTES


@quantity("attention-idle-processors", unit="", source=GIVEN)
def idle_processors() -> float:
    """Processors of 132 that 8 programs leave idle."""
    return PROCESSORS - KV_HEADS


@quantity("attention-smallest-segment", unit="", source=GIVEN)
def smallest_segment() -> int:
    """Positions of a segment whose findings cost a sixteenth of it: groups of 4, 128 numbers."""
    return smallest_segment_for(4, HEAD_SIZE, BF16_BYTES)


@quantity("attention-score-traffic-share", unit="", source=GIVEN)
def score_traffic_share() -> float:
    """Scores written and read twice, over queries, keys, values and outputs, for 4,096 tokens."""
    return 4 * TOKENS**2 / (4 * TOKENS * HEAD_SIZE)
