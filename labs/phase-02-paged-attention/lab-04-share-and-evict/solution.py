r"""The prefix cache: blocks that are free, and still have a name.

Given are the block and the free queue of the engine, which are those of lab 01. A block carries
`block_id`, `ref_cnt` and `block_hash`, its name, or `None`. What you write is what makes a cache of
a pool: names, the lookup, what a hit costs, and who forgets a name when.

Run this file to see a cache at work.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence

from mini_vllm.core.free_block_queue import FreeBlockQueue
from mini_vllm.core.free_block_queue import KVCacheBlock as Block


def block_names(token_ids: Sequence[int], block_size: int, salt: str = "") -> list[bytes]:
    r"""Name each *full* block of a request's tokens; equal names mean equal prefixes.

    The name of a block stands for its own tokens, for all tokens before them, and for the `salt`:
    two requests may share a block only if all three agree. A name is a digest of at least 16 bytes.
    Tokens are integers from 0 to 2**63 - 1.
    """
    # lab: begin task 1 "name the full blocks"
    names = []
    parent = hashlib.sha256(salt.encode()).digest()
    for end in range(block_size, len(token_ids) + 1, block_size):
        tokens = struct.pack(f"<{block_size}q", *token_ids[end - block_size : end])
        parent = hashlib.sha256(parent + tokens).digest()
        names.append(parent)
    return names
    # lab: end


class Names:
    r"""Which blocks can be found by their names.

    Several blocks may carry one name: *twins*, filled with the same tokens by two requests.
    Whoever asks gets the oldest of them, and each is forgotten for itself.
    """

    def __init__(self) -> None:
        self.by_name: dict[bytes, dict[int, Block]] = {}

    def publish(self, name: bytes, block: Block) -> None:
        r"""Make `block` findable under `name`, which becomes its `block_hash`.

        A block that has a name already is refused with a `ValueError`, whatever the new one is.
        """
        # lab: begin task 2 "keep blocks by their names"
        if block.block_hash is not None:
            raise ValueError(f"{block} has a name already")
        block.block_hash = name
        self.by_name.setdefault(name, {})[block.block_id] = block
        # lab: end

    def find(self, name: bytes) -> Block | None:
        r"""The oldest block of that name, or `None`."""
        # lab: begin task 2 "keep blocks by their names"
        return next(iter(self.by_name.get(name, {}).values()), None)
        # lab: end

    def withdraw(self, block: Block) -> None:
        r"""Take the name from `block`: it cannot be found any more; its twins can.

        A block without a name stays as it is.
        """
        # lab: begin task 2 "keep blocks by their names"
        if block.block_hash is None:
            return
        twins = self.by_name[block.block_hash]
        del twins[block.block_id]
        if not twins:
            del self.by_name[block.block_hash]
        block.block_hash = None
        # lab: end

    def __len__(self) -> int:
        r"""How many blocks can be found or would be, if their twins were not older."""
        return sum(len(twins) for twins in self.by_name.values())


def longest_hit(
    names: Sequence[bytes],
    find: Callable[[bytes], Block | None],
    num_tokens: int,
    block_size: int,
) -> list[Block]:
    r"""The cached blocks with which a request of `num_tokens` tokens may begin.

    `names` are those of its full blocks, `find` looks one up. A block counts only if all before it
    were found, so the lookup ends at the first miss and asks no further. At least one token has to
    be left to compute: the answer's first token is drawn from its logits, and those are not cached.
    """
    # lab: begin task 3 "find the longest cached prefix"
    hits = []
    for name in names[: (num_tokens - 1) // block_size]:
        block = find(name)
        if block is None:
            break
        hits.append(block)
    return hits
    # lab: end


def room_for(num_tokens: int, block_size: int, hits: Sequence[Block], num_free: int) -> int | None:
    r"""How many *new* blocks a request of `num_tokens` tokens needs beside its hits.

    `None` if they are not there. `num_free` counts all blocks in the free queue, and a hit may be
    one of them: whoever takes it leaves one fewer for the new ones.
    """
    # lab: begin task 4 "count the room that hits take"
    num_new = -(-num_tokens // block_size) - len(hits)
    revived = sum(block.ref_cnt == 0 for block in hits)
    return num_new if num_new + revived <= num_free else None
    # lab: end


class Cache:
    r"""A pool of blocks that remembers what was in them.

    `num_blocks` counts block 0, which is never handed out. Requests are admitted whole, with all
    the tokens of their prompt, and finish whole.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.blocks = [Block(block_id) for block_id in range(num_blocks)]
        self.queue = FreeBlockQueue(self.blocks[1:])
        self.names = Names()
        self.tables: dict[str, list[Block]] = {}

    def touch(self, blocks: Sequence[Block]) -> None:
        r"""Add a holder to each block; one that was free leaves the queue. As in lab 01."""
        for block in blocks:
            if block.ref_cnt == 0:
                self.queue.remove(block)
            block.ref_cnt += 1

    def hand_out(self, n: int) -> list[Block]:
        r"""Take the `n` blocks that have been free for longest, for something new.

        Each has one holder, and whatever it held before can no longer be found. The queue refuses,
        with a `ValueError`, when it has fewer.
        """
        # lab: begin task 5 "hand out a block without its name"
        blocks = self.queue.popleft_n(n)
        for block in blocks:
            self.names.withdraw(block)
            block.ref_cnt = 1
        return blocks
        # lab: end

    def admit(self, request_id: str, token_ids: Sequence[int], salt: str = "") -> int | None:
        r"""Give a request its table; return how many of its tokens are computed already.

        The table begins with the hits and goes on with new blocks, as many as the tokens need. From
        now on each *full* block of the request can be found, also by a request that is admitted in
        the same step. When there is no room: `None`, and nothing has changed.
        """
        # lab: begin task 6 "admit a request"
        names = block_names(token_ids, self.block_size, salt)
        hits = longest_hit(names, self.names.find, len(token_ids), self.block_size)
        num_new = room_for(len(token_ids), self.block_size, hits, len(self.queue))
        if num_new is None:
            return None
        self.touch(hits)
        table = self.tables[request_id] = [*hits, *self.hand_out(num_new)]
        for name, block in list(zip(names, table))[len(hits) :]:
            self.names.publish(name, block)
        return len(hits) * self.block_size
        # lab: end

    def finish(self, request_id: str) -> None:
        r"""Take a request's table away: each of its blocks has one holder less.

        Those without any become free, the last of the table first, and keep their names. An unknown
        id raises `KeyError`.
        """
        # lab: begin task 7 "give back, and forget"
        unheld = []
        for block in reversed(self.tables.pop(request_id)):
            block.ref_cnt -= 1
            if block.ref_cnt == 0:
                unheld.append(block)
        self.queue.append_n(unheld)
        # lab: end

    def reset(self) -> bool:
        r"""Forget every name; refused with `False`, and no change, while a request holds a block.

        The order of the free blocks stays as it is.
        """
        # lab: begin task 7 "give back, and forget"
        if self.tables:
            return False
        for block in self.blocks:
            self.names.withdraw(block)
        return True
        # lab: end


