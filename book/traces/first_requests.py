r"""Three requests, one budget: a prompt that is cut, and steps that prompts and decodes share."""

from __future__ import annotations

from book.traces.arrivals import Arrival, record, tokens
from book.traces.recording import Recording

NAME = "first-requests"


def play() -> Recording:
    """A decodes while B's prompt is read in pieces; C comes in behind it."""
    lane = record(
        [
            Arrival("A", 1, tokens(100, 6), answer=9),
            Arrival("B", 2, tokens(200, 22), answer=4),
            Arrival("C", 3, tokens(300, 7), answer=5),
        ],
        max_num_batched_tokens=10,
        max_num_seqs=3,
        block_size=4,
        num_gpu_blocks=17,
        max_model_len=64,
    )
    return Recording(NAME, "Three requests and a budget of 10 tokens", [lane])
