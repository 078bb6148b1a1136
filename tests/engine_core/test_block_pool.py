"""Blocks: the free queue, the map of names, the pool, and a machine that abuses all three."""

from __future__ import annotations

from collections import deque

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from mini_vllm.core.block_pool import BlockHashToBlockMap, BlockPool
from mini_vllm.core.free_block_queue import FreeBlockQueue, KVCacheBlock
from mini_vllm.errors import InvariantError
from mini_vllm.invariants import check


@given(
    size=st.integers(0, 8),
    moves=st.lists(st.tuples(st.sampled_from(["pop", "remove", "append"]), st.integers(0, 7))),
)
def test_the_free_queue_is_a_deque_that_can_remove(size: int, moves: list[tuple[str, int]]) -> None:
    blocks = [KVCacheBlock(i) for i in range(size)]
    queue, model = FreeBlockQueue(blocks), deque(blocks)
    outside: list[KVCacheBlock] = []
    for move, number in moves:
        if move == "pop":
            count = min(number, len(model))
            expected = [model.popleft() for _ in range(count)]
            assert queue.popleft_n(count) == expected
            outside += expected
        elif move == "remove" and model:
            block = model[number % len(model)]
            model.remove(block)
            queue.remove(block)
            outside.append(block)
        elif move == "append" and outside:
            back = outside[: number + 1]
            del outside[: number + 1]
            queue.append_n(back)
            model.extend(back)
        assert list(queue) == list(model)
        assert len(queue) == len(model)
        assert all(block.is_linked for block in model)
        assert not any(block.is_linked for block in outside)


def test_the_free_queue_refuses_what_it_does_not_have() -> None:
    blocks = [KVCacheBlock(i) for i in range(2)]
    queue = FreeBlockQueue(blocks)
    with pytest.raises(ValueError, match="cannot take 3 blocks: 2 are free"):
        queue.popleft_n(3)
    taken = queue.popleft()
    with pytest.raises(ValueError, match="not in the free queue"):
        queue.remove(taken)
    assert list(queue) == blocks[1:]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 5))))
def test_the_oldest_block_of_a_name_is_found(moves: list[tuple[bool, int, int]]) -> None:
    blocks = [KVCacheBlock(i) for i in range(6)]
    cache = BlockHashToBlockMap()
    model: dict[bytes, list[KVCacheBlock]] = {}
    for insert, name_index, block_index in moves:
        name, block = bytes([name_index]), blocks[block_index]
        homes = [n for n, held in model.items() if block in held]
        if insert and not homes:
            cache.insert(name, block)
            model.setdefault(name, []).append(block)
        elif not insert and homes:
            cache.pop(homes[0], block)
            model[homes[0]].remove(block)
        for name, held in model.items():
            assert cache.get_one_block(name) is (held[0] if held else None)
        assert sorted((n, b.block_id) for n, b in cache) == sorted(
            (n, b.block_id) for n, held in model.items() for b in held
        )
        assert len(cache) == sum(bool(held) for held in model.values())


