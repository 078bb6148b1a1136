r"""What must be true of all requests, whenever nobody is looking?

Five statements about the state between two calls of the
{py:class}`~mini_vllm.core.scheduler.Scheduler`. They hold after `schedule` and after
`update_from_output` alike, which is why the first of them can say so little about progress: what a
*step* must do is stated of steps, in {py:mod}`mini_vllm.observe.audit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mini_vllm.core.prefix_hash import ROOT_HASH, hash_block_tokens
from mini_vllm.core.request import RequestStatus
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
