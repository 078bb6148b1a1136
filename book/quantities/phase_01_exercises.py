r"""Numbers of phase 01's exercises, and of the interview question that they simulate."""

from __future__ import annotations

import math
from functools import lru_cache

from book.quantities.registry import quantity
from book.quantities.step_counts import (
    SOURCE as RUN,
)
from book.quantities.step_counts import (
    Step,
    first_token,
    request,
    run,
    scheduler,
    steady_rate,
    take_step,
)

GIVEN = "arithmetic on the numbers of the question"
_BLOCK = 16

# What crosses the boundary


@quantity("p01-ex-resend-tokens", unit="token", source=GIVEN)
def resend_tokens() -> int:
    """Ids sent if each of 500 outputs repeated a prompt of 8,000 and the answer so far."""
    return sum(8000 + k for k in range(1, 501))


# The prefix cache


@lru_cache(maxsize=2)
def _second_time(prompt: int) -> tuple[Step, ...]:
    running = scheduler(budget=64, seats=8, caching=True)
    run(running, [request("first", prompt, 1)])
    return tuple(run(running, [request("second", prompt, 1)]))


@quantity("p01-ex-cached-1024", unit="token", source=RUN)
def cached_1024() -> int:
    """What the second of two equal prompts of 1,024 has computed."""
    return sum(step.total for step in _second_time(1024))


@quantity("p01-ex-cached-1024-steps", unit="step", source=RUN)
def cached_1024_steps() -> int:
    """Steps to the first token of the second of two equal prompts of 1,024."""
    return first_token(_second_time(1024), "second")


@quantity("p01-ex-cached-1025", unit="token", source=RUN)
def cached_1025() -> int:
    """What the second of two equal prompts of 1,025 has computed."""
    return sum(step.total for step in _second_time(1025))


# Conservation


@quantity("p01-ex-conservation-sum", unit="token", source=GIVEN)
def conservation_sum() -> int:
    """Prompt + output − 1, over three requests."""
    return sum(p + o - 1 for p, o in ((40, 5), (7, 9), (129, 1)))


@quantity("p01-ex-conservation-measured", unit="token", source=RUN)
def conservation_measured() -> int:
    """Tokens that the scheduler granted to them in all, under a budget of 50."""
    work = [request("a", 40, 5), request("b", 7, 9), request("c", 129, 1)]
    return sum(step.total for step in run(scheduler(budget=50, seats=8), work))


# Which limit binds: budget 2,048, 256 seats, prompts of 1,000, answers of 200

_PROMPT, _OUTPUT, _SEATS, _BUDGET = 1000, 200, 256, 2048


@quantity("p01-binds-rate-budget", unit="", source=GIVEN)
def binds_rate_budget() -> float:
    """Requests a step that the budget could carry."""
    return _BUDGET / (_PROMPT + _OUTPUT - 1)


@quantity("p01-binds-seats-needed", unit="", source=GIVEN)
def binds_seats_needed() -> int:
    """Seats that this rate would fill, by Little's law."""
    return round(binds_rate_budget() * _OUTPUT)


@quantity("p01-binds-rate-seats", unit="", source=GIVEN)
def binds_rate_seats() -> float:
    """Requests a step that 256 seats can carry."""
    return _SEATS / _OUTPUT


@quantity("p01-binds-budget-used", unit="token", source=GIVEN)
def binds_budget_used() -> int:
    """Tokens a step at that rate."""
    return round(binds_rate_seats() * (_PROMPT + _OUTPUT - 1))


@quantity("p01-binds-blocks", unit="block", source=GIVEN)
def binds_blocks() -> int:
    """Blocks of 16 for 256 requests of full length."""
    return _SEATS * math.ceil((_PROMPT + _OUTPUT) / _BLOCK)


@lru_cache(maxsize=4)
def _simulated(budget: int, seats: int) -> float:
    """Whole cohorts are measured: a rate over part of one depends on where it was cut."""
    running = scheduler(budget=budget, seats=seats, blocks=20_000)
    return steady_rate(
        running,
        lambda i: request(f"r{i}", _PROMPT, _OUTPUT),
        warm_up=2 * _OUTPUT,
        measured=5 * _OUTPUT,
    )


@quantity("p01-binds-rate-measured", unit="", source=RUN)
def binds_rate_measured() -> float:
    """Requests that finish in a step, simulated."""
    return _simulated(_BUDGET, _SEATS)


@quantity("p01-little-half-seats", unit="", source=RUN)
def little_half_seats() -> float:
    """Requests that finish in a step with 128 seats, simulated."""
    return _simulated(_BUDGET, _SEATS // 2)


@quantity("p01-little-half-budget", unit="", source=RUN)
def little_half_budget() -> float:
    """Requests that finish in a step with a budget of 1,024, simulated."""
    return _simulated(_BUDGET // 2, _SEATS)


# A budget from a promise: 6 ms a step, 35 microseconds a token, 100 ms promised


@quantity("p01-slo-budget", unit="token", source=GIVEN)
def slo_budget() -> int:
    """Tokens that fit into a step of 100 ms."""
    return int((100 - 6) / 0.035)


@quantity("p01-slo-budget-pow2", unit="", source=GIVEN)
def slo_budget_pow2() -> int:
    """The next lower power of two."""
    return 1 << (slo_budget().bit_length() - 1)


@quantity("p01-slo-step", unit="ms", source=GIVEN)
def slo_step() -> float:
    """Time of a full step under that budget."""
    return 6 + slo_budget_pow2() * 0.035


@quantity("p01-slo-chunks", unit="step", source=RUN)
def slo_chunks() -> int:
    """Steps of a prompt of 8,000 beside 60 decodes."""
    running = scheduler(budget=slo_budget_pow2())
    for i in range(60):
        running.add_request(request(f"d{i}", 1, 100))
    take_step(running)
    return first_token(run(running, [request("long", 8000, 1)]), "long")


@quantity("p01-slo-ttft", unit="ms", source=GIVEN)
def slo_ttft() -> float:
    """Time to the first token of 8,000 beside 60 decodes, each step counted as full."""
    return slo_chunks() * slo_step()
