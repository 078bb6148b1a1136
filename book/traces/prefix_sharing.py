r"""One prefix, several requests: a hit, a count of two, evictions, a hit on blocks nobody holds."""

from __future__ import annotations

from book.traces.arrivals import Arrival, record, tokens
from book.traces.recording import Recording

NAME = "prefix-sharing"
INSTRUCTIONS = tokens(100, 8)


def play() -> Recording:
    """A and B share two blocks; C takes over what is free; D asks for the prefix once more."""
    lane = record(
        [
            Arrival("A", 1, [*INSTRUCTIONS, *tokens(200, 3)], answer=5),
            Arrival("B", 2, [*INSTRUCTIONS, *tokens(300, 6)], answer=3),
            Arrival("C", 6, tokens(400, 14), answer=4),
            Arrival("D", 8, [*INSTRUCTIONS, *tokens(500, 2)], answer=3),
        ],
        max_num_batched_tokens=16,
        max_num_seqs=4,
        block_size=4,
        num_gpu_blocks=10,
        max_model_len=64,
    )
    return Recording(NAME, "Four prompts, three with the same beginning", [lane])
