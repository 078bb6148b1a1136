r"""A pool that is too small for two: a victim, its blocks, and what the cache saves it."""

from __future__ import annotations

from book.traces.arrivals import Arrival, record, tokens
from book.traces.recording import Recording

NAME = "preemption"


def play() -> Recording:
    """A and B grow until no block is free; B goes, and comes back when A has ended."""
    lane = record(
        [
            Arrival("A", 1, tokens(100, 7), answer=12),
            Arrival("B", 2, tokens(200, 11), answer=9),
        ],
        max_num_batched_tokens=16,
        max_num_seqs=4,
        block_size=4,
        num_gpu_blocks=8,
        max_model_len=64,
    )
    return Recording(NAME, "Two requests and memory for one and a half", [lane])
