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
        # TODO task 1: ask those that run
        raise NotImplementedError("task 1: ask those that run")

    def give_way(self, step: Step) -> tuple[Request, bool]:
        r"""Preempt one running request; return it, and whether it had tokens in this step already.

        Under `config.policy == "fcfs"` it is the last of the list, under `"priority"` the one with
        the greatest `(priority, arrival_time)`; of equals, the one that stands first. It gives its
        blocks back (`cache.free`), has computed nothing any more, is `RequestStatus.PREEMPTED` with
        one preemption more in `num_preemptions`, and waits again: `waiting.prepend_request`. It is
        noted in `step.preempted`. Tokens that it had in this step return to the budget, and
        nothing of it stays in the step.
        """
        # TODO task 2: make one give way
        raise NotImplementedError("task 2: make one give way")

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
        # TODO task 3: admit those that wait
        raise NotImplementedError("task 3: admit those that wait")

    def write_orders(self, step: Step) -> Orders:
        r"""Turn a step into orders, and then count it as computed.

        {py:class}`Orders` says what they hold; `cache.get_block_ids(request_id)` is a whole table.
        Afterwards the computed counter of each request in the step stands where the step will leave
        it, and `finished` is empty. The orders keep the ids that were in it.
        """
        # TODO task 4: write the orders and move the counters
        raise NotImplementedError("task 4: write the orders and move the counters")

    def update(self, orders: Orders, drawn: dict[str, int]) -> list[tuple[str, int, str | None]]:
        r"""Take in the drawn tokens; return `(id, token, why it ended or None)` for each of them.

        `drawn` has a token for each request whose counter caught up. News come in the order of
        `orders.granted`, and a request that was aborted while the model ran has none. Append with
        `append_output_token_ids`. `check_stop(request, max_model_len)` says whether it ends, and
        `str(request.get_finished_reason())` why; who has ended goes to `end`.
        """
        # TODO task 5: take in what was drawn
        raise NotImplementedError("task 5: take in what was drawn")

    def end(self, request: Request) -> None:
        r"""Let go of a request, whether it runs or waits, and whatever its status is by now.

        Nobody knows it afterwards. Its blocks are free, and its id is in `finished`.
        """
        # TODO task 6: let go of a request
        raise NotImplementedError("task 6: let go of a request")

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
