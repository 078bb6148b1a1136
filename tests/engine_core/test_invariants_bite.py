"""Can the invariants fail? Each mutant breaks one line of a rule; each must be caught.

The workloads are those of the comparison with the pinned scheduler, without the other side: no
expected decision is known here, only what must be true in every state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from checked_scheduler import CheckedAdapter
from pinned_scheduler.replay import raw_steps
from pinned_scheduler.workload import workload

from mini_vllm.core import scheduler as scheduler_module
from mini_vllm.core.block_pool import BlockHashToBlockMap, BlockPool
from mini_vllm.core.free_block_queue import FreeBlockQueue
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request_queue import FCFSRequestQueue
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.errors import InvariantError

NUM_WORKLOADS = 60

queue_append_n = FreeBlockQueue.append_n
queue_remove = FreeBlockQueue.remove
get_computed_blocks = KVCacheManager.get_computed_blocks
cache_full_blocks = BlockPool.cache_full_blocks
get_new_blocks = BlockPool.get_new_blocks
preempt_one = Scheduler._preempt_one
schedule_running = Scheduler._schedule_running
schedule_waiting = Scheduler._schedule_waiting
remove_from_running = Scheduler._remove_from_running


def touch_leaves_it_free(pool: BlockPool, blocks: Any) -> None:
    for block in blocks:
        block.ref_cnt += 1


def touch_counts_once(pool: BlockPool, blocks: Any) -> None:
    for block in blocks:
        if block.ref_cnt == 0:
            pool.free_block_queue.remove(block)
        block.ref_cnt = 1


def free_for_all(pool: BlockPool, blocks: Any) -> None:
    blocks = list(blocks)
    for block in blocks:
        block.ref_cnt = 0
    pool.free_block_queue.append_n([block for block in blocks if not block.is_linked])


def free_forgets_the_queue(pool: BlockPool, blocks: Any) -> None:
    for block in blocks:
        block.ref_cnt -= 1


def new_blocks_keep_their_names(pool: BlockPool, count: int) -> list:
    blocks = pool.free_block_queue.popleft_n(count)
    for block in blocks:
        block.ref_cnt = 1
    return blocks


def evicted_names_stay_findable(pool: BlockPool, count: int) -> list:
    blocks = pool.free_block_queue.popleft_n(count)
    for block in blocks:
        block.block_hash, block.ref_cnt = None, 1
    return blocks


def one_block_too_many(pool: BlockPool, count: int) -> list:
    return get_new_blocks(pool, min(count + 1, pool.get_num_free_blocks()))


def append_miscounts(queue: FreeBlockQueue, blocks: Any) -> None:
    queue_append_n(queue, blocks)
    queue.num_free_blocks += len(blocks) > 2


def remove_leaves_the_back_link(queue: FreeBlockQueue, block: Any) -> None:
    before, after = block.prev_free_block, block.next_free_block
    queue_remove(queue, block)
    after.prev_free_block = block if after.block_id > 0 else before


def names_a_block_early(
    pool: BlockPool, blocks: Any, block_hashes: Any, start: int, end: int
) -> None:
    names = [*block_hashes, b"not full yet"]
    cache_full_blocks(pool, blocks, names, start, min(end + 1, len(blocks)))


def names_by_the_wrong_hash(
    pool: BlockPool, blocks: Any, block_hashes: Any, start: int, end: int
) -> None:
    cache_full_blocks(pool, blocks, block_hashes[::-1], start, end)


def pop_forgets_the_other(names: BlockHashToBlockMap, name: bytes, block: Any) -> None:
    names._first.pop(name, None)
    names._duplicates.pop(name, None)


def hits_to_the_last_token(manager: KVCacheManager, request: Any) -> tuple:
    blocks, num_tokens = get_computed_blocks(manager, request)
    return list(blocks), num_tokens + (manager.block_size if blocks else 0)


def victim_keeps_its_blocks(scheduler: Scheduler, plan: Any) -> Any:
    free, scheduler.kv_cache_manager.free = scheduler.kv_cache_manager.free, lambda request: None
    try:
        return preempt_one(scheduler, plan)
    finally:
        scheduler.kv_cache_manager.free = free


def victim_keeps_its_counter(scheduler: Scheduler, plan: Any) -> Any:
    before = {request: request.num_computed_tokens for request in scheduler.running}
    victim, was_scheduled = preempt_one(scheduler, plan)
    victim.num_computed_tokens = before[victim]
    return victim, was_scheduled


def victim_is_the_oldest(scheduler: Scheduler, plan: Any) -> Any:
    scheduler.running.append(scheduler.running.pop(0))
    return preempt_one(scheduler, plan)


def victim_queues_up_again(queue: FCFSRequestQueue, request: Any) -> None:
    queue.add_request(request)


def no_refund(scheduler: Scheduler, plan: Any) -> Any:
    before = plan.token_budget
    result = preempt_one(scheduler, plan)
    plan.token_budget = before
    return result


def admits_after_a_preemption(scheduler: Scheduler, plan: Any) -> None:
    schedule_running(scheduler, plan)
    if plan.preempted:
        schedule_waiting(scheduler, plan)


def no_seats(scheduler: Scheduler, plan: Any) -> None:
    limit, scheduler.max_num_running_reqs = scheduler.max_num_running_reqs, 10**9
    schedule_waiting(scheduler, plan)
    scheduler.max_num_running_reqs = limit


def budget_twice(scheduler: Scheduler, plan: Any) -> None:
    schedule_running(scheduler, plan)
    plan.token_budget += 1


def small_ones_first(scheduler: Scheduler, plan: Any) -> None:
    if scheduler.policy == "fcfs":
        by_size = sorted(scheduler.waiting, key=lambda request: request.num_tokens)
        scheduler.waiting._queue.clear()
        scheduler.waiting._queue.extend(by_size)
    schedule_waiting(scheduler, plan)


def ended_ones_go_on(scheduler: Scheduler, gone: set) -> None:
    if len(gone) == 1:
        remove_from_running(scheduler, gone)


def the_limit_is_not_asked(request: Any, max_model_len: int) -> bool:
    return stop(request, max_model_len + 1)


def everybody_is_let_in(scheduler: Scheduler, request: Any) -> None:
    return None


stop = scheduler_module.check_stop

MUTANTS: list[tuple[Any, str, Callable]] = [
    (BlockPool, "touch", touch_leaves_it_free),
    (BlockPool, "touch", touch_counts_once),
    (BlockPool, "free_blocks", free_for_all),
    (BlockPool, "free_blocks", free_forgets_the_queue),
    (BlockPool, "get_new_blocks", new_blocks_keep_their_names),
    (BlockPool, "get_new_blocks", evicted_names_stay_findable),
    (BlockPool, "get_new_blocks", one_block_too_many),
    (BlockPool, "cache_full_blocks", names_a_block_early),
    (BlockPool, "cache_full_blocks", names_by_the_wrong_hash),
    (BlockHashToBlockMap, "pop", pop_forgets_the_other),
    (FreeBlockQueue, "append_n", append_miscounts),
    (FreeBlockQueue, "remove", remove_leaves_the_back_link),
    (KVCacheManager, "get_computed_blocks", hits_to_the_last_token),
    (Scheduler, "_preempt_one", victim_keeps_its_blocks),
    (Scheduler, "_preempt_one", victim_keeps_its_counter),
    (Scheduler, "_preempt_one", victim_is_the_oldest),
    (Scheduler, "_preempt_one", no_refund),
    (FCFSRequestQueue, "prepend_request", victim_queues_up_again),
    (Scheduler, "_schedule_running", admits_after_a_preemption),
    (Scheduler, "_schedule_running", budget_twice),
    (Scheduler, "_schedule_waiting", no_seats),
    (Scheduler, "_schedule_waiting", small_ones_first),
    (Scheduler, "_remove_from_running", ended_ones_go_on),
    (scheduler_module, "check_stop", the_limit_is_not_asked),
]


def run(num_workloads: int) -> None:
    for seed in range(num_workloads):
        for _ in raw_steps(workload(seed), CheckedAdapter()):
            pass


def test_the_scheduler_itself_passes() -> None:
    run(NUM_WORKLOADS)


@pytest.mark.parametrize(
    ("owner", "name", "mutant"), MUTANTS, ids=[mutant.__name__ for _, _, mutant in MUTANTS]
)
def test_each_mutant_is_caught(monkeypatch, owner: Any, name: str, mutant: Callable) -> None:
    monkeypatch.setattr(owner, name, mutant)
    # The pool refuses some states itself, loudly: that is a catch as well.
    with pytest.raises((InvariantError, ValueError)) as caught:
        run(NUM_WORKLOADS)
    print(f"{mutant.__name__}: {str(caught.value)[:90]}")


def test_whoever_cannot_be_served_is_noticed(make_scheduler, monkeypatch) -> None:
    monkeypatch.setattr(Scheduler, "_check_fits", everybody_is_let_in)
    scheduler = make_scheduler(num_gpu_blocks=3)
    scheduler.add("a", 40)
    with pytest.raises(InvariantError, match="no-starvation"):
        scheduler.check()
