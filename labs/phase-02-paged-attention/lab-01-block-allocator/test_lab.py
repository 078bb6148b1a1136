r"""Lab 01: what an allocator owes its callers, and what it may cost.

`test_tables.py` has task 6.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.block_pool import BlockPool as EnginePool
from mini_vllm.core.free_block_queue import FreeBlockQueue

from labkit.properties import examples

BIG = 2048


def ids(blocks):
    return [block.block_id for block in blocks]


def queue_of(impl, count):
    blocks = [impl.Block(block_id) for block_id in range(count)]
    return impl.FreeQueue(blocks), blocks


def assert_sound(queue, expected):
    r"""Both directions say the same, and the length agrees."""
    assert ids(queue) == expected
    backwards, block = [], queue.sentinel.prev_free_block
    while block is not queue.sentinel and len(backwards) <= len(expected):
        backwards.append(block.block_id)
        block = block.prev_free_block
    assert backwards[::-1] == expected, "the links to the left tell another story"
    assert len(queue) == len(expected)


def assert_loose(blocks):
    assert all(b.prev_free_block is None and b.next_free_block is None for b in blocks)


def counting_blocks(impl, monkeypatch):
    r"""Let the lab's blocks count how often one of them is read, written or compared."""

    class Counting(impl.Block):
        operations = 0

        def __getattribute__(self, name):
            Counting.operations += 1
            return super().__getattribute__(name)

        def __setattr__(self, name, value):
            Counting.operations += 1
            super().__setattr__(name, value)

        def __eq__(self, other):
            Counting.operations += 1
            return self is other

        __hash__ = object.__hash__

    monkeypatch.setattr(impl, "Block", Counting)
    return Counting


def costs(impl, monkeypatch, operation):
    r"""How many block operations it takes in a queue of 32, and in one of 2,048."""
    counter = counting_blocks(impl, monkeypatch)
    found = []
    for count in (32, BIG):
        queue, blocks = queue_of(impl, count)
        counter.operations = 0
        operation(queue, blocks)
        found.append(counter.operations)
    return found


# ---------------------------------------------------------------- task 1: from the head


@pytest.mark.task(1)
@pytest.mark.parametrize("n", range(6))
def test_the_oldest_leave_first_and_in_order(impl, n):
    queue, blocks = queue_of(impl, 5)
    taken = queue.popleft_n(n)
    assert ids(taken) == list(range(n))
    assert_loose(taken)
    assert_sound(queue, list(range(n, 5)))
    assert all(block.next_free_block is not None for block in blocks[n:])


@pytest.mark.task(1)
def test_too_many_is_refused_and_nobody_leaves(impl):
    queue, _ = queue_of(impl, 3)
    with pytest.raises(ValueError, match="4"):
        queue.popleft_n(4)
    assert_sound(queue, [0, 1, 2])
    queue.popleft_n(1)
    with pytest.raises(ValueError):
        queue.popleft_n(3)
    assert_sound(queue, [1, 2])


@pytest.mark.task(1)
def test_taking_costs_the_same_in_a_big_queue(impl, monkeypatch):
    small, big = costs(impl, monkeypatch, lambda queue, blocks: queue.popleft_n(4))
    assert big <= small + 8, f"4 blocks cost {small} operations of 32, and {big} of {BIG}"


# ---------------------------------------------------------------- task 2: out of the middle


@pytest.mark.task(2)
@pytest.mark.parametrize("place", range(4))
def test_any_block_can_leave(impl, place):
    queue, blocks = queue_of(impl, 4)
    queue.remove(blocks[place])
    assert_loose([blocks[place]])
    assert_sound(queue, [n for n in range(4) if n != place])


@pytest.mark.task(2)
def test_the_last_one_leaves_an_empty_queue(impl):
    queue, blocks = queue_of(impl, 2)
    queue.remove(blocks[0])
    queue.remove(blocks[1])
    assert_sound(queue, [])


@pytest.mark.task(2)
def test_who_is_not_there_cannot_leave(impl):
    queue, blocks = queue_of(impl, 3)
    with pytest.raises(ValueError, match="7"):
        queue.remove(impl.Block(7))
    queue.remove(blocks[1])
    with pytest.raises(ValueError, match="1"):
        queue.remove(blocks[1])
    assert_sound(queue, [0, 2])


@pytest.mark.task(2)
def test_a_hit_costs_the_same_in_a_big_queue(impl, monkeypatch):
    small, big = costs(impl, monkeypatch, lambda queue, blocks: queue.remove(blocks[-2]))
    assert big <= small + 8, f"one block cost {small} operations of 32, and {big} of {BIG}"


