"""Names of blocks, hits, and what an allocation may and may not do."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.prefix_hash import ROOT_HASH, PrefixHasher, hash_block_tokens
from mini_vllm.core.request import Request
from mini_vllm.errors import InvariantError
from mini_vllm.invariants import check
from mini_vllm.sampling_params import SamplingParams


def make(tokens: list[int] | range, manager: KVCacheManager, name: str = "r") -> Request:
    return Request(name, list(tokens), SamplingParams(), block_hasher=manager.block_hasher)


def manager_of(num_gpu_blocks: int = 10, block_size: int = 4, **kwargs: bool) -> KVCacheManager:
    return KVCacheManager(num_gpu_blocks, block_size, max_model_len=64, **kwargs)


def compute(manager: KVCacheManager, request: Request, num_tokens: int, **kwargs: object) -> bool:
    """Allocate, and move the counter as a scheduler would; was there room?"""
    hits, num_hit = (
        manager.get_computed_blocks(request) if not request.num_computed_tokens else ((), 0)
    )
    if manager.allocate_slots(request, num_tokens - num_hit, hits, **kwargs) is None:
        return False
    request.num_computed_tokens += num_tokens
    check(manager.block_pool, manager)
    return True


@given(
    block_size=st.integers(1, 5),
    prompt=st.lists(st.integers(0, 2**31), min_size=1, max_size=20),
    answer=st.lists(st.integers(0, 2**31), max_size=20),
)
def test_names_grow_with_the_request(block_size: int, prompt: list[int], answer: list[int]) -> None:
    request = Request("r", prompt, SamplingParams(), block_hasher=PrefixHasher(block_size))
    for token in answer:
        request.append_output_token_ids(token)
    at_once = Request("s", prompt + answer, SamplingParams(), block_hasher=PrefixHasher(block_size))
    assert request.block_hashes == at_once.block_hashes
    assert len(request.block_hashes) == len(prompt + answer) // block_size
    parent = ROOT_HASH
    for i, name in enumerate(request.block_hashes):
        parent = hash_block_tokens(parent, (prompt + answer)[i * block_size : (i + 1) * block_size])
        assert name == parent


def test_a_name_depends_on_everything_before() -> None:
    hasher = PrefixHasher(2)
    same_tail = [
        Request("r", [first, 5, 8, 9], SamplingParams(), block_hasher=hasher).block_hashes
        for first in (1, 2)
    ]
    assert same_tail[0][1] != same_tail[1][1]


def test_a_name_is_the_same_in_every_process() -> None:
    # sha256 of the root and of two eight-byte integers; nothing that a process draws at random.
    assert hash_block_tokens(ROOT_HASH, [1, 2]).hex().startswith("cb659265a9f73a27")
    assert hash_block_tokens(ROOT_HASH, [1, 2]) != hash_block_tokens(ROOT_HASH, [1, 2, 0])
    assert hash_block_tokens(ROOT_HASH, [1, 2]) != hash_block_tokens(ROOT_HASH, [2, 1])


def test_a_second_request_finds_the_first_ones_blocks() -> None:
    manager = manager_of()
    first = make(range(10), manager, "first")
    assert compute(manager, first, 10)
    second = make([*range(8), 99, 98, 97], manager, "second")
    blocks, num_tokens = manager.get_computed_blocks(second)
    assert num_tokens == 8
    assert [b.block_id for b in blocks] == manager.get_block_ids("first")[:2]
    # Looking is free of consequences.
    assert [b.ref_cnt for b in blocks] == [1, 1]
    assert compute(manager, second, 11)
    assert [b.ref_cnt for b in blocks] == [2, 2]
    assert manager.get_block_ids("second")[:2] == manager.get_block_ids("first")[:2]


@pytest.mark.parametrize("num_tokens", range(1, 14))
def test_the_last_token_is_never_a_hit(num_tokens: int) -> None:
    manager = manager_of()
    first = make(range(num_tokens), manager, "first")
    assert compute(manager, first, num_tokens)
    twin = make(range(num_tokens), manager, "twin")
    _, num_hit = manager.get_computed_blocks(twin)
    assert num_hit == (num_tokens - 1) // 4 * 4
    assert num_hit < num_tokens


def test_a_hit_ends_at_the_first_miss() -> None:
    manager = manager_of()
    first = make(range(12), manager, "first")
    assert compute(manager, first, 12)
    blocks = manager.req_to_blocks["first"]
    manager.free(first)
    # Overwrite the middle block only: take all free ones up to it, and give the others back.
    while blocks[1].block_hash is not None:
        manager.block_pool.get_new_blocks(1)
    assert blocks[0].block_hash is not None
    twin = make(range(13), manager, "twin")
    assert manager.get_computed_blocks(twin)[1] == 4


def test_without_caching_nothing_is_found_and_nothing_is_named() -> None:
    manager = manager_of(enable_caching=False)
    first = make(range(8), manager, "first")
    assert compute(manager, first, 8)
    assert manager.get_computed_blocks(make(range(9), manager, "twin")) == ((), 0)
    assert all(block.block_hash is None for block in manager.block_pool.blocks)


def test_no_room_changes_nothing() -> None:
    manager = manager_of(num_gpu_blocks=4)
    first = make(range(8), manager, "first")
    assert compute(manager, first, 8)
    second = make(range(100, 108), manager, "second")
    before = [(b.ref_cnt, b.block_hash) for b in manager.block_pool.blocks]
    assert not compute(manager, second, 8)
    assert [(b.ref_cnt, b.block_hash) for b in manager.block_pool.blocks] == before
    assert manager.get_block_ids("second") == []
    assert "second" not in manager.num_cached_block


def test_a_hit_on_free_blocks_costs_as_much_as_new_ones() -> None:
    """Three blocks are free, two of them hits: three blocks fit, four do not."""
    manager = manager_of(num_gpu_blocks=4)
    first = make(range(8), manager, "first")
    assert compute(manager, first, 8)
    manager.free(first)
    four = make([*range(8), *range(50, 58)], manager, "four")
    assert manager.get_computed_blocks(four)[1] == 8
    assert not compute(manager, four, 16)
    three = make([*range(8), *range(50, 54)], manager, "three")
    assert compute(manager, three, 12)
    assert manager.block_pool.get_num_free_blocks() == 0


def test_the_whole_sequence_must_fit_if_asked_though_a_chunk_would() -> None:
    manager = manager_of(num_gpu_blocks=4)
    request = make(range(16), manager)
    assert not compute(manager, request, 4, full_sequence_must_fit=True)
    assert compute(manager, request, 4)
    assert len(manager.get_block_ids("r")) == 1


def test_the_whole_sequence_counts_its_hits() -> None:
    manager = manager_of(num_gpu_blocks=6)
    first = make(range(8), manager, "first")
    assert compute(manager, first, 8)
    # Two of its four blocks are shared with a holder, so two new ones are enough.
    second = make([*range(8), *range(50, 58)], manager, "second")
    assert compute(manager, second, 12, full_sequence_must_fit=True)


def test_a_decode_takes_a_block_only_at_the_edge() -> None:
    manager = manager_of()
    request = make(range(3), manager)
    assert compute(manager, request, 3)
    sizes = []
    for token in range(6):
        request.append_output_token_ids(token)
        assert compute(manager, request, 1)
        sizes.append(len(manager.get_block_ids("r")))
    assert sizes == [1, 2, 2, 2, 2, 3]


def test_a_block_is_findable_from_the_step_that_fills_it() -> None:
    manager = manager_of()
    request = make(range(7), manager)
    assert compute(manager, request, 6)
    names = [b.block_hash is not None for b in manager.req_to_blocks["r"]]
    assert names == [True, False]
    assert compute(manager, request, 1)
    request.append_output_token_ids(7)
    assert compute(manager, request, 1)
    names = [b.block_hash is not None for b in manager.req_to_blocks["r"]]
    assert names == [True, True]


def test_blocks_come_back_last_first() -> None:
    manager = manager_of(num_gpu_blocks=6)
    request = make(range(12), manager)
    assert compute(manager, request, 12)
    ids = manager.get_block_ids("r")
    manager.free(request)
    free = [block.block_id for block in manager.block_pool.free_block_queue]
    assert free == [4, 5, *reversed(ids)]


def test_freeing_a_request_that_holds_nothing_is_harmless() -> None:
    manager = manager_of()
    manager.free(make(range(3), manager))
    check(manager.block_pool, manager)


@pytest.mark.parametrize(
    ("corrupt", "named"),
    [
        (lambda m: m.req_to_blocks["r"].pop(), "refcounts-add-up"),
        (lambda m: m.req_to_blocks["r"].append(m.req_to_blocks["r"][0]), "holds a block twice"),
        (lambda m: m.req_to_blocks["r"].append(m.block_pool.null_block), "null block"),
        (lambda m: m.num_cached_block.update(r=1), "cached-prefix-named"),
        (lambda m: m.num_cached_block.clear(), "cached-prefix-named"),
    ],
)
def test_each_corruption_is_named(corrupt, named: str) -> None:
    manager = manager_of()
    assert compute(manager, make(range(10), manager), 10)
    corrupt(manager)
    with pytest.raises(InvariantError, match=named):
        check(manager)
