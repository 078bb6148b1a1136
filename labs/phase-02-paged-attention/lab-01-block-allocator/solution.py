r"""The block allocator: who has which block, and who gets which one next.

Three classes, from the inside out. {py:class}`FreeQueue` keeps the blocks that nobody holds, in the
order in which they will be handed out. {py:class}`BlockPool` counts holders and keeps counts and
queue in agreement. {py:class}`BlockTables` knows the holders: one list of blocks per request.

What stands outside the tasks is given and works. Run this file to see a pool at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(slots=True, eq=False)
class Block:
    r"""What the allocator knows of one block: everything but its contents.

    `ref_cnt` is how many block tables hold it. The two links belong to the {py:class}`FreeQueue`;
    both are `None` while the block stands in no queue.
    """

    block_id: int
    ref_cnt: int = 0
    is_null: bool = False
    prev_free_block: Block | None = None
    next_free_block: Block | None = None


class FreeQueue:
    r"""Free blocks, in the order in which they will be handed out; the head is next.

    A ring of links through the blocks themselves. The *sentinel* is no block of the pool: it stands
    before the head and behind the tail, so that every block has two neighbours, always. `num_free`
    is how many blocks stand in the ring, and every operation keeps it so.

    The hot-path rule: an operation on $k$ blocks reads and writes those $k$ and their neighbours.
    What it costs does not depend on how many blocks stand in the queue.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.sentinel = Block(-1)
        self.num_free = len(blocks)
        ring = [self.sentinel, *blocks, self.sentinel]
        for before, after in pairwise(ring):
            before.next_free_block, after.prev_free_block = after, before

    def popleft_n(self, n: int) -> list[Block]:
        r"""Take the `n` blocks at the head, in their order.

        What is taken has both links `None` afterwards. When fewer than `n` blocks are there, a
        `ValueError` names `n`, and nothing has changed.
        """
        # lab: begin task 1 "take blocks from the head"
        if n > self.num_free:
            raise ValueError(f"cannot take {n} blocks: {self.num_free} are free")
        taken = []
        block = self.sentinel.next_free_block
        for _ in range(n):
            taken.append(block)
            following = block.next_free_block
            block.prev_free_block = block.next_free_block = None
            block = following
        self.sentinel.next_free_block = block
        block.prev_free_block = self.sentinel
        self.num_free -= n
        return taken
        # lab: end

    def remove(self, block: Block) -> None:
        r"""Take `block` out, wherever it stands; its links are `None` afterwards.

        When it stands in no queue, a `ValueError` names its id, and nothing has changed.
        """
        # lab: begin task 2 "take one out of the middle"
        before, after = block.prev_free_block, block.next_free_block
        if before is None:
            raise ValueError(f"block {block.block_id} is not in the free queue")
        before.next_free_block, after.prev_free_block = after, before
        block.prev_free_block = block.next_free_block = None
        self.num_free -= 1
        # lab: end

    def append_n(self, blocks: Sequence[Block]) -> None:
        r"""Put `blocks` at the tail, in their order: the first of them will be used first.

        None of them stands in a queue when this is called.
        """
        # lab: begin task 3 "give blocks back at the tail"
        tail = self.sentinel.prev_free_block
        for block in blocks:
            tail.next_free_block, block.prev_free_block = block, tail
            tail = block
        tail.next_free_block, self.sentinel.prev_free_block = self.sentinel, tail
        self.num_free += len(blocks)
        # lab: end

    def __iter__(self) -> Iterator[Block]:
        r"""Walk from the head to the tail. For looking only: no operation may need it."""
        block = self.sentinel.next_free_block
        while block is not self.sentinel:
            yield block
            block = block.next_free_block

    def __len__(self) -> int:
        return self.num_free


