r"""How does a token find its place in a memory that was never made for it?

By two divisions. Position $p$ of a request is in its block number $\lfloor p / B \rfloor$, at
place $p \bmod B$; the table says which block of the pool that is; and the pool is one long array
of slots, so

$$\mathrm{slot}(r, p) = \mathrm{table}[r, \lfloor p / B \rfloor] \cdot B + p \bmod B.$$

A page table of an operating system does the same with the bits of an address, and for the same
reason: what is contiguous to the program need not be so in memory. The request sees positions 0,
1, 2, ...; the pool hands out whichever block is free.

The rule holds for the write. For the read, attention is given the row itself, and goes from block
to block. Upstream computes the slots on the device
({up}`vllm/v1/worker/block_table.py#_compute_slot_mapping_kernel`), since the positions are there
already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class BlockTable:
    r"""A row of block ids per request of the batch.

    Rows are appended to while a request runs, and replaced when it comes back from preemption. Ids
    past a row's `num_blocks` are stale and must not be read. The table does not know which blocks
    are free: that is the pool's. Upstream: {up}`vllm/v1/worker/block_table.py#BlockTable`.
    """

    def __init__(self, block_size: int, max_num_reqs: int, max_model_len: int):
        self.block_size = block_size
        max_blocks = -(-max_model_len // block_size)
        self.block_ids = np.zeros((max_num_reqs, max_blocks), np.int32)
        self.num_blocks = np.zeros(max_num_reqs, np.int32)

    def add_row(self, row: int, block_ids: Sequence[int]) -> None:
        """Begin a row anew with these blocks."""
        self.num_blocks[row] = 0
        self.append_row(row, block_ids)

    def append_row(self, row: int, block_ids: Sequence[int]) -> None:
        """Lengthen a row. Raises `IndexError` when a request outgrows the longest allowed text."""
        start = self.num_blocks[row]
        end = start + len(block_ids)
        if end > self.block_ids.shape[1]:
            raise IndexError(f"{end} blocks in a row of at most {self.block_ids.shape[1]}")
        self.block_ids[row, start:end] = block_ids
        self.num_blocks[row] = end

    def move_row(self, source: int, target: int) -> None:
        """Copy a row over another; the source is then free for anybody."""
        count = self.num_blocks[source]
        self.block_ids[target, :count] = self.block_ids[source, :count]
        self.num_blocks[target] = count

    def slot_mapping(self, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """The slot of each token, `[num_tokens]` in int64, from its row and its position."""
        blocks = self.block_ids[rows, positions // self.block_size].astype(np.int64)
        return blocks * self.block_size + positions % self.block_size
