r"""Preemption: who must go when the memory runs out, and what has to be undone.

A request that runs grows by a token a step, and from time to time by a block. When no block is
free, somebody gives all of its own back and waits for its turn again. Nothing is copied anywhere:
it keeps its tokens, and what had been computed of them is computed once more.

Memory is the engine's {py:class}`~mini_vllm.core.kv_cache_manager.KVCacheManager`, of which you
need three methods: `get_computed_blocks(request)`, `allocate_slots(request, n, ...)` and
`free(request)`. Requests and waiting queue are the engine's too; of the queue you need
`peek_request()`, `pop_request()` and `prepend_request(request)`. Yours are the decisions.
{py:class}`Scheduler`, at the end, is given and calls them. Run this file to see a pool run dry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.request_queue import RequestQueue, create_request_queue
from mini_vllm.sampling_params import SamplingParams


@dataclass(slots=True)
class Step:
    r"""A step while it is being decided.

    `left` is what remains of the budget; `grants` has the tokens of each request in the step by its
    id, in the order in which they were reached. `preempted` and `admitted` have those who went and
    those who came, in order.
    """

    left: int
    grants: dict[str, int] = field(default_factory=dict)
    preempted: list[Request] = field(default_factory=list)
    admitted: list[Request] = field(default_factory=list)


def choose_victim(running: Sequence[Request], policy: str) -> Request:
    r"""Who of those that run must go? Changes nothing.

    With `"fcfs"`, the one that was admitted last: the list is in order of admission. With
    `"priority"`, the least urgent: the one with the greatest `priority`, among equals the one with
    the latest `arrival_time`, and if these are equal too, the one that comes first in the list.
    """
    # TODO task 1: choose the victim
    raise NotImplementedError("task 1: choose the victim")


def give_back(victim: Request, waiting: RequestQueue, memory: KVCacheManager) -> None:
    r"""Turn a running request into one that waits, and holds no memory.

    Its status becomes `RequestStatus.PREEMPTED`; it has computed nothing any more, and was
    preempted once more (`num_preemptions`). It keeps its tokens, prompt and answer. It waited its
    turn before, so it goes where the queue puts those that return (`prepend_request`). The list of
    running requests is not your concern here.
    """
    # TODO task 2: give everything back
    raise NotImplementedError("task 2: give everything back")


def take_out(victim: Request, step: Step) -> bool:
    r"""Undo what this step has planned for a victim, and note that it had to go.

    If it had been granted tokens in this step already, it must not be in the step any more, and its
    tokens can be given to others. Returns whether that was so.
    """
    # TODO task 3: take it out of the step
    raise NotImplementedError("task 3: take it out of the step")


def make_room(
    request: Request,
    num_new_tokens: int,
    memory: KVCacheManager,
    preempt_one: Callable[[], tuple[Request, bool]],
) -> tuple[Sequence[Any] | None, int]:
    r"""Get slots for `num_new_tokens` more tokens of a running request, whoever has to go for it.

    Asks `memory.allocate_slots`. While it says `None`, `preempt_one()` takes everything from one
    running request, and returns who it was and whether it was in this step already. If it was
    `request` itself, there is nobody left to take from, or nobody who should go before it: give
    up, and do not ask the memory again.

    Returns the new blocks, or `None` if it gave up; and how many of the victims were in the step
    already. (They stood before `request` in the running list, which is shorter by so many there.)
    Blocks may be an empty sequence: then the request had room in those it holds.
    """
    # TODO task 4: make room, or give up
    raise NotImplementedError("task 4: make room, or give up")


def admit(
    step: Step,
    waiting: RequestQueue,
    running: list[Request],
    memory: KVCacheManager,
    max_num_seqs: int,
) -> None:
    r"""Let waiting requests in, from the head of the queue, while there is room; or nobody at all.

    Nobody, if anybody had to go in this step. Otherwise for as long as somebody waits, something is
    left of the budget and fewer than `max_num_seqs` run:

    - `hits, found = memory.get_computed_blocks(request)`: which blocks of it are cached, and how
      many tokens they hold. The rest of `request.num_tokens`, or what is left of the budget, is its
      grant, and comes off `step.left`.
    - `memory.allocate_slots(request, grant, hits, full_sequence_must_fit=True)` gives it room, or
      `None`. Then it stays where it is, and nobody behind it is asked.
    - Whoever comes in stands last in `running`, has the status `RequestStatus.RUNNING`, counts the
      cached tokens as computed, and is noted in `step.grants` and `step.admitted`.
    """
    # TODO task 5: admit, unless somebody had to go
    raise NotImplementedError("task 5: admit, unless somebody had to go")


def num_computed_again(
    num_prompt_tokens: int, num_output_tokens: int, num_intact_blocks: int, block_size: int
) -> int:
    r"""How many tokens go through the model before a preempted request draws its next one?

    It has a prompt and some answer. When it returns, the first `num_intact_blocks` of its full
    blocks still hold what it wrote there and are found by the prefix cache (0 without one). The
    cache never covers all tokens of a request: its last one is always computed, since the next is
    drawn from its logits, and hits come in whole blocks of `block_size` tokens.
    """
    # TODO task 6: count what is computed again
    raise NotImplementedError("task 6: count what is computed again")


class Scheduler:
    r"""Your functions, as a scheduler over a pool that may be too small. Nothing to fill in here.

    {py:meth}`schedule` plans a step and moves the counters; {py:meth}`update` takes the drawn
    tokens in. `step` is the last step that was planned.
    """

    def __init__(
        self, memory: KVCacheManager, budget: int, max_num_seqs: int, policy: str = "fcfs"
    ) -> None:
        self.memory, self.budget, self.max_num_seqs = memory, budget, max_num_seqs
        self.policy = policy
        self.waiting = create_request_queue(policy)
        self.running: list[Request] = []
        self.step = Step(budget)

    def schedule(self) -> Step:
        r"""Running requests first, each with whatever room it takes; then those who wait."""
        self.step = step = Step(self.budget)
        self._serve_running(step)
        admit(step, self.waiting, self.running, self.memory, self.max_num_seqs)
        for request in self.running:
            request.num_computed_tokens += step.grants.get(request.request_id, 0)
        return step

    def _serve_running(self, step: Step) -> None:
        index = 0
        while index < len(self.running) and step.left:
            request = self.running[index]
            share = min(request.num_tokens - request.num_computed_tokens, step.left)
            new_blocks, num_before = make_room(request, share, self.memory, self._preempt_one)
            if new_blocks is None:
                return
            step.grants[request.request_id] = share
            step.left -= share
            index += 1 - num_before

    def _preempt_one(self) -> tuple[Request, bool]:
        victim = choose_victim(self.running, self.policy)
        self.running.remove(victim)
        give_back(victim, self.waiting, self.memory)
        return victim, take_out(victim, self.step)

    def update(self, draw: Callable[[Request], int]) -> list[str]:
        r"""Append a token to everybody who caught up; returns the ids of those who are done."""
        ended = []
        for request in list(self.running):
            in_step = request.request_id in self.step.grants
            if in_step and request.num_computed_tokens == request.num_tokens:
                request.append_output_token_ids(draw(request))
                if request.num_output_tokens == request.max_tokens:
                    self.running.remove(request)
                    self.memory.free(request)
                    ended.append(request.request_id)
        return ended


def make_request(
    name: str,
    prompt: Iterable[int],
    max_tokens: int,
    memory: KVCacheManager,
    *,
    priority: int = 0,
    arrival_time: float = 0.0,
) -> Request:
    r"""A request as the engine's queue and memory want it; its blocks get names from the memory."""
    params = SamplingParams(max_tokens=max_tokens, ignore_eos=True)
    hasher = memory.block_hasher
    return Request(name, list(prompt), params, arrival_time, priority, block_hasher=hasher)