@pytest.mark.task(2)
def test_only_its_two_neighbours_notice(impl, truth):
    queue, blocks = queue_of(impl, BIG)
    before = [(id(b.prev_free_block), id(b.next_free_block)) for b in blocks]
    queue.remove(blocks[BIG // 2])
    after = [(id(b.prev_free_block), id(b.next_free_block)) for b in blocks]
    changed = [n for n in range(BIG) if before[n] != after[n] and n != BIG // 2]
    truth("neighbours", len(changed))
    assert changed == [BIG // 2 - 1, BIG // 2 + 1]


@pytest.mark.task(2)
def test_what_a_list_would_have_cost(impl, monkeypatch, truth):
    r"""64 removals: yours, and `list.remove`, on blocks that count."""
    counter = counting_blocks(impl, monkeypatch)
    queue, blocks = queue_of(impl, BIG)
    counter.operations = 0
    for block in blocks[-64:]:
        queue.remove(block)
    yours = counter.operations
    # `list.remove` compares with all that stand before, then recognizes the block itself.
    as_list, compared = list(blocks), 0
    for block in blocks[-64:]:
        compared += as_list.index(block) + 1
        as_list.remove(block)
    truth("list-comparisons", compared)
    assert compared > 20 * yours


# ---------------------------------------------------------------- task 3: at the tail


@pytest.mark.task(3)
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("given", [0, 1, 3])
def test_who_comes_back_waits_behind_the_others(impl, count, given):
    queue, _ = queue_of(impl, count)
    newcomers = [impl.Block(100 - n) for n in range(given)]
    queue.append_n(newcomers)
    assert_sound(queue, [*range(count), *ids(newcomers)])


@pytest.mark.task(3)
def test_giving_back_costs_the_same_in_a_big_queue(impl, monkeypatch):
    def give_back(queue, blocks):
        queue.append_n([impl.Block(n) for n in range(9000, 9004)])

    small, big = costs(impl, monkeypatch, give_back)
    assert big <= small + 8, f"4 blocks cost {small} operations of 32, and {big} of {BIG}"


@pytest.mark.task(1, 2, 3)
@examples(60)
@given(count=st.integers(0, 9), moves=st.lists(st.integers(0, 99), max_size=30))
def test_a_queue_is_a_list_that_is_never_searched(impl, count, moves):
    queue, blocks = queue_of(impl, count)
    model, outside = list(blocks), []
    for move in moves:
        if move % 3 == 0:
            n = move % (len(model) + 1)
            taken = queue.popleft_n(n)
            assert ids(taken) == ids(model[:n])
            outside += taken
            del model[:n]
        elif move % 3 == 1 and model:
            block = model.pop(move % len(model))
            queue.remove(block)
            outside.append(block)
        else:
            back, outside = outside[: move % 4], outside[move % 4 :]
            queue.append_n(back)
            model += back
        assert_sound(queue, ids(model))
        assert_loose(outside)


# ---------------------------------------------------------------- task 4: hand blocks out


def pool_of(impl, count):
    r"""A pool over the engine's queue: what a task of the pool needs, and nothing of yours."""
    return impl.BlockPool(count, FreeBlockQueue)


@pytest.mark.task(4)
def test_new_blocks_have_one_holder(impl):
    pool = pool_of(impl, 6)
    assert ids(pool.get_new_blocks(2)) == [1, 2]
    assert ids(pool.get_new_blocks(0)) == []
    assert ids(pool.get_new_blocks(1)) == [3]
    assert [block.ref_cnt for block in pool.blocks[1:]] == [1, 1, 1, 0, 0]
    assert ids(pool.queue) == [4, 5]
    assert pool.num_free == 2


@pytest.mark.task(4)
def test_the_null_block_is_never_handed_out(impl, truth):
    pool = pool_of(impl, 1000)
    held = []
    while pool.num_free:
        held += pool.get_new_blocks(1)
    truth("servable", len(held))
    assert 0 not in ids(held)
    with pytest.raises(ValueError):
        pool.get_new_blocks(1)


@pytest.mark.task(4)
def test_a_refusal_hands_out_nothing(impl):
    pool = pool_of(impl, 4)
    with pytest.raises(ValueError, match="4"):
        pool.get_new_blocks(4)
    assert ids(pool.queue) == [1, 2, 3]
    assert not any(block.ref_cnt for block in pool.blocks)


# ---------------------------------------------------------------- task 5: count the holders


def held_by(pool, block, holders):
    r"""Make `block` one that `holders` requests hold, by other means than yours."""
    if holders:
        pool.queue.remove(block)
    block.ref_cnt = holders


@pytest.mark.task(5)
@pytest.mark.parametrize("holders", [0, 1, 2])
def test_one_holder_more(impl, holders):
    pool = pool_of(impl, 5)
    held_by(pool, pool.blocks[2], holders)
    pool.touch([pool.blocks[2]])
    assert pool.blocks[2].ref_cnt == holders + 1
    assert ids(pool.queue) == [1, 3, 4]


@pytest.mark.task(5)
@pytest.mark.parametrize("holders", [1, 2, 3])
def test_one_holder_less(impl, holders):
    pool = pool_of(impl, 5)
    held_by(pool, pool.blocks[2], holders)
    pool.free_blocks([pool.blocks[2]])
    assert pool.blocks[2].ref_cnt == holders - 1
    assert ids(pool.queue) == ([1, 3, 4, 2] if holders == 1 else [1, 3, 4])


@pytest.mark.task(5)
def test_they_wait_in_the_order_in_which_they_are_given_back(impl):
    pool = pool_of(impl, 6)
    for block in pool.blocks[1:5]:
        held_by(pool, block, 1)
    pool.blocks[3].ref_cnt = 2
    pool.free_blocks([pool.blocks[n] for n in (4, 3, 1)])
    assert ids(pool.queue) == [5, 4, 1]
    assert [block.ref_cnt for block in pool.blocks[1:]] == [0, 1, 1, 0, 0]


@pytest.mark.task(5)
def test_the_null_block_is_left_alone(impl):
    pool = pool_of(impl, 4)
    pool.touch([pool.null_block, pool.blocks[2], pool.null_block, pool.blocks[3]])
    assert ids(pool.queue) == [1]
    pool.free_blocks([pool.null_block, pool.blocks[2], pool.blocks[3]])
    assert ids(pool.queue) == [1, 2, 3]
    # Its count is not kept, so whatever stands there must not matter.
    pool.null_block.ref_cnt = 1
    pool.free_blocks([pool.null_block])
    assert ids(pool.queue) == [1, 2, 3]


@pytest.mark.task(5)
def test_what_nobody_holds_cannot_be_given_back(impl):
    pool = pool_of(impl, 4)
    held_by(pool, pool.blocks[1], 1)
    with pytest.raises(ValueError, match="3"):
        pool.free_blocks([pool.blocks[1], pool.blocks[3]])
    assert pool.blocks[1].ref_cnt == 1, "a refusal must change nothing"
    assert ids(pool.queue) == [2, 3]


@pytest.mark.task(5)
def test_sharing_costs_the_same_in_a_big_pool(impl, monkeypatch):
    counter = counting_blocks(impl, monkeypatch)
    found = []
    for count in (32, BIG):
        pool = pool_of(impl, count)
        shared = pool.blocks[count // 2 : count // 2 + 8]
        counter.operations = 0
        pool.touch(shared)
        pool.free_blocks(shared)
        found.append(counter.operations)
    assert found[1] <= found[0] + 8, f"8 blocks: {found[0]} of 32, {found[1]} of {BIG}"


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5, 6)
@examples(60)
@given(
    count=st.integers(1, 12),
    moves=st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(0, 14), st.integers(0, 3)), max_size=40
    ),
)
def test_counts_queue_and_tables_always_agree(impl, count, moves):
    tables = impl.BlockTables(impl.BlockPool(count), block_size=3)
    pool, engine = tables.pool, EnginePool(count, enable_caching=False)
    theirs = {}
    for name, num_tokens, kind in moves:
        if kind == 0:
            tables.free(name)
            engine.free_blocks(reversed(theirs.pop(name, [])))
        elif kind == 1 and name not in tables.tables:
            # Share the beginning of somebody's table.
            [(_, held), *_] = [*tables.tables.items(), (None, [])]
            shared = held[:2]
            if shared:
                tables.tables[name] = list(shared)
                pool.touch(shared)
                theirs[name] = [engine.blocks[n] for n in ids(shared)]
                engine.touch(theirs[name])
        elif (added := tables.allocate(name, num_tokens)) is not None:
            theirs[name] = theirs.get(name, []) + engine.get_new_blocks(len(added))
        held = [n for table in tables.tables.values() for n in ids(table)]
        assert [b.ref_cnt for b in pool.blocks[1:]] == [held.count(n) for n in range(1, count)]
        assert {n for n in range(1, count) if n not in held} == set(ids(pool.queue))
        assert_sound(pool.queue, ids(engine.free_block_queue))
        assert {k: ids(v) for k, v in tables.tables.items() if v} == {
            k: ids(v) for k, v in theirs.items() if v
        }
