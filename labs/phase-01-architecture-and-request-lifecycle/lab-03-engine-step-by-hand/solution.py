r"""One step of an engine, wired by hand.

You are given three organs, each of which works:

- a *scheduler*, which plans a step and, when the step is done, takes in its tokens;
- a *model*, which computes the tokens that were planned, and returns one row of logits per request;
- a *sampler*, which draws one token from each row that it is handed.

None knows of the others. What ties them together is a rule about who may sample and four calls in
the right order, and that is what you write here. {py:class}`HandWiredEngine`, at the end, is
given: it puts your four functions where an engine needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.scheduler_output import SchedulerOutput


class Rows(NamedTuple):
    r"""What a forward pass returns: `logits[i]` follows the last token computed for `req_ids[i]`.

    There is a row for *every* request that ran, in the model's order, which need not be the
    scheduler's.
    """

    req_ids: list[str]
    logits: Sequence[Any]


def may_sample(scheduler: Scheduler, orders: SchedulerOutput) -> set[str]:
    r"""Who gets a token out of this step?

    Called between the scheduler's planning of a step and its taking in of the results. Returns the
    ids of those requests of `orders.num_scheduled_tokens` whose row says something new: the ones
    whose computed tokens catch up, in this step, with all the tokens they have.

    `scheduler.requests` has the two counters of each request, `num_computed_tokens` and
    `num_tokens`. Mind *when* you read them: `schedule()` has already counted the step's tokens as
    computed.

    Changes nothing.
    """
    # lab: begin task 1 "say who may sample"
    return {
        req_id
        for req_id in orders.num_scheduled_tokens
        if scheduler.requests[req_id].num_computed_tokens == scheduler.requests[req_id].num_tokens
    }
    # lab: end


def draw(
    rows: Rows, ready: Collection[str], sampler: Callable[[list[Any]], list[int]]
) -> ModelRunnerOutput:
    r"""Draw a token for each request in `ready`, and tell the scheduler in its own format.

    The sampler takes a list of rows and returns one token for each, in order. Hand it the rows of
    `ready` in the model's order, and no others: a draw from a row that is thrown away still
    advances somebody's random numbers. Call it once for the whole batch, and not at all when there
    is nothing to draw.

    In the output, `req_ids` is the model's order, `req_id_to_index` its inverse, and
    `sampled_token_ids[i]` a list: one token for a request that sampled, none for one that did not.
    """
    # lab: begin task 2 "draw from those rows and no others"
    chosen = [row for req_id, row in zip(rows.req_ids, rows.logits) if req_id in ready]
    tokens = iter(sampler(chosen) if chosen else [])
    return ModelRunnerOutput(
        req_ids=rows.req_ids,
        req_id_to_index={req_id: index for index, req_id in enumerate(rows.req_ids)},
        sampled_token_ids=[[next(tokens)] if req_id in ready else [] for req_id in rows.req_ids],
    )
    # lab: end


def step(
    scheduler: Scheduler,
    execute: Callable[[SchedulerOutput], Rows],
    sample: Callable[[SchedulerOutput, Rows], ModelRunnerOutput],
) -> list[EngineCoreOutput]:
    r"""Run one step of the engine; return the news of each request that has any.

    `execute(orders)` runs the model on the scheduler's orders; `sample(orders, rows)` draws from
    what it returned. The scheduler plans with `schedule()` and takes the results in with
    `update_from_output(orders, output)`. A step that the scheduler has no requests for
    (`has_requests()`) does nothing. One in which nobody gets a token is taken like any other: the
    chunks of a long prompt are silent, and so is the step that tells the model who has left.
    """
    # lab: begin task 3 "run the four stages"
    if not scheduler.has_requests():
        return []
    orders = scheduler.schedule()
    rows = execute(orders)
    output = sample(orders, rows)
    return scheduler.update_from_output(orders, output)
    # lab: end


def steps_to_first_token(
    num_prompt_tokens: int, num_cached_tokens: int, budget: int, num_decoding: int = 0
) -> int:
    r"""In which step after its arrival does a prompt's first token come out, counted from 1?

    The prompt finds `num_cached_tokens` of its tokens in the prefix cache, so only the others go
    through the model. Each of the `num_decoding` requests that run already takes one token from the
    head of every step's budget, for as long as the prompt is being computed. The prompt gets
    the rest. Raises `ValueError` when there is no rest: it would wait for ever.
    """
    # lab: begin task 4 "count the steps to the first token"
    share = budget - num_decoding
    if share < 1:
        raise ValueError(f"{num_decoding} decoding requests leave nothing of a budget of {budget}")
    return -(-(num_prompt_tokens - num_cached_tokens) // share)
    # lab: end


class HandWiredEngine:
    r"""Your step around a real scheduler and a model runner. Nothing to fill in here.

    The runner is used as two organs: `forward`, which computes, and `sampler`, which draws. It
    keeps its own copy of every request's tokens, so it has to be told what was drawn.
    """

    def __init__(self, scheduler: Scheduler, runner: Any) -> None:
        self.scheduler = scheduler
        self.runner = runner

    def step(self) -> list[EngineCoreOutput]:
        r"""Schedule, execute, sample, update."""
        return step(self.scheduler, self.execute, self.sample)

    def execute(self, orders: SchedulerOutput) -> Rows:
        r"""Run the model; whatever the runner knows about who may sample is left out."""
        output = self.runner.forward(orders)
        return Rows(output.req_ids, output.logits)

    def sample(self, orders: SchedulerOutput, rows: Rows) -> ModelRunnerOutput:
        r"""Draw for those that may sample, and let the runner remember the tokens."""
        output = draw(rows, may_sample(self.scheduler, orders), self.runner.sampler)
        self.runner.record_sampled_tokens(output.req_ids, output.sampled_token_ids)
        return output
