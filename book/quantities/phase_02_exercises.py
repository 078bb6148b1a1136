r"""Numbers of phase 02's exercises and questions: asked of the pool of mini_vllm, or counted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from book.quantities.phase_02 import BLOCK, GIVEN, blocks_for
from book.quantities.registry import quantity
from mini_vllm.core.free_block_queue import FreeBlockQueue, KVCacheBlock
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import Request
from mini_vllm.sampling_params import SamplingParams

RUN = "mini_vllm's KVCacheManager, asked when this page was built"


def manager(blocks: int, block_size: int = BLOCK) -> KVCacheManager:
    """An empty cache of so many usable blocks."""
    return KVCacheManager(blocks + 1, block_size, max_model_len=1 << 20)


def admit(cache: KVCacheManager, name: str, tokens: Sequence[int]) -> tuple[Request, int]:
    """Give a request room for all of `tokens`; returns it and how many it found."""
    params = SamplingParams(max_tokens=1)
    request = Request(name, list(tokens), params, block_hasher=cache.block_hasher)
    hits, found = cache.get_computed_blocks(request)
    if cache.allocate_slots(request, len(tokens) - found, hits) is None:
        raise ValueError(f"{name} has no room")
    request.num_computed_tokens = len(tokens)
    return request, found


# One token's place


@quantity("p02-ex-slot", unit="", source=GIVEN)
def ex_slot() -> int:
    """Slot of position 37 under the table [9, 4, 17, 2], blocks of 16."""
    return [9, 4, 17, 2][37 // BLOCK] * BLOCK + 37 % BLOCK


# A request of 100 + 60 tokens


@quantity("p02-ex-prompt-blocks", unit="block", source=GIVEN)
def ex_prompt_blocks() -> int:
    """Blocks of a prompt of 100."""
    return blocks_for(100)


@quantity("p02-ex-final-blocks", unit="block", source=GIVEN)
def ex_final_blocks() -> int:
    """Blocks at the end: the last of the 60 tokens is never fed back."""
    return blocks_for(100 + 60 - 1)


@quantity("p02-ex-new-block-steps", unit="", source=GIVEN)
def ex_new_block_steps() -> int:
    """Decode steps in which it needs a new block."""
    return ex_final_blocks() - ex_prompt_blocks()


# Four samples of one prompt of 100


@lru_cache(maxsize=1)
def _four_samples() -> tuple[int, int, int]:
    cache = manager(64)
    found = [admit(cache, f"sample-{i}", range(100))[1] for i in range(4)]
    tables = [set(cache.get_block_ids(f"sample-{i}")) for i in range(4)]
    shared = set.intersection(*tables)
    return len(shared), len(set.union(*tables)), 4 * 100 - sum(found)


@quantity("p02-ex-shared-blocks", unit="block", source=RUN)
def ex_shared_blocks() -> int:
    """Blocks that four samples of a prompt of 100 share."""
    return _four_samples()[0]


@quantity("p02-ex-held-blocks", unit="block", source=RUN)
def ex_held_blocks() -> int:
    """Blocks that the four hold together."""
    return _four_samples()[1]


@quantity("p02-ex-unshared-blocks", unit="block", source=GIVEN)
def ex_unshared_blocks() -> int:
    """Blocks without sharing."""
    return 4 * blocks_for(100)


@quantity("p02-ex-computed-tokens", unit="token", source=RUN)
def ex_computed_tokens() -> int:
    """Prompt tokens computed for all four."""
    return _four_samples()[2]


@quantity("p02-ex-cow-saves", unit="token", source=GIVEN)
def ex_cow_saves() -> int:
    """What copying the partly filled block would save: its tokens, three times."""
    return 3 * (100 % BLOCK)


# A prompt seen before


@lru_cache(maxsize=4)
def _computed_again(length: int) -> int:
    cache = manager(256)
    first, _ = admit(cache, "first", range(length))
    cache.free(first)
    return length - admit(cache, "second", range(length))[1]


@quantity("p02-again-1024", unit="token", source=RUN)
def again_1024() -> int:
    """Computed the second time of a prompt of 1,024."""
    return _computed_again(1024)


@quantity("p02-again-1025", unit="token", source=RUN)
def again_1025() -> int:
    """Computed the second time of a prompt of 1,025."""
    return _computed_again(1025)


# A clock in front of the system prompt


@lru_cache(maxsize=2)
def _found_behind(clock_first: bool) -> int:
    cache = manager(2048)
    found = 0
    for second in range(2):
        clock, system = [10_000 + second], list(range(2000))
        tokens = clock + system if clock_first else system + clock
        request, found = admit(cache, str(second), [*tokens, 7])
        cache.free(request)
    return found


@quantity("p02-clock-first", unit="token", source=RUN)
def clock_first() -> int:
    """Found of a system prompt of 2,000 when a changing token stands before it."""
    return _found_behind(True)


@quantity("p02-clock-last", unit="token", source=RUN)
def clock_last() -> int:
    """Found when it stands behind."""
    return _found_behind(False)


# Waste at the end of the last block, requests of 231 tokens on average


@quantity("p02-ex-waste-16", unit="%", source=GIVEN)
def ex_waste_16() -> float:
    """Share of a request's places that is lost, blocks of 16."""
    return 100 * 7.5 / (231 + 7.5)