def test_block_0_is_never_handed_out() -> None:
    pool = BlockPool(4, enable_caching=True)
    assert pool.get_num_free_blocks() == 3
    assert [block.block_id for block in pool.get_new_blocks(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="cannot take 1 blocks: 0 are free"):
        pool.get_new_blocks(1)


def test_usage_does_not_count_the_null_block() -> None:
    pool = BlockPool(5, enable_caching=True)
    assert pool.get_usage() == 0.0
    pool.get_new_blocks(2)
    assert pool.get_usage() == 0.5
    assert BlockPool(1, enable_caching=True).get_usage() == 0.0


def test_a_freed_block_stays_findable_until_it_is_handed_out_again() -> None:
    pool = BlockPool(3, enable_caching=True)
    blocks = pool.get_new_blocks(2)
    pool.cache_full_blocks(blocks, [b"a", b"b"], 0, 2)
    pool.free_blocks(reversed(blocks))
    assert pool.get_cached_block(b"a") is blocks[0]
    # The tail of the chain went back first, so it is the first to be overwritten.
    (reused,) = pool.get_new_blocks(1)
    assert reused is blocks[1]
    assert pool.get_cached_block(b"b") is None
    assert pool.get_cached_block(b"a") is blocks[0]


def test_a_block_cannot_get_a_second_name() -> None:
    pool = BlockPool(2, enable_caching=True)
    blocks = pool.get_new_blocks(1)
    pool.cache_full_blocks(blocks, [b"a"], 0, 1)
    with pytest.raises(ValueError, match="already has a name"):
        pool.cache_full_blocks(blocks, [b"a"], 0, 1)


def test_reset_is_refused_while_a_block_is_held() -> None:
    pool = BlockPool(3, enable_caching=True)
    blocks = pool.get_new_blocks(1)
    pool.cache_full_blocks(blocks, [b"a"], 0, 1)
    assert not pool.reset_prefix_cache()
    assert pool.get_cached_block(b"a") is blocks[0]
    pool.free_blocks(blocks)
    assert pool.reset_prefix_cache()
    assert pool.get_cached_block(b"a") is None
    check(pool)


@pytest.mark.parametrize(
    ("corrupt", "named"),
    [
        (lambda pool, held: setattr(held, "ref_cnt", 0), "free-iff-unreferenced"),
        (lambda pool, held: setattr(next(iter(pool.free_block_queue)), "ref_cnt", 1), "free-iff"),
        (lambda pool, held: pool.free_block_queue.append(held), "free-iff-unreferenced"),
        (lambda pool, held: pool.free_block_queue.append(pool.null_block), "null block"),
        (lambda pool, held: setattr(held, "block_hash", b"x"), "findable-iff-named"),
        (
            lambda pool, held: pool.cached_block_hash_to_block.insert(b"x", held),
            "findable-iff-named",
        ),
        (
            lambda pool, held: setattr(pool.free_block_queue, "num_free_blocks", 9),
            "free-queue-sound",
        ),
        (
            lambda pool, held: setattr(pool.blocks[3], "prev_free_block", pool.blocks[1]),
            "free-queue-sound",
        ),
    ],
)
def test_each_corruption_is_named(corrupt, named: str) -> None:
    pool = BlockPool(5, enable_caching=True)
    (held,) = pool.get_new_blocks(1)
    check(pool)
    corrupt(pool, held)
    with pytest.raises(InvariantError, match=named):
        check(pool)


class PoolMachine(RuleBasedStateMachine):
    """Holders take, share, name and give back blocks; a plain model keeps the books."""

    held = Bundle("held")

    @initialize(size=st.integers(2, 9))
    def build(self, size: int) -> None:
        self.pool = BlockPool(size, enable_caching=True)
        self.holders: dict[int, int] = dict.fromkeys(range(1, size), 0)
        self.names: dict[int, bytes] = {}

    @rule(target=held, count=st.integers(1, 4))
    def take(self, count: int) -> list[KVCacheBlock]:
        free = [i for i, n in self.holders.items() if n == 0]
        if count > len(free):
            with pytest.raises(ValueError, match="are free"):
                self.pool.get_new_blocks(count)
            return []
        blocks = self.pool.get_new_blocks(count)
        for block in blocks:
            assert self.holders[block.block_id] == 0
            self.holders[block.block_id] = 1
            self.names.pop(block.block_id, None)
        return blocks

    @rule(blocks=held, name=st.binary(min_size=1, max_size=1))
    def name(self, blocks: list[KVCacheBlock], name: bytes) -> None:
        for i, block in enumerate(blocks):
            if block.block_hash is None and self.holders[block.block_id]:
                self.pool.cache_full_blocks(blocks, [name] * len(blocks), i, i + 1)
                self.names[block.block_id] = name

    @rule(target=held, name=st.binary(min_size=1, max_size=1))
    def hit(self, name: bytes) -> list[KVCacheBlock]:
        block = self.pool.get_cached_block(name)
        assert (block is None) == (name not in self.names.values())
        if block is None:
            return []
        self.pool.touch([block])
        self.holders[block.block_id] += 1
        return [block]

    @rule(blocks=consumes(held))
    def give_back(self, blocks: list[KVCacheBlock]) -> None:
        self.pool.free_blocks(reversed(blocks))
        for block in blocks:
            self.holders[block.block_id] -= 1

    @precondition(lambda self: hasattr(self, "pool"))
    @invariant()
    def the_books_agree(self) -> None:
        check(self.pool)
        assert {b.block_id: b.ref_cnt for b in self.pool.blocks[1:]} == self.holders
        free = sum(n == 0 for n in self.holders.values())
        assert self.pool.get_num_free_blocks() == free


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
