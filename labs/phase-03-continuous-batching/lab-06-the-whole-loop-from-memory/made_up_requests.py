r"""A scheduler and requests as the tests of this lab want them."""

from __future__ import annotations

from mini_vllm.config import SchedulerConfig
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.sampling_params import SamplingParams


def make(impl, blocks=41, block_size=4, **settings):
    r"""A scheduler of the lab over a cache of `blocks` usable blocks."""
    sizes = {"max_model_len": 64, "max_num_batched_tokens": 16, "max_num_seqs": 8} | settings
    config = SchedulerConfig(**sizes)
    return impl.Scheduler(config, KVCacheManager(blocks + 1, block_size, config.max_model_len))


def request(name, prompt, answer=0, priority=0, max_tokens=40, arrival=0.0, **params):
    r"""A request with a prompt of so many tokens of its own, and an answer of so many so far."""
    first = 1000 * ord(name[0])
    params = SamplingParams(max_tokens=max_tokens, **params)
    made = Request(name, list(range(first, first + prompt)), params, arrival, priority, 2)
    made.append_output_token_ids([first + 500 + place for place in range(answer)])
    return made


def runs(scheduler, made, computed):
    r"""Put a request among the running ones, with so many tokens computed, and its blocks."""
    scheduler.add(made)
    scheduler.waiting.remove_requests([made])
    assert scheduler.cache.allocate_slots(made, computed) is not None
    made.num_computed_tokens, made.status = computed, RequestStatus.RUNNING
    scheduler.running.append(made)
    return made


def ids(requests):
    return [one.request_id for one in requests]


def fill(scheduler, free=0):
    r"""Take blocks from the pool until so many are left."""
    pool = scheduler.cache.block_pool
    pool.get_new_blocks(pool.get_num_free_blocks() - free)
