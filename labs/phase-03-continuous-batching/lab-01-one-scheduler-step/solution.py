r"""One step of a scheduler: who runs, and how many tokens each may move.

Two lists and one number. `running` holds those who have a seat, in the order in which they were
admitted; `waiting` holds the others, in the order in which they came; the budget is how many
tokens one step may compute, prompts and answers together. Memory is no concern in this lab: there
is always room (lab 03 takes that away).

A step is planned by four functions, and they are yours. {py:class}`Scheduler`, at the end, is given
and calls them in their order. Run this file to see a few steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Request:
    r"""A request is two counters: `num_computed_tokens` follows `num_tokens`.

    `num_tokens` begins as the length of the prompt and grows by one with each token of the answer,
    until that has `max_tokens`.
    """

    request_id: str
    prompt_token_ids: list[int]
    max_tokens: int = 16
    num_computed_tokens: int = 0
    num_tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_tokens = len(self.prompt_token_ids)


@dataclass(slots=True)
class Plan:
    r"""A step while it is being decided.

    `left` is what remains of the budget. `grants` has the tokens of each request that takes part,
    in the order in which they were reached. `new` has the ids of those that were admitted in this
    step, in that order.
    """

    left: int
    grants: dict[str, int] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Orders:
    r"""What the model runner is told: a diff against what it knows already.

    `grants` says how many tokens to compute for each request, and `starts` the position of the
    first of them. `prompts` has the prompt tokens of those that the runner meets for the first
    time, and of nobody else. `total` is the number of tokens in the step.
    """

    grants: dict[str, int]
    starts: dict[str, int]
    prompts: dict[str, list[int]]
    total: int


def serve_running(plan: Plan, running: Sequence[Request]) -> None:
    r"""Give each running request, in the list's order, all it lacks or all that is left.

    What a request lacks is `num_tokens` less `num_computed_tokens`. A request that gets nothing,
    because it lacks nothing or because nothing is left, has no entry in `plan.grants`; those behind
    it are asked all the same. Writes `plan.left` and `plan.grants`, and changes no request.
    """
    # lab: begin task 1 "serve those who run"
    for request in running:
        share = min(request.num_tokens - request.num_computed_tokens, plan.left)
        if share > 0:
            plan.grants[request.request_id] = share
            plan.left -= share
    # lab: end


def admit_waiting(
    plan: Plan, waiting: deque[Request], running: list[Request], max_num_seqs: int
) -> None:
    r"""Move requests from the head of `waiting` to the end of `running`, and grant them tokens.

    Goes on for as long as somebody waits, a seat is free (at most `max_num_seqs` requests may be
    running) and something is left of the budget. Each newcomer gets all it lacks or all that is
    left, and its id goes into `plan.new`. Nobody is passed over, and nobody is admitted with
    nothing. Changes no request's counters.
    """
    # lab: begin task 2 "admit those who wait"
    while waiting and plan.left and len(running) < max_num_seqs:
        request = waiting.popleft()
        running.append(request)
        share = min(request.num_tokens - request.num_computed_tokens, plan.left)
        plan.grants[request.request_id] = share
        plan.left -= share
        plan.new.append(request.request_id)
    # lab: end


def write_orders(plan: Plan, requests: Mapping[str, Request]) -> Orders:
    r"""Turn a finished plan into orders, with the counters as they stand *before* the step.

    `requests` has every unfinished request by its id. The orders are a message to somebody else:
    what they hold must not change when the plan, or a request's prompt, is changed later. `starts`
    and `grants` have the same keys in the same order. Changes nothing.
    """
    # lab: begin task 3 "write the orders"
    return Orders(
        grants=dict(plan.grants),
        starts={req_id: requests[req_id].num_computed_tokens for req_id in plan.grants},
        prompts={req_id: list(requests[req_id].prompt_token_ids) for req_id in plan.new},
        total=sum(plan.grants.values()),
    )
    # lab: end


def count_as_computed(orders: Orders, requests: Mapping[str, Request]) -> set[str]:
    r"""Move the counter of everybody in `orders` to where this step will leave it.

    Returns the ids of those who draw a token in this step: the ones whose computed tokens have
    caught up with their tokens. Touches nobody who is not in the orders.
    """
    # lab: begin task 4 "count the step as computed"
    draws = set()
    for req_id, share in orders.grants.items():
        request = requests[req_id]
        request.num_computed_tokens += share
        if request.num_computed_tokens == request.num_tokens:
            draws.add(req_id)
    return draws
    # lab: end


class Scheduler:
    r"""Your four functions, as a scheduler. Nothing to fill in here.

    `draws` holds, between {py:meth}`schedule` and {py:meth}`update`, who gets a token out of the
    step that is under way.
    """

    def __init__(self, budget: int, max_num_seqs: int) -> None:
        self.budget = budget
        self.max_num_seqs = max_num_seqs
        self.requests: dict[str, Request] = {}
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.draws: set[str] = set()

    def add_request(self, request: Request) -> None:
        r"""Let a request wait for its first step."""
        self.requests[request.request_id] = request
        self.waiting.append(request)

    def schedule(self) -> Orders:
        r"""Plan one step: running first, then admission, then the orders, then the counters."""
        plan = Plan(self.budget)
        serve_running(plan, self.running)
        admit_waiting(plan, self.waiting, self.running, self.max_num_seqs)
        orders = write_orders(plan, self.requests)
        self.draws = count_as_computed(orders, self.requests)
        return orders

    def update(self) -> list[str]:
        r"""Take the drawn tokens in; returns the ids of those whose answers are complete."""
        ended = []
        for request in list(self.running):
            if request.request_id in self.draws:
                request.num_tokens += 1
                if request.num_tokens == len(request.prompt_token_ids) + request.max_tokens:
                    self.running.remove(request)
                    del self.requests[request.request_id]
                    ended.append(request.request_id)
        return ended


def main() -> None:
    r"""Print the steps of four requests under a budget of ten tokens and three seats."""
    scheduler = Scheduler(budget=10, max_num_seqs=3)
    arrivals = {1: (("a", 5), ("b", 14)), 2: (("c", 3),), 3: (("d", 6),)}
    print("step    a   b   c   d    left   waiting")
    for step in range(1, 7):
        for name, num_tokens in arrivals.get(step, ()):
            scheduler.add_request(Request(name, [0] * num_tokens, max_tokens=3))
        orders = scheduler.schedule()
        cells = [
            f"{orders.grants.get(name, '.')}{'*' if name in scheduler.draws else ' '}"
            for name in "abcd"
        ]
        waiting = " ".join(request.request_id for request in scheduler.waiting)
        row = f"{step:<6}{''.join(f'{cell:>4}' for cell in cells)}{10 - orders.total:>6}"
        print(f"{row}   {waiting}".rstrip())
        scheduler.update()


if __name__ == "__main__":
    main()
