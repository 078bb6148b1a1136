r"""Where does a request's memory come from, and when may somebody else have it?

The cache for keys and values is one tensor, cut into blocks of `block_size` tokens. This module
owns the blocks, not the tensor: it knows which block is held by how many requests, which can be
found by the tokens it holds, and which is used next. It never sees a number that the model
computed.

A block is always in one of three conditions:

| condition | `ref_cnt` | in the free queue | findable by its tokens |
|---|---|---|---|
| in use | 1 or more | no | once it is full |
| free, contents still good | 0 | yes | yes |
| free, contents of no use | 0 | yes | no |

The middle row is the prefix cache. There is no second store in which cached blocks live, and no
limit on how many there may be: a cached block *is* a free block that still has its name. It counts
as free when a request asks for memory, and it is a hit when a request asks for its tokens. Handing
it out for something new is the eviction; no other code evicts.

So `ref_cnt == 0` and "in the free queue" are one fact written down twice, and they must agree
after every operation: {inv}`free-iff-unreferenced`. All that this module does is change both
together. Three operations touch them: {py:meth}`BlockPool.get_new_blocks` (0 to 1, leaves the
queue at its head), {py:meth}`BlockPool.touch` (a hit: 0 to 1 leaves the queue from its middle, 1
to 2 leaves nothing), {py:meth}`BlockPool.free_blocks` (down by one; at 0 it joins the tail).

## The block that is never handed out

Block 0 is taken out at construction and stays out. It is the *null block*: padding in block tables
and a place where a sliding window has moved on both point to it, and a write that lands there
harms nobody. Its count is not kept, so every statement about counts exempts it. It is also why a
pool of $n$ blocks serves $n - 1$
({up}`vllm/v1/core/block_pool.py#BlockPool.__init__@"self.free_block_queue.popleft()"`).

## Two blocks with one name

Two requests with equal prompts may fill two blocks with equal tokens, each before the other's can
be found. Both then carry the same name. One could point the second request at the first one's
block and free its own; vLLM does not, and neither do we, because then a block id that the model
runner was told would change under it. *Block tables are append-only*
({inv}`block-tables-append-only`) is worth more than the memory of a duplicate: the runner only
ever receives additions ({up}`vllm/v1/core/block_pool.py#BlockHashToBlockMap` says so where it
keeps the duplicates).
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mini_vllm.core.free_block_queue import FreeBlockQueue, KVCacheBlock
from mini_vllm.invariants import invariant


class BlockHashToBlockMap:
    r"""From the name of a block to a block that carries it.

    Nearly every name has one block, so the map is a plain dictionary; the rare duplicates wait in
    a second one, in the order in which they came. Whoever asks gets the oldest.
    Upstream: {up}`vllm/v1/core/block_pool.py#BlockHashToBlockMap`.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, KVCacheBlock] = {}
        self._duplicates: dict[bytes, dict[int, KVCacheBlock]] = {}

    def get_one_block(self, block_hash: bytes) -> KVCacheBlock | None:
        """Return the oldest block of that name, or `None`."""
        return self._first.get(block_hash)

    def insert(self, block_hash: bytes, block: KVCacheBlock) -> None:
        """Make `block` findable under `block_hash`, behind those that are already."""
        if block_hash in self._first:
            self._duplicates.setdefault(block_hash, {})[block.block_id] = block
        else:
            self._first[block_hash] = block

    def pop(self, block_hash: bytes, block: KVCacheBlock) -> None:
        """Forget `block`; the next oldest of that name, if any, takes its place."""
        duplicates = self._duplicates.get(block_hash)
        if duplicates is None:
            del self._first[block_hash]
            return
        if self._first[block_hash] is block:
            self._first[block_hash] = duplicates.pop(next(iter(duplicates)))
        else:
            del duplicates[block.block_id]
        if not duplicates:
            del self._duplicates[block_hash]

    def __iter__(self) -> Iterator[tuple[bytes, KVCacheBlock]]:
        """Walk all pairs of name and block, duplicates included."""
        yield from self._first.items()
        for block_hash, blocks in self._duplicates.items():
            yield from ((block_hash, block) for block in blocks.values())

    def __len__(self) -> int:
        """How many different names there are."""
        return len(self._first)


