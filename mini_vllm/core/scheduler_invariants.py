r"""What must be true of all requests, whenever nobody is looking?

Seven statements about the state between two calls of the
{py:class}`~mini_vllm.core.scheduler.Scheduler`. They hold after `schedule` and after
`update_from_output` alike, which is why the first of them can say so little about progress: what a
*step* must do is stated of steps, in {py:mod}`mini_vllm.observe.audit`.

## Does everybody's turn come?

First come, first served, it does, and one can say when. The argument has three steps.

*The order is never broken.* Put the running list and the waiting queue one after the other, and
you read the order of arrival ({inv}`fcfs-order`). Admission takes from the front of the queue and
appends to the list. A victim is the last of the list and goes to the front of the queue. Whoever
ends or hangs up leaves a gap. None of these lets anybody pass.

*The oldest request moves in every step.* If it waits, nobody runs, since all who run stand before
all who wait. Then every block is free, and it fits, or it would have been refused at the door
({inv}`no-starvation`); so this very step admits it. If it runs, it is asked first, with the whole
budget. Should blocks be missing, the others are preempted one after the other before it is, and
when it is alone, it fits. So a step moves it by $q$ tokens, the smaller of the budget and the
threshold of long prompts, or by all that it has left.

*So its time is bounded.* A request has at most $L = \min(\text{prompt} + \text{max\_tokens},
\text{max\_model\_len})$ tokens and draws at most $A = L - \text{prompt}$ of them. Once it is the
oldest, it needs at most $\lceil L / q \rceil$ steps to read what it has, even if it has just been
preempted, and one step for each token that it still draws. Whoever stands $k$-th in the order has
ended after

$$\sum_{i \le k} \left( \lceil L_i / q \rceil + A_i \right)$$

steps at the latest ({py:func}`steps_to_the_end`), whatever arrives behind it.

Under priorities there is no such bound, and cannot be: a request of low priority waits for as long
as more urgent ones keep arriving. Nor does it help to stop the arrivals, if two requests are equal
in priority *and* in arrival time: they may take each other's blocks for ever. Both
counter-examples are tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mini_vllm.core.prefix_hash import ROOT_HASH, hash_block_tokens
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.invariants import invariant

if TYPE_CHECKING:
    from mini_vllm.core.scheduler import Scheduler

#: Whose state these are about; the scheduler carries it, and so registers them by being imported.
OWNER = "scheduler"


@invariant(
    "one-home",
    "An unfinished request is in exactly one of waiting and running, and its status says which.",
    phase=1,
    owner=OWNER,
    anchors=(
        "vllm/v1/core/sched/scheduler.py#Scheduler.finish_requests",
        "vllm/v1/core/sched/scheduler.py#Scheduler._preempt_request",
        "vllm/v1/request.py#RequestStatus",
    ),
)
def _one_home(scheduler: Scheduler) -> Iterator[str]:
    waiting = [request.request_id for request in scheduler.waiting]
    running = [request.request_id for request in scheduler.running]
    for req_id in {*waiting, *running, *scheduler.requests}:
        homes = waiting.count(req_id) + running.count(req_id)
        if homes != 1 or req_id not in scheduler.requests:
            yield f"request {req_id!r} is in {homes} queues, known: {req_id in scheduler.requests}"
    for request in scheduler.running:
        if request.status != RequestStatus.RUNNING:
            yield f"{request} is in running"
    for request in scheduler.waiting:
        if request.status not in (RequestStatus.WAITING, RequestStatus.PREEMPTED):
            yield f"{request} is in waiting"


@invariant(
    "computed-never-exceeds-tokens",
    "A request has never computed more tokens than it has, and a waiting one has computed none.",
    phase=1,
    owner=OWNER,
    anchors=(
        "vllm/v1/core/sched/scheduler.py#Scheduler.schedule",
        "vllm/v1/core/sched/scheduler.py#Scheduler._update_after_schedule",
    ),
)
def _computed_never_exceeds_tokens(scheduler: Scheduler) -> Iterator[str]:
    for request in scheduler.requests.values():
        if not 0 <= request.num_computed_tokens <= request.num_tokens:
            yield repr(request)
        if request.num_tokens != request.num_prompt_tokens + request.num_output_tokens:
            yield f"{request} is not its prompt and its answer"
        if request.num_tokens >= scheduler.max_model_len:
            yield f"{request} goes on at max_model_len={scheduler.max_model_len}"
    for request in scheduler.waiting:
        if request.num_computed_tokens != 0:
            yield f"{request} waits"


@invariant(
    "seats-kept",
    "At most max_num_seqs requests are running.",
    phase=3,
    owner=OWNER,
    anchors=('vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"assert len(self.running) <="',),
)
def _seats_kept(scheduler: Scheduler) -> Iterator[str]:
    if len(scheduler.running) > scheduler.max_num_running_reqs:
        yield f"{len(scheduler.running)} run, of {scheduler.max_num_running_reqs}"


@invariant(
    "fcfs-order",
    "First come, first served: the running list and then the waiting queue are the order of "
    "arrival.",
    phase=3,
    owner=OWNER,
    anchors=(
        "vllm/v1/core/sched/request_queue.py#FCFSRequestQueue.prepend_request",
        'vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"preempted_req = self.running.pop()"',
    ),
)
def _fcfs_order(scheduler: Scheduler) -> Iterator[str]:
    if scheduler.policy != "fcfs":
        return
    order = [request.request_id for request in (*scheduler.running, *scheduler.waiting)]
    # A dictionary keeps the order in which its keys were added: that of arrival.
    if order != list(scheduler.requests):
        yield f"arrived as {list(scheduler.requests)}, served as {order}"


@invariant(
    "no-starvation",
    "Whoever is in the engine could be served alone: the pool holds its prompt and all of its "
    "answer, and a step that must take its prompt whole has the budget for it.",
    phase=3,
    owner=OWNER,
    anchors=(
        "vllm/v1/core/kv_cache_utils.py#check_enough_kv_cache_memory",
        "vllm/config/scheduler.py#SchedulerConfig.verify_max_model_len",
    ),
)
def _no_starvation(scheduler: Scheduler) -> Iterator[str]:
    config = scheduler.scheduler_config
    for request in scheduler.requests.values():
        longest = _longest(scheduler, request)
        if longest > scheduler.max_num_tokens:
            yield f"{request} may grow to {longest} tokens, and fits to {scheduler.max_num_tokens}"
        whole = min(longest, config.long_prefill_token_threshold or longest)
        if not config.enable_chunked_prefill and config.max_num_batched_tokens < whole:
            yield f"{request} never fits a budget of {config.max_num_batched_tokens} tokens whole"


def _longest(scheduler: Scheduler, request: Request) -> int:
    """How many tokens a request can come to have."""
    return int(min(request.num_prompt_tokens + request.max_tokens, scheduler.max_model_len))


def steps_to_the_end(scheduler: Scheduler) -> dict[str, int]:
    r"""After how many more steps each request has ended at the latest, by id.

    The bound of the module's text, with what each has drawn already taken off. A step is a
    `schedule` with its `update_from_output`. Raises `ValueError` under priorities: there is none.
    """
    if scheduler.policy != "fcfs":
        raise ValueError(f"no request is promised an end under policy={scheduler.policy!r}")
    config = scheduler.scheduler_config
    per_step = config.max_num_batched_tokens
    if config.long_prefill_token_threshold > 0:
        per_step = min(per_step, config.long_prefill_token_threshold)
    bounds, total = {}, 0
    for req_id, request in scheduler.requests.items():
        longest = _longest(scheduler, request)
        total += -(-longest // per_step) + longest - request.num_tokens
        bounds[req_id] = total
    return bounds


@invariant(
    "blocks-cover-tokens",
    "A running request holds exactly the blocks that its computed tokens need; others hold none.",
    phase=2,
    owner=OWNER,
    anchors=(
        "vllm/v1/core/kv_cache_manager.py#KVCacheManager.allocate_slots",
        "vllm/v1/core/single_type_kv_cache_manager.py#SingleTypeKVCacheManager.allocate_new_blocks",
    ),
)
def _blocks_cover_tokens(scheduler: Scheduler) -> Iterator[str]:
    manager = scheduler.kv_cache_manager
    running = {request.request_id for request in scheduler.running}
    for req_id in manager.req_to_blocks.keys() - running:
        yield f"request {req_id!r} does not run and holds blocks"
    for request in scheduler.running:
        held = len(manager.req_to_blocks.get(request.request_id, ()))
        needed = -(-request.num_computed_tokens // manager.block_size)
        if held != needed:
            yield f"{request} holds {held} blocks and needs {needed}"


@invariant(
    "hash-chain",
    "The names of a request's full blocks are the chained hashes of its tokens, and its findable "
    "blocks carry them.",
    phase=3,
    owner=OWNER,
    anchors=(
        "vllm/v1/core/kv_cache_utils.py#hash_block_tokens",
        "vllm/v1/core/kv_cache_utils.py#get_request_block_hasher",
    ),
)
def _hash_chain(scheduler: Scheduler) -> Iterator[str]:
    manager = scheduler.kv_cache_manager
    size = manager.block_size
    for request in scheduler.requests.values() if manager.enable_caching else ():
        parent, names = ROOT_HASH, []
        for start in range(0, request.num_tokens - size + 1, size):
            parent = hash_block_tokens(parent, request.all_token_ids[start : start + size])
            names.append(parent)
        if request.block_hashes != names:
            yield f"{request} has block names that are not its tokens'"
        blocks = manager.req_to_blocks.get(request.request_id, ())
        for name, block in zip(names, blocks, strict=False):
            if block.block_hash is not None and block.block_hash != name:
                yield f"{request} holds {block}, named for other tokens"
