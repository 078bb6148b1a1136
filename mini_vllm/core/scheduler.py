r"""Who runs in the next step, and how far?

On a GPU a step of the model costs nearly the same for one token as for a hundred, because most of
its time goes into reading the weights. So a server does not run one request at a time, nor does it
wait until a batch is full. Before *every* step it asks anew who is there, and gives each a number
of tokens. That is continuous batching: the batch is decided per step, and a request joins when
there is room and leaves when it is done, and nobody's answer is stopped for it.

## One rule for prompts and answers

The scheduler has no notion of prefill or decode. It sees
{py:class}`requests <mini_vllm.core.request.Request>` as two counters, and asks each one that it
reaches: how far may `num_computed_tokens` move toward `num_tokens` in this step? A prompt of 500
tokens that has just arrived says 500. A request in the middle of its answer says 1. The answers
are added up against one budget, `max_num_batched_tokens`, and when the budget is gone the step is
full ({up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"decoding phase"` says the same, in
nearly these words).

From this follows most of what has a name of its own elsewhere. A *chunked prefill* is what the
rule does to a prompt that is longer than the budget's rest: it gets the rest, and asks again in
the next step. A *mixed batch* is what it does when some requests say 1 and one says 500. A
*prefix-cache hit* moves the computed counter before anything is computed. Recovering from a
*preemption* is a long prompt.

## Running first

The requests that run already are asked before those that wait, in the order in which they were
admitted. A prompt that was cut took all that was left of its step, so nobody was admitted after
it, and it stands last. So decodes take their one token each from the top of the budget, and
prompts get what is left. (With a `long_prefill_token_threshold` a cut prompt leaves room for
others to come in behind it, and is then served before them.) Turn this round, prompts first, and a
steady stream of arrivals stops every answer that is under way. An engine may well be built so
([nano-vllm, issue 73](https://github.com/GeeeekExplorer/nano-vllm/issues/73), says that its steps
carry either new prompts or decodes); a test keeps it out of here.

Then the waiting ones, in the queue's order, until the budget is spent, or `max_num_seqs` run, or
one does not fit. At the first that does not fit, admission stops for this step. A smaller one
behind it might fit, but if it were let by, a big request could wait for ever.

## When the memory runs out

A running request may need a new block when none is free. Then somebody must step back, and the
choice is policy. First come, first served: the request at the end of the running list, admitted
last. By priority: the one with the greatest `(priority, arrival_time)`. The victim gives all its
blocks back, its computed counter returns to 0, and it goes back to the waiting queue with its
tokens, to the head of it, or under priorities to the place that its priority gives it
({up}`vllm/v1/core/sched/request_queue.py#PriorityRequestQueue.prepend_request`); nothing is copied
to the host. Its blocks keep their names, so unless they are
overwritten meanwhile, most of the "recomputation" is a prefix hit. If the victim is the very
request that asked, the running loop stops there
({up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"No more request to preempt"`). First come,
first served, it was the last in the list. Under priorities somebody may stand behind it, and gets
nothing in this step, although the victim's blocks are free by now.

Under the priority policy the victim may stand *before* the request that needs the block, and may
have been given tokens in this very step. Then it must be taken out of the step as well, its tokens
go back to the budget, and the position in the list moves down by one
({up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"token_budget += "`).

One thing more has to be undone, and at the pin it is not. A block is findable from the moment in
which room for its last token is granted. A victim of this kind leaves behind blocks that carry a
name and were never written; whoever finds one, the victim itself when it comes back, reads what lay
there before, and no assertion notices. Here the names go with the tokens
({py:meth}`~mini_vllm.core.kv_cache_manager.KVCacheManager.forget_uncomputed`).

After any preemption no waiting request is admitted in that step. The pool has just proved to be
too small for those that run already; whoever came in would be the next victim.

## The counter moves before the model runs

{py:meth}`Scheduler.schedule` advances `num_computed_tokens` itself, at its end, before a single
number has been computed. It can afford to, since a step either happens as ordered or the engine is
dead, and it is what allows the next step to be planned while this one still runs. But it means
that between `schedule` and `update_from_output` the counter says what *will* be true. The orders
for the runner are therefore written before the advance: they tell it from which position to start.

{py:meth}`Scheduler.update_from_output` then looks only at tokens. A request whose counter caught
up in this step has one drawn token; it is appended, the
{py:mod}`stopping rules <mini_vllm.core.stopping>` are asked, and a finished request gives its
blocks back. A request in the middle of its prompt has none: {inv}`needs-sample`.

## What is left out

The same file upstream is long, because it also carries images
({up}`vllm/v1/core/sched/scheduler.py#Scheduler._try_schedule_encoder_inputs`), drafts
({up}`vllm/v1/core/sched/scheduler.py#Scheduler.update_draft_token_ids`), keys and values from
elsewhere ({up}`vllm/v1/core/sched/scheduler.py#Scheduler._update_from_kv_xfer_finished`), grammars
({up}`vllm/v1/core/sched/scheduler.py#Scheduler.get_grammar_bitmask`), adapters, and sessions whose
input arrives in pieces. Take those branches out, and what is left decides as this file does, step
for step. With its defaults a GPU runs a subclass of it that plans one step ahead
({up}`vllm/v1/core/sched/async_scheduler.py#AsyncScheduler`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core import scheduler_invariants
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.request_queue import create_request_queue
from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.core.stats import EngineCoreEventType, SchedulerStats
from mini_vllm.core.step_plan import StepPlan
from mini_vllm.core.stopping import check_stop
from mini_vllm.errors import RequestError


class Scheduler:
    r"""Decides every step: who runs, how many tokens each may move, and who must give way.

    Holds every unfinished request in `requests` by id, and each of them in exactly one of
    `waiting` and `running` ({inv}`one-home`). Owns the
    {py:class}`~mini_vllm.core.kv_cache_manager.KVCacheManager`. Knows no model and no text; drive
    it by hand with {py:meth}`add_request`, {py:meth}`schedule` and {py:meth}`update_from_output`.

    `num_gpu_blocks` is the pool's size, null block included; it overrides the config's.
    Upstream: {up}`vllm/v1/core/sched/scheduler.py#Scheduler`.
    """

    invariant_owner = scheduler_invariants.OWNER

    def __init__(
        self, scheduler_config: SchedulerConfig, cache_config: CacheConfig, num_gpu_blocks: int
    ) -> None:
        self.scheduler_config = scheduler_config
        self.cache_config = cache_config
        self.policy = scheduler_config.policy
        self.max_num_running_reqs = scheduler_config.max_num_seqs
        self.max_num_scheduled_tokens = scheduler_config.max_num_batched_tokens
        self.max_model_len = scheduler_config.max_model_len
        self.kv_cache_manager = KVCacheManager(
            num_gpu_blocks=num_gpu_blocks,
            block_size=cache_config.block_size,
            max_model_len=self.max_model_len,
            enable_caching=cache_config.enable_prefix_caching,
        )
        self.requests: dict[str, Request] = {}
        self.waiting = create_request_queue(self.policy)
        self.running: list[Request] = []
        # Ended since the last step was planned: the runner must still hear of them.
        self.finished_req_ids: set[str] = set()
        # What has happened since the last make_stats.
        self._stats = SchedulerStats()

    # ------------------------------------------------------------------ in

    def add_request(self, request: Request) -> None:
        r"""Let a request wait for its first step.

        Raises {py:class}`~mini_vllm.errors.RequestError`, and changes nothing, when its id is in
        use or when it can never be served: an empty prompt, one that leaves no room for an answer,
        or one whose prompt and answer together need more blocks than the pool has. Such a request
        would wait, or preempt itself, for ever. (Upstream has no such check here: it refuses to
        start with a pool in which `max_model_len` tokens do not fit,
        {up}`vllm/v1/core/kv_cache_utils.py#check_enough_kv_cache_memory`. Its sum leaves out block
        0, so a pool that is too small by that one block passes it.)
        """
        if request.request_id in self.requests:
            raise RequestError(
                f"request id {request.request_id!r} is in use by an unfinished request",
                parameter="request_id",
                value=request.request_id,
            )
        self._check_fits(request)
        hasher = self.kv_cache_manager.block_hasher
        if hasher is not None and not request.has_block_hasher:
            request.set_block_hasher(hasher)
        self.requests[request.request_id] = request
        self.waiting.add_request(request)
        request.record_event(EngineCoreEventType.QUEUED)

    @property
    def max_num_tokens(self) -> int:
        r"""How many tokens a request alone in the engine could reach, prompt and answer together.

        The last token of an answer is never computed, so it needs no slot in the cache.
        """
        manager = self.kv_cache_manager
        num_slots = (manager.block_pool.num_gpu_blocks - 1) * manager.block_size
        return min(self.max_model_len, num_slots + 1)

    def _check_fits(self, request: Request) -> None:
        num_prompt_tokens = request.num_prompt_tokens
        if num_prompt_tokens == 0:
            raise RequestError("the prompt has no tokens", parameter="prompt", value=[])
        if num_prompt_tokens >= self.max_model_len:
            raise RequestError(
                f"the prompt has {num_prompt_tokens} tokens; with max_model_len="
                f"{self.max_model_len} it may have at most {self.max_model_len - 1}",
                parameter="prompt",
                value=num_prompt_tokens,
            )
        num_tokens = int(min(num_prompt_tokens + request.max_tokens, self.max_model_len))
        if num_tokens > self.max_num_tokens:
            block_size = self.kv_cache_manager.block_size
            raise RequestError(
                f"{num_prompt_tokens} prompt tokens and max_tokens={request.max_tokens} need "
                f"{-(-(num_tokens - 1) // block_size)} blocks of {block_size} tokens; "
                f"the KV cache has {self.kv_cache_manager.block_pool.num_gpu_blocks - 1}",
                parameter="max_tokens",
                value=request.max_tokens,
            )

    # ------------------------------------------------------------------ plan

    def schedule(self) -> SchedulerOutput:
        r"""Plan one step, and count it as computed.

        Running requests first, then waiting ones, all from one budget. Returns the orders for the
        model runner, with `num_computed_tokens` as they are *before* the step; afterwards each
        request's counter stands where the step will leave it.
        Upstream: {up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule`.
        """
        plan = StepPlan(self.max_num_scheduled_tokens)
        self._schedule_running(plan)
        if not plan.preempted:
            self._schedule_waiting(plan)
        output = self._make_output(plan)
        self._update_after_schedule(output)
        return output

    def _schedule_running(self, plan: StepPlan) -> None:
        """Give each running request its next tokens, taking blocks from others where it must."""
        threshold = self.scheduler_config.long_prefill_token_threshold
        allocate_slots = self.kv_cache_manager.allocate_slots
        last_position = self.max_model_len - 1
        req_index = 0
        while req_index < len(self.running) and plan.token_budget > 0:
            request = self.running[req_index]
            num_computed_tokens = request.num_computed_tokens
            num_new_tokens = request.num_tokens - num_computed_tokens
            if 0 < threshold < num_new_tokens:
                num_new_tokens = threshold
            num_new_tokens = min(
                num_new_tokens, plan.token_budget, last_position - num_computed_tokens
            )
            if num_new_tokens <= 0:
                # Nothing to move. The others behind it may still run, so this is no `break`.
                req_index += 1
                continue

            while (new_blocks := allocate_slots(request, num_new_tokens)) is None:
                victim, was_scheduled = self._preempt_one(plan)
                if was_scheduled:
                    # It stood before us in the list, which is now one shorter.
                    req_index -= 1
                if victim is request:
                    break
            if new_blocks is None:
                # It gave its own blocks back and still does not fit: the step is full, as upstream.
                break

            plan.running.append(request)
            plan.num_scheduled_tokens[request.request_id] = num_new_tokens
            plan.new_blocks[request.request_id] = new_blocks
            plan.token_budget -= num_new_tokens
            req_index += 1

    def _schedule_waiting(self, plan: StepPlan) -> None:
        """Admit waiting requests in the queue's order, until one does not fit."""
        config = self.scheduler_config
        manager = self.kv_cache_manager
        counts_hits = manager.enable_caching
        while self.waiting and plan.token_budget > 0:
            if len(self.running) == self.max_num_running_reqs:
                break
            request = self.waiting.peek_request()
            hit_blocks, num_computed_tokens = manager.get_computed_blocks(request)
            # Not `num_prompt_tokens`: after a preemption the answer so far is recomputed too.
            num_new_tokens = request.num_tokens - num_computed_tokens
            if 0 < config.long_prefill_token_threshold < num_new_tokens:
                num_new_tokens = config.long_prefill_token_threshold
            if num_new_tokens > plan.token_budget:
                if not config.enable_chunked_prefill:
                    break
                num_new_tokens = plan.token_budget

            new_blocks = manager.allocate_slots(
                request,
                num_new_tokens,
                new_computed_blocks=hit_blocks,
                full_sequence_must_fit=config.scheduler_reserve_full_isl,
            )
            if new_blocks is None:
                break

            self.waiting.pop_request()
            self.running.append(request)
            if request.status == RequestStatus.PREEMPTED:
                plan.resumed.append(request)
            else:
                plan.new.append(request)
            if request.num_output_tokens == 0:
                request.num_cached_tokens = num_computed_tokens
            if request.num_preemptions == 0 and counts_hits:
                self._stats.prefix_cache_queries += request.num_tokens
                self._stats.prefix_cache_hits += num_computed_tokens
            request.record_event(EngineCoreEventType.SCHEDULED)
            request.status = RequestStatus.RUNNING
            request.num_computed_tokens = num_computed_tokens
            plan.num_scheduled_tokens[request.request_id] = num_new_tokens
            plan.token_budget -= num_new_tokens

    def _preempt_one(self, plan: StepPlan) -> tuple[Request, bool]:
        """Take the blocks of the least entitled running request; was it already in this step?"""
        if self.policy == "priority":
            victim = max(self.running, key=lambda r: (r.priority, r.arrival_time))
            self.running.remove(victim)
        else:
            victim = self.running.pop()
        self.kv_cache_manager.forget_uncomputed(victim)
        self.kv_cache_manager.free(victim)
        victim.status = RequestStatus.PREEMPTED
        victim.num_computed_tokens = 0
        victim.num_preemptions += 1
        victim.record_event(EngineCoreEventType.PREEMPTED)
        self._stats.num_preempted_reqs += 1
        self.waiting.prepend_request(victim)
        plan.preempted.append(victim)

        num_refunded = plan.num_scheduled_tokens.pop(victim.request_id, None)
        if num_refunded is None:
            return victim, False
        plan.token_budget += num_refunded
        plan.running.remove(victim)
        del plan.new_blocks[victim.request_id]
        return victim, True

    def _make_output(self, plan: StepPlan) -> SchedulerOutput:
        """Write the orders, with the counters as they are before the step."""
        get_block_ids = self.kv_cache_manager.get_block_ids
        new_reqs = [NewRequestData.from_request(r, get_block_ids(r.request_id)) for r in plan.new]
        cached = CachedRequestData()
        for request in plan.running:
            new_blocks = plan.new_blocks[request.request_id]
            cached.req_ids.append(request.request_id)
            cached.new_token_ids.append([])
            cached.new_block_ids.append([b.block_id for b in new_blocks] if new_blocks else None)
            cached.num_computed_tokens.append(request.num_computed_tokens)
            cached.num_output_tokens.append(request.num_output_tokens)
        for request in plan.resumed:
            req_id, start = request.request_id, request.num_computed_tokens
            tokens = list(request.all_token_ids)
            cached.req_ids.append(req_id)
            cached.resumed_req_ids.add(req_id)
            cached.all_token_ids[req_id] = tokens
            cached.new_token_ids.append(tokens[start : start + plan.num_scheduled_tokens[req_id]])
            cached.new_block_ids.append(get_block_ids(req_id))
            cached.num_computed_tokens.append(start)
            cached.num_output_tokens.append(request.num_output_tokens)
        return SchedulerOutput(
            scheduled_new_reqs=new_reqs,
            scheduled_cached_reqs=cached,
            num_scheduled_tokens=plan.num_scheduled_tokens,
            total_num_scheduled_tokens=self.max_num_scheduled_tokens - plan.token_budget,
            finished_req_ids=self.finished_req_ids,
            preempted_req_ids={request.request_id for request in plan.preempted},
        )

    def _update_after_schedule(self, output: SchedulerOutput) -> None:
        """Advance the counters, and forget whom the orders have reported as finished."""
        for req_id, num_tokens in output.num_scheduled_tokens.items():
            request = self.requests[req_id]
            request.num_computed_tokens += num_tokens
            request.is_prefill_chunk = request.num_computed_tokens < request.num_tokens
        # A new set: the orders keep the old one.
        self.finished_req_ids = set()

    # ------------------------------------------------------------------ out

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> list[EngineCoreOutput]:
        r"""Take in the tokens that were drawn; return the news of each request that has any.

        Appends each token, asks whether the request ends with it, and gives the blocks of those
        that did back. A request that was aborted while the model ran is passed over. Only what
        grew has a message: a prompt chunk has none.
        Upstream: {up}`vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output`.
        """
        outputs: list[EngineCoreOutput] = []
        stopped: set[Request] = set()
        self._stats.cudagraph_stats = model_runner_output.cudagraph_stats
        sampled_token_ids = model_runner_output.sampled_token_ids
        row_of, logprobs = model_runner_output.req_id_to_index, model_runner_output.logprobs
        # Up to a thousand requests a step: nothing in here may look at all of them again.
        for req_id in scheduler_output.num_scheduled_tokens:
            request = self.requests.get(req_id)
            if request is None:
                continue
            new_token_ids = sampled_token_ids[row_of[req_id]]
            if not new_token_ids:
                continue
            is_first = request.num_output_tokens == 0
            new_token_ids, has_stopped = self._update_request_with_output(request, new_token_ids)
            output = EngineCoreOutput(req_id, new_token_ids)
            if is_first:
                output.num_cached_tokens = request.num_cached_tokens
            if request.events:
                output.events = request.take_events()
            if logprobs is not None and request.sampling_params.logprobs is not None:
                output.new_logprobs = logprobs[req_id][: len(new_token_ids)]
            if has_stopped:
                output.finish_reason = request.get_finished_reason()
                output.stop_reason = request.stop_reason
                self._free_request(request)
                stopped.add(request)
            outputs.append(output)
        if stopped:
            self._remove_from_running(stopped)
        return outputs

    def _update_request_with_output(
        self, request: Request, new_token_ids: list[int]
    ) -> tuple[list[int], bool]:
        """Append tokens one by one until one of them ends the request; the rest are dropped."""
        for count, token_id in enumerate(new_token_ids, 1):
            request.append_output_token_ids(token_id)
            if check_stop(request, self.max_model_len):
                return new_token_ids[:count], True
        return new_token_ids, False

    def finish_requests(
        self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus
    ) -> list[str]:
        r"""End requests from outside; `None` means all. Returns the ids of those still alive.

        For a client that went away, or a stop string that was found in the text. Unknown and
        finished ids are passed over: between a client's decision and this call the request may
        have ended by itself.
        Upstream: {up}`vllm/v1/core/sched/scheduler.py#Scheduler.finish_requests`.
        """
        if not RequestStatus.is_finished(finished_status):
            raise ValueError(f"{finished_status} does not end a request")
        if request_ids is None:
            request_ids = list(self.requests)
        elif isinstance(request_ids, str):
            request_ids = (request_ids,)
        # dict.fromkeys: each once, and in the caller's order.
        ids = [req_id for req_id in dict.fromkeys(request_ids) if req_id in self.requests]
        finished = [self.requests[req_id] for req_id in ids]
        running = {request for request in finished if request.status == RequestStatus.RUNNING}
        waiting = {request for request in finished if request.status != RequestStatus.RUNNING}
        if running:
            self._remove_from_running(running)
        if waiting:
            self.waiting.remove_requests(waiting)
        for request in finished:
            request.status = finished_status
            self._free_request(request)
        return ids

    def _remove_from_running(self, gone: set[Request]) -> None:
        """Shorten `running` in one pass; the usual case, a single request, without a new list."""
        if len(gone) == 1:
            self.running.remove(next(iter(gone)))
        else:
            self.running = [request for request in self.running if request not in gone]

    def _free_request(self, request: Request) -> None:
        """Give the blocks back, and remember to tell the runner."""
        self.kv_cache_manager.free(request)
        self.finished_req_ids.add(request.request_id)
        del self.requests[request.request_id]

    # ------------------------------------------------------------------ state

    def get_request_counts(self) -> tuple[int, int]:
        """How many requests run, and how many wait."""
        return len(self.running), len(self.waiting)

    def make_stats(self, *, consume: bool = True) -> SchedulerStats:
        r"""Photograph the scheduler; the counts begin anew, unless told not to `consume` them.

        Upstream: {up}`vllm/v1/core/sched/scheduler.py#Scheduler.make_stats`.
        """
        stats = copy.copy(self._stats)
        stats.num_running_reqs = len(self.running)
        stats.num_waiting_reqs = len(self.waiting)
        stats.kv_cache_usage = self.kv_cache_manager.usage
        stats.num_free_blocks = self.kv_cache_manager.block_pool.get_num_free_blocks()
        if consume:
            self._stats = SchedulerStats()
        return stats

    def has_unfinished_requests(self) -> bool:
        """Whether anyone still waits for a token."""
        return bool(self.requests)

    def has_requests(self) -> bool:
        r"""Whether a step is worth taking.

        True also when all have ended and the runner has not been told: the last step is an empty
        one.
        """
        return bool(self.requests) or bool(self.finished_req_ids)

    def reset_prefix_cache(self) -> bool:
        """Forget every cached prefix; refused with `False` while a request holds a block."""
        return self.kv_cache_manager.reset_prefix_cache()
