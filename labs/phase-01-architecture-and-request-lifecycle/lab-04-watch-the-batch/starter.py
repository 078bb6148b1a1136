r"""Watch an engine's batch from outside: who is in each step, with how much, and why not more.

One budget a step, and everybody wants some of it. You put a window into the engine without
changing what it does, write down each step as it is planned, and find in the record what a single
budget does: decodes and pieces of prompts side by side, requests that join and leave in the middle
of each other's answers, and books that balance to the token.

{py:class}`Watch` and {py:func}`picture` at the end are given: they put your functions together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.scheduler_output import SchedulerOutput

from labkit import engines


class Seat(NamedTuple):
    r"""One unfinished request in one step, as the step was planned.

    `wanted` is how many of its tokens were not computed when it was asked, `got` how many it may
    compute in this step, 0 if it was passed over. `computed` is the counter after planning, so it
    includes `got`. `num_output_tokens` is the length of its answer when the step began.
    """

    req_id: str
    status: str
    wanted: int
    got: int
    computed: int
    num_output_tokens: int


class Movement(NamedTuple):
    r"""Who came and went between two steps; ids, each set possibly empty."""

    joined: set[str]
    left: set[str]
    preempted: set[str]


class Account(NamedTuple):
    r"""Where a request's tokens came from and went to, over all watched steps.

    `through_the_model` were computed, some of them perhaps twice; `from_the_cache` did not have to
    be; `thrown_away` were given up in preemptions, and had to be had again.
    """

    through_the_model: int
    from_the_cache: int
    thrown_away: int


Step = Sequence[Seat]


@contextmanager
def watched(owner: Any, name: str, see: Callable[[Any], None]) -> Iterator[None]:
    r"""While open, let `see` look at everything that `owner.name(...)` returns.

    Arguments and results pass through as they are: the same objects, the same exceptions (then
    there is no result to see). Only this one object is watched, not others of its class. When the
    block is left, in whatever way, the object is exactly as it was: without an attribute of that
    name if it had none of its own, with its previous one if somebody else is watching too.
    """
    # TODO task 1: look through a seam, and leave no trace
    raise NotImplementedError("task 1: look through a seam, and leave no trace")


def seats_of(orders: SchedulerOutput, requests: Mapping[str, Request]) -> list[Seat]:
    r"""Everyone who is in the engine when a step has just been planned, in the order of `requests`.

    `requests` are the scheduler's, those that wait among them. They have been planned for, so
    `num_computed_tokens` of those in `orders.num_scheduled_tokens` includes this step already. Give
    the status by its name. Changes nothing.
    """
    # TODO task 2: write down who sits in the step
    raise NotImplementedError("task 2: write down who sits in the step")


def verdict(seat: Seat) -> str:
    r"""What did the budget do to a request in this step?

    | word | meaning |
    |---|---|
    | `"deferred"` | it got nothing |
    | `"chunk"` | it got a part of what it wanted: no token comes out |
    | `"decode"` | it has an answer, wanted one token and got it |
    | `"whole"` | it got everything else that it wanted: a prompt's last piece, or all of it |
    """
    # TODO task 3: say what the budget did to each
    raise NotImplementedError("task 3: say what the budget did to each")


def movements(steps: Sequence[Step]) -> list[Movement]:
    r"""Who joined, left and stepped back, step by step; one movement for each step.

    A request *joins* in the step in which it runs and did not before, whether it is new or comes
    back; it runs when its status is `RUNNING`. It is *preempted* when it ran before and is
    `PREEMPTED` now. It has *left* when it was in the engine before, running or not, and is not now.
    Before the first step nobody was there.
    """
    # TODO task 4: see who joined, left and stepped back
    raise NotImplementedError("task 4: see who joined, left and stepped back")


def account(steps: Sequence[Step], req_id: str) -> Account:
    r"""Keep the books of one request over all the steps that were watched.

    What went through the model is the sum of what it got. The computed counter tells the rest: from
    one step to the next it grows by what the request got. Where it grows by more, in the step in
    which the request joins, the difference came out of the prefix cache. Where it falls, in the
    step in which the request is preempted, what it had is thrown away. Before the first step it was
    0.
    """
    # TODO task 5: keep the books of a request
    raise NotImplementedError("task 5: keep the books of a request")


class Watch:
    r"""Your window in a scheduler's planning, and what was seen through it. Nothing to fill in.

    Use it in a `with`; afterwards `steps` has a list of seats for each step.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.steps: list[list[Seat]] = []
        self._open = watched(scheduler, "schedule", self._see)

    def _see(self, orders: SchedulerOutput) -> None:
        self.steps.append(seats_of(orders, self.scheduler.requests))

    def __enter__(self) -> Watch:
        self._open.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)


def picture(steps: Sequence[Step]) -> str:
    r"""The batch over time: a row for each request, a column for each step. Nothing to fill in.

    A number is what the request got, with a `*` when a token came out; `.` got nothing, `x` stepped
    back.
    """
    req_ids = list(dict.fromkeys(seat.req_id for step in steps for seat in step))
    width = max(len(req_id) for req_id in req_ids)

    def cell(seat: Seat) -> str:
        if seat.got:
            return f"{seat.got}*" if seat.got == seat.wanted else f"{seat.got} "
        return "x " if seat.status == RequestStatus.PREEMPTED.name else ". "

    def row(name: str, cells: Iterable[str]) -> str:
        return f"{name:<{width}} {''.join(f'{text:>4}' for text in cells)}".rstrip()

    rows = [row("", (f"{number} " for number in range(1, len(steps) + 1)))]
    for req_id in req_ids:
        by_step = ({seat.req_id: cell(seat) for seat in step} for step in steps)
        rows.append(row(req_id, (cells.get(req_id, "") for cells in by_step)))
    return "\n".join(rows)


def main() -> None:
    r"""Print the batches of four requests that share a scarce budget. Nothing to fill in."""
    engine = engines.scripted_engine(budget=16, seats=3, blocks=19, prefix_caching=False)
    arrivals = {1: [("a", 6, 13), ("b", 5, 6)], 3: [("long", 40, 8)], 5: [("c", 4, 3)]}
    with Watch(engine.scheduler) as watch:
        for number in range(1, 20):
            for name, length, max_tokens in arrivals.get(number, []):
                engine.add_request(engines.request(name, range(length), max_tokens=max_tokens))
            engine.step()
    print(picture(watch.steps))


if __name__ == "__main__":
    main()
