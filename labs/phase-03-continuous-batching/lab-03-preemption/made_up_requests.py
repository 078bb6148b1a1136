r"""Pools and requests as the tests of this lab want them."""

from __future__ import annotations

from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import RequestStatus

SIZE = 4


def memory_of(blocks, caching=True, block_size=SIZE):
    r"""A pool with so many blocks to hand out."""
    return KVCacheManager(blocks + 1, block_size, max_model_len=128, enable_caching=caching)


def request(impl, memory, name, num_tokens=6, *, priority=0, arrival=0.0, answer=8, family=None):
    start = 100 * (ord(name[0]) if family is None else family)
    prompt = range(start, start + num_tokens)
    return impl.make_request(name, prompt, answer, memory, priority=priority, arrival_time=arrival)


def running_request(impl, memory, name, num_tokens=6, **options):
    r"""A request that has read its prompt, and holds the blocks for it."""
    made = request(impl, memory, name, num_tokens, **options)
    assert memory.allocate_slots(made, num_tokens) is not None
    made.status, made.num_computed_tokens = RequestStatus.RUNNING, num_tokens
    return made


def names(requests):
    return "".join(one.request_id for one in requests)


def free_blocks(memory):
    return memory.block_pool.get_num_free_blocks()