def main() -> None:
    r"""Print a cache of six usable blocks of four tokens while prompts come and go."""
    cache = Cache(7, block_size=4)
    letters = {}
    print(f"{'what happens':<40}{'hit':>4}  free, next first; a letter is a name")

    def show(what: str, hit: int | None = None) -> None:
        for table in cache.tables.values():
            for block in table:
                if block.block_hash is not None:
                    letters.setdefault(block.block_hash, chr(ord("a") + len(letters)))
        free = [f"{b.block_id}{letters.get(b.block_hash, '-')}" for b in cache.queue]
        print(f"{what:<40}{'' if hit is None else hit:>4}  {' '.join(free)}")

    prompt, other = list(range(12)), [*range(4), *range(90, 97)]
    show("a pool of 7 is made")
    show("A: 12 tokens, 3 full blocks", cache.admit("A", prompt))
    cache.finish("A")
    show("A is done, last block first")
    show("B: 11 tokens, the first 4 as in A", cache.admit("B", other))
    cache.finish("B")
    show("B is done; its last block has no name")
    show("C: A's prompt again", cache.admit("C", prompt))
    cache.finish("C")
    show("C is done, and left a twin")
    show("D: 16 tokens of its own, 3 names lost", cache.admit("D", range(200, 216)))
    cache.finish("D")
    show("D is done")
    show("E: A's prompt once more", cache.admit("E", prompt))


if __name__ == "__main__":
    main()
