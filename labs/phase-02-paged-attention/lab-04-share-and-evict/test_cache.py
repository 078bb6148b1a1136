r"""Lab 04: a cache at work, and who forgets what when. `test_lab.py` has tasks 1 to 4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.core.block_pool import BlockPool
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.prefix_hash import ROOT_HASH, hash_block_tokens
from mini_vllm.core.request import Request
from mini_vllm.sampling_params import SamplingParams

from labkit.properties import examples


def ids(blocks):
    return [block.block_id for block in blocks]


# ---------------------------------------------------------------- tasks 5 to 7: the cache


class GivenNames:
    r"""The engine's map, for tests that need no names of yours."""

    def __init__(self):
        self.pool = BlockPool(1, enable_caching=True)
        self.find = self.pool.get_cached_block

    def publish(self, name, block):
        self.pool.cache_full_blocks([block], [name], 0, 1)

    def withdraw(self, block):
        if block.block_hash is not None:
            self.pool.cached_block_hash_to_block.pop(block.block_hash, block)
            block.block_hash = None


def cache_of(impl, count, block_size=4):
    r"""A cache over the engine's names."""
    cache = impl.Cache(count, block_size)
    cache.names = GivenNames()
    return cache


def named(cache, **names):
    r"""Publish the names of blocks, `a=3` for block 3."""
    for name, block_id in names.items():
        cache.names.publish(name.encode(), cache.blocks[block_id])


@pytest.mark.task(5)
def test_to_hand_out_is_to_evict(impl):
    cache = cache_of(impl, 6)
    named(cache, a=1, b=3, c=2)
    blocks = cache.hand_out(2)
    assert ids(blocks) == [1, 2]
    assert [block.ref_cnt for block in blocks] == [1, 1]
    assert [block.block_hash for block in blocks] == [None, None]
    assert cache.names.find(b"a") is cache.names.find(b"c") is None
    assert cache.names.find(b"b") is cache.blocks[3]
    assert ids(cache.queue) == [3, 4, 5]
    assert cache.hand_out(0) == []


@pytest.mark.task(5)
def test_a_refusal_evicts_nobody(impl):
    cache = cache_of(impl, 3)
    named(cache, a=1)
    with pytest.raises(ValueError):
        cache.hand_out(3)
    assert cache.names.find(b"a") is cache.blocks[1]
    assert ids(cache.queue) == [1, 2]