class BlockPool:
    r"""All blocks of the cache: who holds them, what they can be found by, which comes next.

    `num_gpu_blocks` includes the null block. With `enable_caching` off no block ever gets a name,
    and the pool is a plain allocator. Knows nothing of requests: it counts holders, and who they
    are is the {py:class}`~mini_vllm.core.kv_cache_manager.KVCacheManager`'s to know. Upstream:
    {up}`vllm/v1/core/block_pool.py#BlockPool`, which also reports evictions as events and keeps
    several groups of layers apart by a suffix on the name.
    """

    invariant_owner = "block_pool"

    def __init__(self, num_gpu_blocks: int, enable_caching: bool) -> None:
        if num_gpu_blocks < 1:
            raise ValueError(f"num_gpu_blocks must be at least 1, got {num_gpu_blocks}")
        self.num_gpu_blocks = num_gpu_blocks
        self.enable_caching = enable_caching
        with _garbage_collector_paused():
            self.blocks = [KVCacheBlock(block_id) for block_id in range(num_gpu_blocks)]
        self.free_block_queue = FreeBlockQueue(self.blocks)
        self.cached_block_hash_to_block = BlockHashToBlockMap()
        self.null_block = self.free_block_queue.popleft()
        self.null_block.is_null = True

    def get_cached_block(self, block_hash: bytes) -> KVCacheBlock | None:
        """Return a block that holds the tokens of that name, in use or free, or `None`."""
        return self.cached_block_hash_to_block.get_one_block(block_hash)

    def get_new_blocks(self, num_blocks: int) -> list[KVCacheBlock]:
        r"""Hand out the `num_blocks` oldest free blocks, each with `ref_cnt` 1.

        A block that still had a name loses it here, and whatever it held can no longer be found.
        Nothing else is ever evicted to make room. Raises `ValueError` when fewer are free; ask
        {py:meth}`get_num_free_blocks` before.
        """
        blocks = self.free_block_queue.popleft_n(num_blocks)
        self.evict_blocks(blocks)
        for block in blocks:
            block.ref_cnt = 1
        return blocks

    def touch(self, blocks: Iterable[KVCacheBlock]) -> None:
        r"""Add one holder to each block, after a prefix hit.

        A block that nobody held leaves the free queue, so that nobody is given it meanwhile.
        """
        for block in blocks:
            if block.ref_cnt == 0:
                self.free_block_queue.remove(block)
            block.ref_cnt += 1

    def free_blocks(self, ordered_blocks: Iterable[KVCacheBlock]) -> None:
        r"""Take one holder from each block; those without any join the queue's tail, in that order.

        The first of them is the first to be overwritten, so a request gives its blocks last first.
        A freed block keeps its name.
        """
        unreferenced = []
        for block in ordered_blocks:
            block.ref_cnt -= 1
            if block.ref_cnt == 0:
                unreferenced.append(block)
        self.free_block_queue.append_n(unreferenced)

    def cache_full_blocks(
        self, blocks: Sequence[KVCacheBlock], block_hashes: Sequence[bytes], start: int, end: int
    ) -> None:
        r"""Make `blocks[start:end]` findable by `block_hashes[start:end]`.

        These are the blocks of one request that have become full since the last call. They may be
        found from now on, *before* the model has filled them: a request admitted later in the same
        step may share them, since a layer writes all keys and values of a step before it reads
        any.
        """
        for index in range(start, end):
            block = blocks[index]
            if block.block_hash is not None:
                raise ValueError(f"{block} already has a name")
            block.block_hash = block_hashes[index]
            self.cached_block_hash_to_block.insert(block_hashes[index], block)

    def evict_blocks(self, blocks: Iterable[KVCacheBlock]) -> None:
        r"""Take the names of blocks away, so that they cannot be found any more.

        For contents that are not there after all. Holders keep their blocks. A block without a
        name is passed over. Upstream: {up}`vllm/v1/core/block_pool.py#BlockPool.evict_blocks`.
        """
        for block in blocks:
            if block.block_hash is not None:
                self.cached_block_hash_to_block.pop(block.block_hash, block)
                block.block_hash = None

    def reset_prefix_cache(self) -> bool:
        r"""Forget every name; return whether that was possible: it is not while a block is held.

        For measurements that must begin cold, and for weights that change under a running engine.
        """
        if self.get_num_free_blocks() != self.num_gpu_blocks - 1:
            return False
        self.cached_block_hash_to_block = BlockHashToBlockMap()
        for block in self.blocks:
            block.block_hash = None
        return True

    def get_num_free_blocks(self) -> int:
        """How many blocks could be handed out now, cached ones included."""
        return self.free_block_queue.num_free_blocks

    def get_usage(self) -> float:
        """The share of blocks in use, 0 to 1, the null block apart."""
        usable = self.num_gpu_blocks - 1
        return 1.0 - self.get_num_free_blocks() / usable if usable else 0.0