def main() -> None:
    r"""Print three requests that share six blocks, under both policies."""
    load = (("a", 1, 5, 9), ("b", 2, 7, 0), ("c", 2, 7, 1))
    for policy in ("fcfs", "priority"):
        memory = KVCacheManager(num_gpu_blocks=7, block_size=4, max_model_len=64)
        scheduler = Scheduler(memory, budget=16, max_num_seqs=3, policy=policy)
        if policy == "priority":
            print()
        print(f"{policy:<10}   a   b   c   left   blocks   runs     waits    has to go")
        for number in range(1, 10):
            for place, (name, due, length, priority) in enumerate(load):
                if due == number:
                    prompt = range(100 * place, 100 * place + length)
                    options = {"priority": priority, "arrival_time": float(place)}
                    made = make_request(name, prompt, 5, memory, **options)
                    scheduler.waiting.add_request(made)
            if not scheduler.running and not scheduler.waiting:
                break
            step = scheduler.schedule()
            cells = "".join(f"{step.grants.get(name, '.'):>4}" for name in "abc")
            held = sum(map(len, memory.req_to_blocks.values()))
            runs, waits, went = (
                " ".join(request.request_id for request in group)
                for group in (scheduler.running, scheduler.waiting, step.preempted)
            )
            row = (
                f"{f'step {number}':<10}{cells}{step.left:>7}{held:>9}   {runs:<9}{waits:<9}{went}"
            )
            print(row.rstrip())
            scheduler.update(lambda request: 7000 + request.num_tokens)


if __name__ == "__main__":
    main()
