r"""In which order are free blocks used again?

A free block is not an empty one. It still holds the keys and values of the last request that used
it, and as long as nobody overwrites them, the next request with the same prefix can have them for
nothing. So every allocation destroys something, and the order of this queue decides what: the
block at its head is the next to be overwritten, the block at its tail the last.

The order is least recently used, and it costs nothing to keep: blocks leave at the head and come
back at the tail. Within one request the last block comes back first, since the *beginning* of a
prompt is what others are likely to share. Ten requests that start with the same instructions share
their first blocks, and their tails are of use to nobody else.

## Why not a deque

Two things happen on the hot path. An allocation takes the oldest blocks: a `deque` does that. A
prefix hit on blocks that are free takes *those*, wherever they stand: a `deque` walks to them,
$O(n)$ for each block of a long prompt in a pool of a hundred thousand. Therefore a doubly linked
list, threaded through the blocks themselves, as
{up}`vllm/v1/core/kv_cache_utils.py#FreeKVCacheBlockQueue` is: after construction no node is ever
allocated, and every operation touches two neighbours.

Ours is a ring with one sentinel; upstream has a fake head and a fake tail. In both, no block has a
missing neighbour, so nothing has to ask for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class KVCacheBlock:
    r"""What the scheduler knows of one block of the cache: everything but the numbers in it.

    `block_id` is its place in the cache tensor, and never changes. `ref_cnt` counts the block
    tables that hold it. `block_hash` is its name in the prefix cache, present only while the block
    is full and findable. The two links belong to the {py:class}`FreeBlockQueue`; a block outside
    it points to itself, a ring of one.
    Upstream: {up}`vllm/v1/core/kv_cache_utils.py#KVCacheBlock`.
    """

    block_id: int
    ref_cnt: int = 0
    block_hash: bytes | None = None
    is_null: bool = False
    prev_free_block: KVCacheBlock = field(init=False)
    next_free_block: KVCacheBlock = field(init=False)

    def __post_init__(self) -> None:
        self.prev_free_block = self.next_free_block = self

    @property
    def is_linked(self) -> bool:
        """Whether the block stands in a free queue."""
        return self.next_free_block is not self

    def __repr__(self) -> str:
        name = self.block_hash.hex()[:8] if self.block_hash else None
        return f"KVCacheBlock({self.block_id}, ref_cnt={self.ref_cnt}, hash={name})"


class FreeBlockQueue:
    r"""Blocks that nobody references, in the order in which they will be overwritten.

    Every operation is $O(1)$ for each block it moves. Does not touch counts or names: a block in
    here stays findable until it is handed out again, and {inv}`free-iff-unreferenced` is the
    pool's to keep.
    Upstream: {up}`vllm/v1/core/kv_cache_utils.py#FreeKVCacheBlockQueue`.
    """

    __slots__ = ("_sentinel", "num_free_blocks")

    def __init__(self, blocks: Iterable[KVCacheBlock]) -> None:
        # The ring: sentinel.next is the head (next to be used), sentinel.prev is the tail.
        self._sentinel = KVCacheBlock(block_id=-1)
        self.num_free_blocks = 0
        self.append_n(list(blocks))

    def popleft(self) -> KVCacheBlock:
        """Take the block at the head; raises `ValueError` when there is none."""
        return self.popleft_n(1)[0]

    def popleft_n(self, n: int) -> list[KVCacheBlock]:
        """Take the `n` blocks at the head, oldest first; `ValueError` when there are fewer."""
        if n > self.num_free_blocks:
            raise ValueError(f"cannot take {n} blocks: {self.num_free_blocks} are free")
        taken = []
        block = self._sentinel.next_free_block
        for _ in range(n):
            taken.append(block)
            following = block.next_free_block
            block.prev_free_block = block.next_free_block = block
            block = following
        # Close the ring over the gap, once for all n.
        self._sentinel.next_free_block = block
        block.prev_free_block = self._sentinel
        self.num_free_blocks -= n
        return taken

    def remove(self, block: KVCacheBlock) -> None:
        """Take `block` from wherever it stands; raises `ValueError` when it is not in here."""
        before, after = block.prev_free_block, block.next_free_block
        if after is block:
            raise ValueError(f"{block} is not in the free queue")
        before.next_free_block = after
        after.prev_free_block = before
        block.prev_free_block = block.next_free_block = block
        self.num_free_blocks -= 1

    def append(self, block: KVCacheBlock) -> None:
        """Put `block` at the tail: of all free blocks it will be used last."""
        self.append_n((block,))

    def append_n(self, blocks: Sequence[KVCacheBlock]) -> None:
        """Put `blocks` at the tail; the first of them will be used first."""
        tail = self._sentinel.prev_free_block
        for block in blocks:
            block.prev_free_block = tail
            tail.next_free_block = block
            tail = block
        tail.next_free_block = self._sentinel
        self._sentinel.prev_free_block = tail
        self.num_free_blocks += len(blocks)

    def __iter__(self) -> Iterator[KVCacheBlock]:
        """Walk from the next block to be used to the last."""
        block = self._sentinel.next_free_block
        while block is not self._sentinel:
            yield block
            block = block.next_free_block

    def __len__(self) -> int:
        return self.num_free_blocks
