r"""Lab 01: tables of blocks, for requests that grow and end. `test_lab.py` has tasks 1 to 5."""

from __future__ import annotations

import pytest
from mini_vllm.core.block_pool import BlockPool as EnginePool


def ids(blocks):
    return [block.block_id for block in blocks]


# ---------------------------------------------------------------- task 6: a table per request


def tables_of(impl, count, block_size=4):
    r"""Tables over the engine's own pool; its names are those of yours, but for `num_free`."""

    class Pool(EnginePool):
        num_free = property(EnginePool.get_num_free_blocks)

    return impl.BlockTables(Pool(count, enable_caching=False), block_size)


@pytest.mark.task(6)
@pytest.mark.parametrize(("num_tokens", "blocks"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_as_few_blocks_as_will_do(impl, num_tokens, blocks):
    tables = tables_of(impl, 6)
    assert ids(tables.allocate("a", num_tokens)) == list(range(1, blocks + 1))
    assert ids(tables.tables["a"]) == list(range(1, blocks + 1))


@pytest.mark.task(6)
def test_a_decode_needs_a_block_only_at_its_edge(impl):
    tables = tables_of(impl, 9)
    added = [ids(tables.allocate("a", num_tokens)) for num_tokens in range(3, 11)]
    assert added == [[1], [], [2], [], [], [], [3], []]
    assert ids(tables.tables["a"]) == [1, 2, 3]
    assert tables.allocate("a", 2) == []
    assert ids(tables.tables["a"]) == [1, 2, 3]


@pytest.mark.task(6)
def test_tables_grow_beside_each_other(impl):
    tables = tables_of(impl, 9)
    for num_tokens in (4, 8, 12):
        tables.allocate("a", num_tokens)
        tables.allocate("b", num_tokens)
    assert ids(tables.tables["a"]) == [1, 3, 5]
    assert ids(tables.tables["b"]) == [2, 4, 6]


@pytest.mark.task(6)
def test_all_or_nothing(impl):
    tables = tables_of(impl, 4)
    tables.allocate("a", 8)
    assert tables.allocate("b", 5) is None
    assert tables.allocate("a", 13 + 4) is None
    assert ids(tables.tables["a"]) == [1, 2]
    assert not tables.tables.get("b")
    assert tables.pool.num_free == 1
    assert ids(tables.allocate("b", 4)) == [3]
    assert tables.allocate("b", 4) == [], "a full pool has room for what is there already"


@pytest.mark.task(6)
def test_the_last_block_is_given_back_first(impl, truth):
    tables = tables_of(impl, 4)
    tables.allocate("a", 12)
    tables.free("a")
    assert "a" not in tables.tables
    [block] = tables.allocate("b", 1)
    truth("next-block", block.block_id)
    assert block.block_id == 3
    assert ids(tables.pool.free_block_queue) == [2, 1]
    tables.free("nobody")
    assert tables.pool.num_free == 2
