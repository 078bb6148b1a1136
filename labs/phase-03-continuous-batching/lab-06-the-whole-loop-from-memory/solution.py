r"""The scheduler's whole loop: plan a step, take in what it drew, let go of who is done.

Given are the engine's `Request`, its `KVCacheManager`, its waiting queue in two kinds, and the
rules that end an answer. They are asked, never changed. What you write decides, and has to decide
what vLLM 0.22.1 decides, request by request and block by block.

Run this file to see a step or two of a crowded engine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mini_vllm.config import SchedulerConfig
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.request_queue import create_request_queue
from mini_vllm.core.stopping import check_stop
from mini_vllm.sampling_params import SamplingParams


@dataclass
class Step:
    r"""A step while it is being decided.

    `budget` is what is left of it. `granted` has the tokens of each request, by id, in the order
    in which they were reached. `running`, `new` and `resumed` are the requests behind these ids:
    who ran before, who starts, who comes back after a preemption. `fresh` has the block ids that a
    *running* request was given in this step. `preempted` are the victims, in the order of choice.
    """

    budget: int
    granted: dict[str, int] = field(default_factory=dict)
    running: list[Request] = field(default_factory=list)
    new: list[Request] = field(default_factory=list)
    resumed: list[Request] = field(default_factory=list)
    fresh: dict[str, list[int]] = field(default_factory=dict)
    preempted: list[Request] = field(default_factory=list)


@dataclass
class Orders:
    r"""What the model runner is told.

    `granted` is the step's. `starts` says for each of these ids where its tokens begin, which is
    how many were computed *before* the step. `blocks` has, for a request that ran before, the
    block ids it was given now, perhaps none; for one that starts or comes back, its whole table.
    `new`, `resumed` and `preempted` are ids in the step's order. `finished` are the ids that have
    ended since the last orders were written.
    """

    granted: dict[str, int]
    starts: dict[str, int]
    blocks: dict[str, list[int]]
    new: list[str]
    resumed: list[str]
    preempted: list[str]
    finished: set[str]


class Scheduler:
    r"""Who runs in the next step, and how far.

    `requests` has every request that has not ended, by id. Each is either in `waiting`, a queue
    that knows its policy, or in `running`, a list in the order of admission. `finished` collects
    ids for the next orders.
    """

    def __init__(self, config: SchedulerConfig, cache: KVCacheManager) -> None:
        self.config = config
        self.cache = cache
        self.requests: dict[str, Request] = {}
        self.waiting = create_request_queue(config.policy)
        self.running: list[Request] = []
        self.finished: set[str] = set()

    def add(self, request: Request) -> None:
        r"""Let a request wait for its first step."""
        if self.cache.block_hasher is not None:
            request.set_block_hasher(self.cache.block_hasher)
        self.requests[request.request_id] = request
        self.waiting.add_request(request)

    def schedule(self) -> Orders:
        r"""Plan one step: those that run, those that wait, the orders."""
        step = Step(self.config.max_num_batched_tokens)
        self.ask_running(step)
        self.ask_waiting(step)
        return self.write_orders(step)

    def ask_running(self, step: Step) -> None:
        r"""Grant the running requests their tokens, in the order of the list.

        A request asks for all that it has not computed, and gets at most
        `config.long_prefill_token_threshold` (0: no such cap), at most what is left of the budget,
        and never so much that more than `config.max_model_len - 1` are computed. One that may move
        by nothing is passed over; those behind it are asked.

        A grant needs room: `cache.allocate_slots(request, tokens)` returns the new blocks, or
        `None`. On `None` somebody has to `give_way`, as often as it takes. If that becomes the
        request itself, the loop ends there and nobody behind it is asked. A grant is noted in
        `step.granted`, `step.running`, `step.fresh` and `step.budget`. The loop ends with the
        budget as well.
        """
        # lab: begin task 1 "ask those that run"
        index = 0
        while index < len(self.running) and step.budget > 0:
            request = self.running[index]
            computed = request.num_computed_tokens
            tokens = request.num_tokens - computed
            if self.config.long_prefill_token_threshold > 0:
                tokens = min(tokens, self.config.long_prefill_token_threshold)
            tokens = min(tokens, step.budget, self.config.max_model_len - 1 - computed)
            if tokens <= 0:
                index += 1
                continue
            while (blocks := self.cache.allocate_slots(request, tokens)) is None:
                victim, had_tokens = self.give_way(step)
                if had_tokens:
                    index -= 1
                if victim is request:
                    return
            step.granted[request.request_id] = tokens
            step.running.append(request)
            step.fresh[request.request_id] = [block.block_id for block in blocks]
            step.budget -= tokens
            index += 1
        # lab: end

    def give_way(self, step: Step) -> tuple[Request, bool]:
        r"""Preempt one running request; return it, and whether it had tokens in this step already.

        Under `config.policy == "fcfs"` it is the last of the list, under `"priority"` the one with
        the greatest `(priority, arrival_time)`; of equals, the one that stands first. It gives its
        blocks back (`cache.free`), has computed nothing any more, is `RequestStatus.PREEMPTED` with
        one preemption more in `num_preemptions`, and waits again: `waiting.prepend_request`. It is
        noted in `step.preempted`. Tokens that it had in this step return to the budget, and
        nothing of it stays in the step.
        """
        # lab: begin task 2 "make one give way"
        victim = self.running[-1]
        if self.config.policy == "priority":
            victim = max(self.running, key=lambda one: (one.priority, one.arrival_time))
        self.running.remove(victim)
        self.cache.free(victim)
        victim.status = RequestStatus.PREEMPTED
        victim.num_computed_tokens = 0
        victim.num_preemptions += 1
        self.waiting.prepend_request(victim)
        step.preempted.append(victim)
        if victim.request_id not in step.granted:
            return victim, False
        step.budget += step.granted.pop(victim.request_id)
        step.running.remove(victim)
        del step.fresh[victim.request_id]
        return victim, True
        # lab: end

    def ask_waiting(self, step: Step) -> None:
        r"""Admit waiting requests in the queue's order, until one cannot be.

        Nobody is admitted in a step that has preempted somebody, without budget, or while
        `config.max_num_seqs` requests run. For the next in line, `cache.get_computed_blocks` says
        which blocks are cached, and how many tokens they hold. It asks for all tokens behind
        these, capped by the threshold as in `ask_running`. If that is more than the budget it gets
        the budget, or with `config.enable_chunked_prefill` off nothing: admission ends.

        Room is asked for with the hits as `new_computed_blocks` and with
        `full_sequence_must_fit=config.scheduler_reserve_full_isl`; if there is none, admission
        ends. Else it leaves the queue, runs, and has computed its hits. It is noted in
        `step.granted` and the budget, and in `step.resumed` if it was preempted before, else in
        `step.new`.
        """
        # lab: begin task 3 "admit those that wait"
        while self.waiting and step.budget > 0 and not step.preempted:
            if len(self.running) == self.config.max_num_seqs:
                return
            request = self.waiting.peek_request()
            hits, computed = self.cache.get_computed_blocks(request)
            tokens = request.num_tokens - computed
            if self.config.long_prefill_token_threshold > 0:
                tokens = min(tokens, self.config.long_prefill_token_threshold)
            if tokens > step.budget and not self.config.enable_chunked_prefill:
                return
            tokens = min(tokens, step.budget)
            reserve = self.config.scheduler_reserve_full_isl
            if self.cache.allocate_slots(request, tokens, hits, reserve) is None:
                return
            self.running.append(self.waiting.pop_request())
            preempted = request.status == RequestStatus.PREEMPTED
            (step.resumed if preempted else step.new).append(request)
            request.status = RequestStatus.RUNNING
            request.num_computed_tokens = computed
            step.granted[request.request_id] = tokens
            step.budget -= tokens
        # lab: end

    def write_orders(self, step: Step) -> Orders:
        r"""Turn a step into orders, and then count it as computed.

        {py:class}`Orders` says what they hold; `cache.get_block_ids(request_id)` is a whole table.
        Afterwards the computed counter of each request in the step stands where the step will leave
        it, and `finished` is empty. The orders keep the ids that were in it.
        """
        # lab: begin task 4 "write the orders and move the counters"
        comers = [*step.new, *step.resumed]
        orders = Orders(
            granted=step.granted,
            starts={id: self.requests[id].num_computed_tokens for id in step.granted},
            blocks=step.fresh
            | {one.request_id: self.cache.get_block_ids(one.request_id) for one in comers},
            new=[request.request_id for request in step.new],
            resumed=[request.request_id for request in step.resumed],
            preempted=[request.request_id for request in step.preempted],
            finished=self.finished,
        )
        for request_id, tokens in step.granted.items():
            self.requests[request_id].num_computed_tokens += tokens
        self.finished = set()
        return orders
        # lab: end

    def update(self, orders: Orders, drawn: dict[str, int]) -> list[tuple[str, int, str | None]]:
        r"""Take in the drawn tokens; return `(id, token, why it ended or None)` for each of them.

        `drawn` has a token for each request whose counter caught up. News come in the order of
        `orders.granted`, and a request that was aborted while the model ran has none. Append with
        `append_output_token_ids`. `check_stop(request, max_model_len)` says whether it ends, and
        `str(request.get_finished_reason())` why; who has ended goes to `end`.
        """
        # lab: begin task 5 "take in what was drawn"
        news: list[tuple[str, int, str | None]] = []
        for request_id in orders.granted:
            request = self.requests.get(request_id)
            if request is None or request_id not in drawn:
                continue
            request.append_output_token_ids(drawn[request_id])
            reason = None
            if check_stop(request, self.config.max_model_len):
                reason = str(request.get_finished_reason())
                self.end(request)
            news.append((request_id, drawn[request_id], reason))
        return news
        # lab: end

    def end(self, request: Request) -> None:
        r"""Let go of a request, whether it runs or waits, and whatever its status is by now.

        Nobody knows it afterwards. Its blocks are free, and its id is in `finished`.
        """
        # lab: begin task 6 "let go of a request"
        if request in self.running:
            self.running.remove(request)
        else:
            self.waiting.remove_requests([request])
        self.cache.free(request)
        del self.requests[request.request_id]
        self.finished.add(request.request_id)
        # lab: end

    def abort(self, request_id: str) -> None:
        r"""End a request whose caller went away; an unknown id is no news."""
        request = self.requests.get(request_id)
        if request is not None:
            request.status = RequestStatus.FINISHED_ABORTED
            self.end(request)


def main() -> None:
    r"""Print the steps of three requests over a pool of six usable blocks of four tokens."""
    config = SchedulerConfig(
        max_model_len=64, max_num_batched_tokens=8, max_num_seqs=4, policy="priority"
    )
    scheduler = Scheduler(config, KVCacheManager(7, 4, 64))
    print("step  granted              waiting    preempted  free")
    for number in range(1, 15):
        for name, step, length, priority in (("a", 1, 6, 1), ("b", 1, 7, 0), ("c", 3, 5, 0)):
            if step == number:
                prompt = [100 * ord(name) + place for place in range(length)]
                params = SamplingParams(max_tokens=8)
                scheduler.add(Request(name, prompt, params, float(number), priority))
        orders = scheduler.schedule()
        granted = " ".join(f"{name}+{tokens}" for name, tokens in orders.granted.items())
        waiting = " ".join(request.request_id for request in scheduler.waiting)
        free = scheduler.cache.block_pool.get_num_free_blocks()
        print(f"{number:4}  {granted:<21}{waiting:<11}{' '.join(orders.preempted):<11}{free}")
        caught_up = [
            request.request_id
            for request in scheduler.running
            if request.num_computed_tokens == request.num_tokens
        ]
        scheduler.update(orders, dict.fromkeys(caught_up, 7))


if __name__ == "__main__":
    main()