class BlockPool:
    r"""All blocks. A block is in the queue if and only if nobody holds it; block 0 is exempt.

    Block 0, the *null block*, is taken out at the start and never handed out: padding points to it.
    Its count is not kept. `make_queue` builds the free queue; it is a parameter so that the tests
    of this class can use the engine's.
    """

    def __init__(
        self, num_blocks: int, make_queue: Callable[[Sequence[Block]], Any] = FreeQueue
    ) -> None:
        self.blocks = [Block(block_id) for block_id in range(num_blocks)]
        self.null_block = self.blocks[0]
        self.null_block.is_null = True
        self.queue = make_queue(self.blocks[1:])

    def get_new_blocks(self, n: int) -> list[Block]:
        r"""Hand out the `n` blocks that have been free for longest, each with one holder.

        When fewer are free, the queue raises its `ValueError`, and nothing has changed.
        """
        # lab: begin task 4 "hand blocks out"
        blocks = self.queue.popleft_n(n)
        for block in blocks:
            block.ref_cnt = 1
        return blocks
        # lab: end

    def touch(self, blocks: Sequence[Block]) -> None:
        r"""Add one holder to each block: somebody shares it.

        A block that nobody held was free, and must not be handed out to anybody else now. The null
        block may be among `blocks`, and is left alone.
        """
        # lab: begin task 5 "count the holders"
        for block in blocks:
            if block.is_null:
                continue
            if block.ref_cnt == 0:
                self.queue.remove(block)
            block.ref_cnt += 1
        # lab: end

    def free_blocks(self, blocks: Sequence[Block]) -> None:
        r"""Take one holder from each block; whoever has none left becomes free, in this order.

        The null block may be among `blocks`, and is left alone. A block that nobody holds cannot be
        given back: `ValueError` names it, and nothing has changed.
        """
        # lab: begin task 5 "count the holders"
        for block in blocks:
            if block.ref_cnt == 0 and not block.is_null:
                raise ValueError(f"block {block.block_id} is given back and nobody holds it")
        unheld = []
        for block in blocks:
            if block.is_null:
                continue
            block.ref_cnt -= 1
            if block.ref_cnt == 0:
                unheld.append(block)
        self.queue.append_n(unheld)
        # lab: end

    @property
    def num_free(self) -> int:
        r"""How many blocks could be handed out now."""
        return len(self.queue)


class BlockTables:
    r"""One list of blocks per request, in the order of its tokens.

    Token $i$ of a request lies in block `table[i // block_size]`, at place `i % block_size`. Tables
    are append-only: while a request runs, what stands in its table stays there.
    """

    def __init__(self, pool: Any, block_size: int) -> None:
        self.pool = pool
        self.block_size = block_size
        self.tables: dict[str, list[Block]] = {}

    def allocate(self, request_id: str, num_tokens: int) -> list[Block] | None:
        r"""Make room for `num_tokens` tokens of a request in all, with as few blocks as will do.

        Returns the blocks that were added, in most steps of a decode none: `[]`. When the pool has
        too few, nothing changes and `None` is returned. A request that has room already keeps what
        it has, even if it would need less. The first call for an id begins its table.
        """
        # lab: begin task 6 "keep a table for each request"
        held = self.tables.get(request_id, [])
        lacking = -(-num_tokens // self.block_size) - len(held)
        if lacking <= 0:
            return []
        if lacking > self.pool.num_free:
            return None
        added = self.pool.get_new_blocks(lacking)
        self.tables[request_id] = [*held, *added]
        return added
        # lab: end

    def free(self, request_id: str) -> None:
        r"""Forget a request and give its blocks back, the last one first.

        Nothing happens for an id that holds nothing.
        """
        # lab: begin task 6 "keep a table for each request"
        self.pool.free_blocks(self.tables.pop(request_id, [])[::-1])
        # lab: end


def main() -> None:
    r"""Print a pool of eight blocks after each of a few calls."""
    pool = BlockPool(8)
    tables = BlockTables(pool, block_size=4)
    print(f"{'what happens':<40}{'free, next first':<18}holders of 1 to 7")

    def show(what: str) -> None:
        free = " ".join(str(block.block_id) for block in pool.queue)
        counts = " ".join(str(block.ref_cnt) for block in pool.blocks[1:])
        print(f"{what:<40}{free:<18}{counts}")

    show("a pool of 8 is made")
    tables.allocate("a", 10)
    show("a has 10 tokens: 3 blocks of 4")
    shared = tables.tables["b"] = tables.tables["a"][:2]
    pool.touch(shared)
    show("b begins like a: it shares 2 blocks")
    tables.allocate("b", 9)
    show("b has 9 tokens: 1 block of its own")
    tables.free("a")
    show("a ends")
    tables.free("b")
    show("b ends, its last block first")
    hit = [pool.blocks[4]]
    pool.touch(hit)
    show("a hit takes block 4 out of the middle")
    pool.free_blocks(hit)
    show("and gives it back")


if __name__ == "__main__":
    main()
