r"""An audit that also writes down what the player shows: blocks, queue, and what befell them.

Like every {py:class}`~mini_vllm.observe.probe.Probe` it looks from outside. It stands in front of
the pool's methods while it is open, notes the order of things, and passes them on; and since it is
an audit, a recording exists only if every invariant held after every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from book.traces.recording import Event, Frame, Lane, RequestFrame, RequestPlan
from book.traces.sentences import StepStory
from mini_vllm.core.free_block_queue import KVCacheBlock
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.audit import Audit
from mini_vllm.observe.probe import StepRecord

TO_COME, WAITING, RUNNING, PREEMPTED, FINISHED = range(5)
_STATUS = {
    RequestStatus.WAITING: WAITING,
    RequestStatus.RUNNING: RUNNING,
    RequestStatus.PREEMPTED: PREEMPTED,
}


class Recorder(Audit):
    r"""Records one engine while it is open; `lane` grows by a frame a step.

    Say {py:meth}`arrive` for each request when it comes, also for one that is kept outside the
    engine for a while.
    """

    def __init__(self, engine: LLMEngine, label: str, plans: Sequence[RequestPlan]) -> None:
        super().__init__(engine)
        self.manager = self.scheduler.kv_cache_manager
        self.pool = self.manager.block_pool
        self.lane = Lane(
            label=label,
            budget=self.scheduler.max_num_scheduled_tokens,
            seats=self.scheduler.max_num_running_reqs,
            block_size=self.manager.block_size,
            num_blocks=self.pool.num_gpu_blocks,
            requests=list(plans),
        )
        self._place = {plan.name: i for i, plan in enumerate(plans)}
        self._arrived: dict[str, bool] = {}  # whether it came since the last frame
        self._known: dict[str, Request] = {}
        self._names: dict[int, list[int]] = {}
        self._story = StepStory(self.lane)
        self._marks: dict[int, str] = {}
        self._freeing = ""

    def arrive(self, req_id: str) -> None:
        """Note that a request is there from now on."""
        self._arrived[req_id] = True

    def __enter__(self) -> Recorder:
        super().__enter__()
        self._wrap(self.pool, "get_new_blocks", self._get_new_blocks)
        self._wrap(self.pool, "touch", self._touch)
        self._wrap(self.pool, "free_blocks", self._free_blocks)
        self._wrap(self.pool, "cache_full_blocks", self._cache_full_blocks)
        self._wrap(self.manager, "free", self._free)
        self.lane.frames.append(self._frame(0, None, [Event("start", self._story.beginning())]))
        return self

    # ------------------------------------------------------------------ the pool's methods

    def _get_new_blocks(self, original: Callable[..., Any], num_blocks: int) -> Any:
        head = [block for block, _ in zip(self.pool.free_block_queue, range(num_blocks))]
        lost = {b.block_id: self._names.pop(b.block_id) for b in head if b.block_hash is not None}
        blocks = original(num_blocks)
        for block in blocks:
            self._marks[block.block_id] = "evicted" if block.block_id in lost else "new"
        for block_id, (owner, index) in lost.items():
            self._story.evicted(block_id, owner, index)
        return blocks

    def _touch(self, original: Callable[..., Any], blocks: Sequence[KVCacheBlock]) -> Any:
        self._marks.update((block.block_id, "hit") for block in blocks)
        return original(blocks)

    def _free_blocks(self, original: Callable[..., Any], blocks: Iterable[KVCacheBlock]) -> Any:
        ordered = list(blocks)
        result = original(ordered)
        freed = [block.block_id for block in ordered if block.ref_cnt == 0]
        kept = [block.block_id for block in ordered if block.ref_cnt]
        self._marks.update(dict.fromkeys(freed, "freed"))
        self._story.freed(self._freeing, freed, kept)
        return result

    def _cache_full_blocks(
        self,
        original: Callable[..., Any],
        blocks: Sequence[KVCacheBlock],
        block_hashes: Sequence[bytes],
        start: int,
        end: int,
    ) -> Any:
        owner = next(r for r, held in self.manager.req_to_blocks.items() if held is blocks)
        result = original(blocks, block_hashes, start, end)
        for index in range(start, end):
            self._names[blocks[index].block_id] = [self._place[owner], index]
        return result

    def _free(self, original: Callable[..., Any], request: Request) -> Any:
        self._freeing = request.request_id
        return original(request)

    # ------------------------------------------------------------------ the step

    def after_schedule(self, record: StepRecord) -> None:
        """Let the audit look, and find out why those wait who wait."""
        super().after_schedule(record)
        self._known.update(self._requests)
        waiting = list(self.scheduler.waiting)
        self._story.scheduled(
            record,
            waiting=[request.request_id for request in waiting],
            num_running=len(self.scheduler.running),
            room=self._room(waiting[0]) if waiting else (0, 0),
        )

    def _room(self, request: Request) -> tuple[int, int]:
        """How many free blocks a waiting request needs to be admitted, and how many there are."""
        hits, _ = self.manager.get_computed_blocks(request)
        # A hit that somebody holds costs nothing; one that nobody holds is among the free.
        shared = sum(block.ref_cnt > 0 for block in hits)
        needed = -(-request.num_tokens // self.manager.block_size) - shared
        return needed, self.pool.get_num_free_blocks()

    def after_update(self, record: StepRecord) -> None:
        """Let the audit look, and add a frame."""
        super().after_update(record)
        arrived = [name for name, fresh in self._arrived.items() if fresh]
        outside = [name for name in self._arrived if name not in self._known]
        events = self._story.told(record, arrived, outside)
        self.lane.frames.append(self._frame(record.index + 1, record, events))
        self._arrived = dict.fromkeys(self._arrived, False)
        self._story = StepStory(self.lane)
        self._marks = {}

    def _frame(self, step: int, record: StepRecord | None, events: list[Event]) -> Frame:
        rows = record.requests if record else {}
        return Frame(
            step=step,
            requests=[self._request(plan, rows.get(plan.name)) for plan in self.lane.requests],
            refs=[block.ref_cnt if not block.is_null else 0 for block in self.pool.blocks],
            names=[self._names.get(block.block_id) for block in self.pool.blocks],
            queue=[block.block_id for block in self.pool.free_block_queue],
            marks=dict(sorted(self._marks.items())),
            events=events,
        )

    def _request(self, plan: RequestPlan, row: Any) -> RequestFrame:
        request = self._known.get(plan.name)
        if request is None:
            return RequestFrame(
                WAITING if plan.name in self._arrived else TO_COME, tokens=plan.prompt
            )
        frame = RequestFrame(
            status=FINISHED if request.is_finished() else _STATUS[request.status],
            before=request.num_computed_tokens,
            computed=request.num_computed_tokens,
            tokens=request.num_tokens,
            blocks=self.manager.get_block_ids(plan.name),
        )
        if row is not None:
            frame.before = row.num_computed_before
            frame.cached, frame.scheduled = row.num_cached_tokens, row.num_scheduled_tokens
            frame.drawn = len(row.sampled_token_ids)
        return frame