def organs_of(impl):
    r"""A cache in which everything that `admit` may call is the engine's."""

    def names_of(token_ids, block_size, salt=""):
        parent, names = ROOT_HASH + salt.encode(), []
        for end in range(block_size, len(token_ids) + 1, block_size):
            parent = hash_block_tokens(parent, token_ids[end - block_size : end])
            names.append(parent)
        return names

    def hit(names, find, num_tokens, block_size):
        hits = []
        for name in names[: (num_tokens - 1) // block_size]:
            if (block := find(name)) is None:
                break
            hits.append(block)
        return hits

    def room(num_tokens, block_size, hits, num_free):
        needed = (num_tokens + block_size - 1) // block_size - len(hits)
        return needed if needed + len([b for b in hits if not b.ref_cnt]) <= num_free else None

    class Organs(impl.Cache):
        def hand_out(self, n):
            blocks = self.queue.popleft_n(n)
            for block in blocks:
                self.names.withdraw(block)
                block.ref_cnt = 1
            return blocks

        def finish(self, request_id):
            for block in self.tables.pop(request_id)[::-1]:
                block.ref_cnt -= 1
                if not block.ref_cnt:
                    self.queue.append(block)

    impl.block_names, impl.longest_hit, impl.room_for = names_of, hit, room

    def make(count, block_size=4):
        cache = Organs(count, block_size)
        cache.names = GivenNames()
        return cache

    return make


@pytest.mark.task(6)
def test_a_table_is_hits_and_then_new_blocks(impl):
    cache = organs_of(impl)(8)
    assert cache.admit("a", range(10)) == 0
    assert ids(cache.tables["a"]) == [1, 2, 3]
    assert cache.admit("b", [*range(8), 99]) == 8
    assert ids(cache.tables["b"]) == [1, 2, 4]
    assert [block.ref_cnt for block in cache.blocks[1:]] == [2, 2, 1, 1, 0, 0, 0]
    assert ids(cache.queue) == [5, 6, 7]


@pytest.mark.task(6)
def test_a_block_is_named_when_it_is_full_and_not_before(impl):
    cache = organs_of(impl)(8)
    cache.admit("a", range(10))
    assert [block.block_hash is not None for block in cache.tables["a"]] == [True, True, False]
    cache.admit("b", range(10))
    assert ids(cache.tables["b"]) == [1, 2, 4], "the rest of a is not for sharing"


@pytest.mark.task(6)
def test_no_room_no_change(impl):
    cache = organs_of(impl)(4)
    cache.admit("a", range(8))
    cache.finish("a")
    assert ids(cache.queue) == [3, 2, 1]
    # Two hits and two new blocks, and only three blocks are free, the hits among them.
    assert cache.admit("b", range(16)) is None
    assert ids(cache.queue) == [3, 2, 1]
    assert [block.ref_cnt for block in cache.blocks[1:]] == [0, 0, 0]
    assert "b" not in cache.tables
    assert cache.admit("c", range(12)) == 8
    assert ids(cache.tables["c"]) == [1, 2, 3]


@pytest.mark.task(6)
def test_a_hit_is_safe_before_others_are_handed_out(impl):
    r"""The hit stands at the head of the queue: whoever hands out first, hands *it* out."""
    cache = organs_of(impl)(4)
    cache.admit("a", range(4))
    cache.finish("a")
    cache.admit("b", range(50, 58))
    cache.finish("b")
    assert ids(cache.queue)[0] == 1
    assert cache.admit("c", range(12)) == 4
    assert ids(cache.tables["c"]) == [1, 3, 2]


@pytest.mark.task(6)
@pytest.mark.parametrize(("num_tokens", "id"), [(64, "computed-again"), (65, "computed-again-65")])
def test_the_second_time_nearly_everything_is_there(impl, truth, num_tokens, id):
    cache = organs_of(impl)(20, block_size=16)
    cache.admit("a", range(num_tokens))
    cache.finish("a")
    computed = num_tokens - cache.admit("b", range(num_tokens))
    truth(id, computed)
    assert computed == (16 if num_tokens == 64 else 1)


@pytest.mark.task(6)
def test_two_of_a_kind_in_one_step_share_all_but_the_last(impl, truth):
    cache = organs_of(impl)(20, block_size=16)
    cache.admit("a", range(64))
    cache.admit("b", range(64))
    held = {*ids(cache.tables["a"]), *ids(cache.tables["b"])}
    truth("twins", len(held))
    last = cache.tables["a"][-1], cache.tables["b"][-1]
    assert last[0] is not last[1]
    assert last[0].block_hash == last[1].block_hash is not None, "twins: two blocks, one name"
    cache.finish("a")
    cache.finish("b")
    cache.admit("stranger", range(1000, 1000 + 15 * 16))
    cache.finish("stranger")
    assert cache.admit("c", range(65)) == 64, "one twin was overwritten, the other is there"


@pytest.mark.task(6)
def test_another_salt_is_another_text(impl):
    cache = organs_of(impl)(20)
    cache.admit("a", range(9), salt="mine")
    assert cache.admit("b", range(9), salt="yours") == 0
    assert cache.admit("c", range(9)) == 0
    assert cache.admit("d", range(9), salt="mine") == 8


@pytest.mark.task(7)
def test_the_last_block_is_the_first_to_be_reused(impl):
    cache = cache_of(impl, 6)
    named(cache, a=2, b=3, c=4)
    cache.tables["r"] = cache.blocks[2:5]
    cache.touch(cache.tables["r"])
    cache.finish("r")
    assert "r" not in cache.tables
    assert ids(cache.queue) == [1, 5, 4, 3, 2]
    assert [block.block_hash for block in cache.blocks[2:5]] == [b"a", b"b", b"c"]
    with pytest.raises(KeyError):
        cache.finish("r")


@pytest.mark.task(7)
def test_a_shared_block_stays_with_the_others(impl):
    cache = cache_of(impl, 5)
    for name, held in {"r": [1, 2], "s": [1, 3]}.items():
        cache.tables[name] = [cache.blocks[n] for n in held]
        cache.touch(cache.tables[name])
    cache.finish("r")
    assert ids(cache.queue) == [4, 2]
    assert cache.blocks[1].ref_cnt == 1
    cache.finish("s")
    assert ids(cache.queue) == [4, 2, 3, 1]


@pytest.mark.task(7)
def test_forgetting_waits_until_nobody_holds_a_block(impl):
    cache = cache_of(impl, 4)
    named(cache, a=1, b=3)
    cache.tables["r"] = [cache.blocks[3]]
    cache.touch(cache.tables["r"])
    assert cache.reset() is False
    assert cache.names.find(b"a") is cache.blocks[1]
    assert cache.names.find(b"b") is cache.blocks[3]
    cache.tables.clear()
    cache.blocks[3].ref_cnt = 0
    cache.queue.append(cache.blocks[3])
    assert cache.reset() is True
    assert cache.names.find(b"a") is cache.names.find(b"b") is None
    assert not any(block.block_hash for block in cache.blocks)
    assert ids(cache.queue) == [1, 2, 3]


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 4, 5, 6, 7)
def test_the_beginning_of_a_prompt_is_forgotten_last(impl, truth):
    cache = impl.Cache(5, 16)
    cache.admit("a", range(64))
    cache.finish("a")
    cache.admit("stranger", range(500, 532))
    cache.finish("stranger")
    found = impl.longest_hit(impl.block_names(range(65), 16), cache.names.find, 65, 16)
    truth("still-found", len(found))
    assert ids(found) == [1, 2]


@pytest.mark.task(1, 2, 3, 4, 5, 6, 7)
@examples(60)
@given(
    count=st.integers(3, 14),
    moves=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 14)), max_size=24
    ),
)
def test_your_cache_is_the_engines_block_for_block(impl, count, moves):
    r"""Family and length make a prompt; a request that is there already finishes first."""
    cache, engine = impl.Cache(count, 3), KVCacheManager(count, 3, 10_000)
    running = {}
    for seat, family, num_tokens in moves:
        name = f"r{seat}"
        if name in running:
            engine.free(running.pop(name))
            cache.finish(name)
        prompt = [family if place > 2 else 0 for place in range(num_tokens)]
        params = SamplingParams(max_tokens=1)
        request = Request(name, prompt, params, block_hasher=engine.block_hasher)
        hits, num_hit = engine.get_computed_blocks(request)
        blocks = engine.allocate_slots(request, num_tokens - num_hit, hits)
        assert cache.admit(name, prompt) == (None if blocks is None else num_hit)
        if blocks is not None:
            running[name] = request
            assert ids(cache.tables[name]) == engine.get_block_ids(name)
        assert ids(cache.queue) == ids(engine.block_pool.free_block_queue)
        assert [b.ref_cnt for b in cache.blocks] == [b.ref_cnt for b in engine.block_pool.blocks]
        assert [b.block_hash is None for b in cache.blocks] == [
            b.block_hash is None for b in engine.block_pool.blocks
        ]
    assert cache.reset() is engine.reset_prefix_cache()
