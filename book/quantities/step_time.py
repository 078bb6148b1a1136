r"""How long one engine step takes on an H100: the two ends of the roofline, for Llama-3-8B.

A step of decodes alone reads every weight once and does little arithmetic: bandwidth decides. A
step that carries a large prompt chunk does the arithmetic of all its tokens: the rate decides.
"""

from __future__ import annotations

from book.quantities.hardware import H100, h100_bf16_useful
from book.quantities.llama import llama3_8b_flop_per_token, llama3_8b_weight_bytes
from book.quantities.registry import quantity

SOURCE = "Llama-3-8B weights over the H100 data sheet's rates; useful rate assumed at 40% of peak"


def prefill_seconds(tokens: int) -> float:
    """Seconds that the arithmetic of `tokens` prompt tokens takes."""
    return tokens * llama3_8b_flop_per_token() / h100_bf16_useful()


@quantity("llama3-8b-decode-step", unit="s", shown="ms", source=SOURCE, phases=(1,))
def decode_step() -> float:
    """A step of decodes alone: the time to read all weights once."""
    return llama3_8b_weight_bytes() / H100.bytes_per_second


@quantity("llama3-8b-prefill-2048", unit="s", shown="ms", source=SOURCE, phases=(1,))
def prefill_2048() -> float:
    """A step whose budget of 2,048 tokens is filled by a prompt."""
    return prefill_seconds(2048)


@quantity("llama3-8b-prefill-16384", unit="s", shown="ms", source=SOURCE, phases=(1,))
def prefill_16384() -> float:
    """A step whose budget of 16,384 tokens is filled by a prompt."""
    return prefill_seconds(16384)