@invariant(
    "free-iff-unreferenced",
    "A block is in the free queue if and only if nobody references it; the null block is exempt.",
    phase=2,
    owner="block_pool",
    anchors=(
        "vllm/v1/core/block_pool.py#BlockPool.touch",
        "vllm/v1/core/block_pool.py#BlockPool.free_blocks",
        'vllm/v1/core/block_pool.py#BlockPool.get_new_blocks@"Get new blocks from the free block"',
    ),
)
def _free_iff_unreferenced(pool: BlockPool) -> Iterator[str]:
    free = {block.block_id for block in pool.free_block_queue}
    for block in pool.blocks:
        if block.is_null:
            if block.block_id in free:
                yield "the null block is in the free queue"
        elif (block.block_id in free) != (block.ref_cnt == 0):
            place = "in" if block.block_id in free else "not in"
            yield f"block {block.block_id}, ref_cnt {block.ref_cnt}, is {place} the free queue"


@invariant(
    "free-queue-sound",
    "The free queue reads the same both ways, holds each block once, and knows its length.",
    phase=2,
    owner="block_pool",
    anchors=("vllm/v1/core/kv_cache_utils.py#FreeKVCacheBlockQueue",),
)
def _free_queue_sound(pool: BlockPool) -> Iterator[str]:
    queue = pool.free_block_queue
    seen: set[int] = set()
    for block in queue:
        if block.block_id in seen:
            yield f"block {block.block_id} is in the free queue twice"
            return
        seen.add(block.block_id)
        if block.next_free_block.prev_free_block is not block:
            yield f"the block after {block.block_id} does not point back to it"
    if len(seen) != queue.num_free_blocks:
        yield f"the queue holds {len(seen)} blocks and counts {queue.num_free_blocks}"
    for block in pool.blocks:
        if block.is_linked and block.block_id not in seen:
            yield f"block {block.block_id} has links and is not in the free queue"


@invariant(
    "findable-iff-named",
    "A block carries a name if and only if the prefix cache finds it by that name.",
    phase=2,
    owner="block_pool",
    anchors=(
        "vllm/v1/core/block_pool.py#BlockPool.cache_full_blocks",
        "vllm/v1/core/block_pool.py#BlockPool._maybe_evict_cached_block",
    ),
)
def _findable_iff_named(pool: BlockPool) -> Iterator[str]:
    found = {}
    for name, block in pool.cached_block_hash_to_block:
        found[block.block_id] = name
        if block.block_hash != name:
            yield f"block {block.block_id} is found by a name that it does not carry"
    for block in pool.blocks:
        if block.block_hash is not None and block.block_id not in found:
            yield f"block {block.block_id} carries a name and cannot be found by it"
        if block.block_hash is not None and (block.is_null or not pool.enable_caching):
            yield f"block {block.block_id} must never carry a name"


@contextmanager
def _garbage_collector_paused() -> Iterator[None]:
    # A hundred thousand new objects look like a leak, and the collector answers by going through
    # every object of the process; with torch loaded, that takes longer than making them.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