@quantity("p02-ex-waste-128", unit="%", source=GIVEN)
def ex_waste_128() -> float:
    """Share of a request's places that is lost, blocks of 128."""
    return 100 * 63.5 / (231 + 63.5)


# The other end of the queue


class _BackToTheHead(FreeBlockQueue):
    """Gives back to the head what the real queue gives to the tail."""

    __slots__ = ()

    def append_n(self, returned: Sequence[KVCacheBlock]) -> None:
        for block in returned:
            after = self._sentinel.next_free_block
            block.prev_free_block, block.next_free_block = self._sentinel, after
            self._sentinel.next_free_block = after.prev_free_block = block
            self.num_free_blocks += 1


@lru_cache(maxsize=2)
def _in_turn(to_the_head: bool, topics: int = 16, blocks: int = 320) -> tuple[float, int]:
    """Prompts of 256 + 16 asked for in turn: the share found, and how many blocks were used."""
    cache = manager(blocks)
    if to_the_head:
        pool = cache.block_pool
        all_blocks = pool.free_block_queue.popleft_n(blocks)
        pool.free_block_queue = _BackToTheHead([])
        pool.free_block_queue.append_n(all_blocks)
    found, asked, used = 0, 0, set()
    for number in range(20 * topics):
        tokens = [1_000 + number % topics] * 256 + [5_000 + number] * 16
        request, hit = admit(cache, str(number), tokens)
        used.update(cache.get_block_ids(request.request_id))
        cache.free(request)
        if number >= 10 * topics:
            found, asked = found + hit, asked + len(tokens)
    return 100 * found / asked, len(used)


@quantity("p02-ex-tail-rate", unit="%", source=RUN)
def ex_tail_rate() -> float:
    """Found when sixteen prompts come in turn and fit, blocks given back to the tail."""
    return _in_turn(to_the_head=False)[0]


@quantity("p02-ex-head-rate", unit="%", source=RUN)
def ex_head_rate() -> float:
    """Found when sixteen prompts come in turn and fit, blocks given back to the head."""
    return _in_turn(to_the_head=True)[0]


@quantity("p02-ex-head-used", unit="block", source=RUN)
def ex_head_used() -> int:
    """Of 320, the blocks that were ever used when they are given back to the head."""
    return _in_turn(to_the_head=True)[1]


# A leak


@quantity("p02-leak-requests", unit="request", source=GIVEN)
def leak_requests() -> int:
    """Requests until a pool of 30,000 blocks is gone, if each leaves one behind."""
    return 30_000


@quantity("p02-leak-hours", unit="h", source=GIVEN)
def leak_hours() -> float:
    """Hours until then at five requests a second."""
    return 30_000 / 5 / 3600
