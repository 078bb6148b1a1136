r"""A stream that stutters: find the gap, find who caused it, and choose the budget that ends it.

Given are a clock that says how long a step takes, and `serve`, which plays a load through the
engine's scheduler under this clock. Time is counted in whole microseconds, and nothing here reads a
real one: the same load stutters in the same way on every machine.

Run this file to see what the budget does to one load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.sampling_params import SamplingParams

#: Longer than any load of this lab.
MAX_MODEL_LEN = 32_768


@dataclass(frozen=True)
class Clock:
    r"""How long a step takes, in microseconds.

    `floor_us` is what it takes to read the weights, for however few tokens; `per_token_us` is the
    arithmetic of one. A step takes the longer of the two.
    """

    floor_us: int = 5_000
    per_token_us: int = 40

    def step_us(self, tokens: int) -> int:
        r"""The time of a step with so many tokens."""
        return max(self.floor_us, tokens * self.per_token_us)


@dataclass(frozen=True)
class Arrival:
    r"""A request and the moment at which it comes."""

    name: str
    at_us: int
    num_prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class TimedStep:
    r"""A step of a trace: from when to when, who got how many tokens, and who drew one at its end.

    Both are in the order in which the scheduler reached the requests.
    """

    start_us: int
    end_us: int
    granted: dict[str, int]
    drew: tuple[str, ...]


@dataclass(frozen=True)
class Gap:
    r"""What a reader waits between two tokens.

    `before` and `after` are the indices of the steps at whose ends the two were drawn.
    """

    name: str
    before: int
    after: int
    us: int


def serve(
    load: Iterable[Arrival], clock: Clock, *, budget: int, threshold: int = 0, seats: int = 16
) -> list[TimedStep]:
    r"""Play a load through the engine's scheduler, with memory for all; return its trace."""
    config = SchedulerConfig(
        max_model_len=MAX_MODEL_LEN,
        max_num_batched_tokens=budget,
        max_num_seqs=seats,
        long_prefill_token_threshold=threshold,
    )
    cache = CacheConfig(block_size=16, enable_prefix_caching=False)
    scheduler = Scheduler(config, cache, seats * MAX_MODEL_LEN // 16 + 1)
    coming = sorted(load, key=lambda arrival: arrival.at_us)
    steps: list[TimedStep] = []
    now = 0
    while coming or scheduler.requests:
        if not scheduler.requests:
            now = max(now, coming[0].at_us)
        while coming and coming[0].at_us <= now:
            one = coming.pop(0)
            params = SamplingParams(max_tokens=one.max_tokens)
            prompt = [7] * one.num_prompt_tokens
            scheduler.add_request(Request(one.name, prompt, params, float(one.at_us)))
        orders = scheduler.schedule()
        names = list(orders.num_scheduled_tokens)
        caught_up = [not scheduler.requests[name].is_prefill_chunk for name in names]
        result = ModelRunnerOutput(
            names,
            {name: index for index, name in enumerate(names)},
            [[7] if drew else [] for drew in caught_up],
        )
        scheduler.update_from_output(orders, result)
        end = now + clock.step_us(orders.total_num_scheduled_tokens)
        drew = tuple(name for name, drew in zip(names, caught_up, strict=True) if drew)
        steps.append(TimedStep(now, end, dict(orders.num_scheduled_tokens), drew))
        now = end
    return steps


def worst(gaps: Sequence[Gap]) -> Gap:
    r"""The longest of some gaps, and of equals the first."""
    return max(gaps, key=lambda gap: gap.us)


def gaps_of(steps: Sequence[TimedStep]) -> list[Gap]:
    r"""Every gap between two tokens of one request, in the order in which they end.

    A reader has a token when its step *ends*. The first token of a request ends no gap: the wait
    for it has another name. Gaps that end in the same step come in the order of its `drew`.
    """
    # TODO task 1: measure the gaps
    raise NotImplementedError("task 1: measure the gaps")


def culprit(steps: Sequence[TimedStep], gap: Gap) -> tuple[str, int] | None:
    r"""Who filled a gap: the request with most tokens in its steps, and how many these were.

    The steps of a gap are those behind `gap.before`, up to `gap.after`, included. Tokens of one
    request in several of them add up; of equals, the one that was granted some first. `None` when
    nobody had more than one token in any of these steps: then nobody is to blame.
    """
    # TODO task 2: find who caused it
    raise NotImplementedError("task 2: find who caused it")


def choose_budget(promise_us: int, clock: Clock, seats: int) -> int:
    r"""The greatest budget with which no step takes longer than the promise.

    A budget is at least the number of seats, since every reader wants a token in each step. A
    promise that cannot be kept so is refused with a `ValueError`.
    """
    # TODO task 3: choose the budget from the promise
    raise NotImplementedError("task 3: choose the budget from the promise")


def choose_threshold(promise_us: int, clock: Clock, seats: int, prompts: int) -> int:
    r"""The greatest threshold that keeps the promise without any help from the budget.

    Of the `seats` requests that run, `prompts` (from 1 to `seats`) read their prompts at once, each
    with up to the threshold; the others want one token each. A threshold is at least 1. A promise
    that cannot be kept so is refused with a `ValueError`.
    """
    # TODO task 4: or choose the threshold
    raise NotImplementedError("task 4: or choose the threshold")


def steps_to_first_token(prompt: int, decoding: int, budget: int, threshold: int = 0) -> int:
    r"""How many steps a prompt takes, from the first that grants it tokens to its first token.

    `decoding` requests stand before it and have one token in each step. Nobody else is there. With
    a `threshold` (0: none), no step grants it more than that. A budget that leaves it nothing is
    refused with a `ValueError`.
    """
    # TODO task 5: say what the cure costs
    raise NotImplementedError("task 5: say what the cure costs")


def tune(
    budgets: Sequence[int], measure: Callable[[int], tuple[int, int]], promise_us: int
) -> int | None:
    r"""The budget that keeps the promise and lets newcomers wait least; `None` if none keeps it.

    `measure(budget)` plays a load and returns its longest gap and its longest wait for a first
    token, both in microseconds. A play takes long, so each budget is measured once. Of budgets with
    the same wait the smallest is best.
    """
    # TODO task 6: prove it by replay
    raise NotImplementedError("task 6: prove it by replay")


def stutter(readers: int = 10, prompt: int = 6_000) -> list[Arrival]:
    r"""A load: readers of long answers, and while they read, one long prompt."""
    load = [Arrival(f"reader-{number}", 0, 20, 120) for number in range(readers)]
    return [*load, Arrival("long", 200_000, prompt, 4)]


def first_token_us(steps: Sequence[TimedStep], arrival: Arrival) -> int:
    r"""How long a request waits for its first token."""
    return next(step.end_us for step in steps if arrival.name in step.drew) - arrival.at_us


def main() -> None:
    r"""Print the longest gap and the wait for the first token under several budgets."""
    load, clock = stutter(), Clock()
    print("  budget   steps   longest gap   who               first token of `long`")
    for budget in (8_192, 4_096, 2_048, 1_024, 512, 256, 128, 64, 32):
        steps = serve(load, clock, budget=budget)
        gap = worst(gaps_of(steps))
        who = culprit(steps, gap)
        name = "nobody" if who is None else f"{who[0]}, {who[1]:,}"
        wait = first_token_us(steps, load[-1])
        print(f"{budget:8,}{len(steps):8,}{gap.us / 1e3:11.1f} ms   {name:<18}{wait / 1e3:8.1f} ms")


if __name__ == "__main__":
    main()
