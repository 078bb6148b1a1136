"""Numbers of the attention backends' docstrings; the inputs stand in their text."""

from __future__ import annotations

from book.quantities.llama import BF16_BYTES
from book.quantities.registry import quantity

GIVEN = "arithmetic on the numbers of the text"
BLOCK, HEAD_SIZE = 16, 128


@quantity("attention-page-run-bytes", unit="B", source=GIVEN)
def page_run_bytes() -> int:
    """One head's places of a block of 16, with 128 numbers in bf16 each."""
    return BLOCK * HEAD_SIZE * BF16_BYTES


@quantity("attention-row-run-bytes", unit="B", source=GIVEN)
def row_run_bytes() -> int:
    """One vector of 128 numbers in bf16."""
    return HEAD_SIZE * BF16_BYTES
