r"""The same requests, batched in two ways, on the same engine.

Nothing in the engine is changed for the static lane. Somebody stands at its door: as many requests
as there are seats are let in together, and nobody else before the last of them has ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from book.traces.arrivals import Arrival, record, tokens
from book.traces.recording import Recording
from mini_vllm.engine.llm_engine import LLMEngine

NAME = "static-vs-continuous"
SEATS = 3


def whole_batches(at_the_door: Sequence[Arrival], engine: LLMEngine) -> int:
    """Static batching: a batch is closed until its last request has ended."""
    return 0 if engine.has_unfinished_requests() else min(SEATS, len(at_the_door))


def play() -> Recording:
    """Six requests with answers of very different lengths, and three seats."""
    arrivals = [
        Arrival("A", 1, tokens(100, 4), answer=4),
        Arrival("B", 1, tokens(200, 6), answer=11),
        Arrival("C", 1, tokens(300, 3), answer=3),
        Arrival("D", 2, tokens(400, 5), answer=5),
        Arrival("E", 3, tokens(500, 4), answer=9),
        Arrival("F", 5, tokens(600, 6), answer=4),
    ]
    limits = {
        "max_num_batched_tokens": 16,
        "max_num_seqs": SEATS,
        "block_size": 4,
        "num_gpu_blocks": 25,
        "max_model_len": 64,
    }
    return Recording(
        NAME,
        "Six requests, three seats, two ways to batch",
        [
            record(arrivals, label="Static batching", door=whole_batches, **limits),
            record(arrivals, label="Continuous batching", **limits),
        ],
    )
