r"""What a prefix cache saves: read it off the orders, predict it, and find the smallest pool.

Given is `serve`, which plays prompts one after the other through the engine's scheduler and returns
its orders. Each request computes its prompt, draws one token, and is gone.

Run this file to see two traffics and the pool at which one of them falls off a cliff.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.sampling_params import SamplingParams

#: Longer than any prompt of this lab.
MAX_MODEL_LEN = 1_024


def serve(
    prompts: Iterable[Sequence[int]], num_gpu_blocks: int, block_size: int = 16
) -> list[SchedulerOutput]:
    r"""Answer prompts in turn, one at a time, over one pool; return the orders of all steps.

    `num_gpu_blocks` counts block 0, which is never handed out. Requests are called `r0`, `r1`, …
    """
    config = SchedulerConfig(max_model_len=MAX_MODEL_LEN, max_num_batched_tokens=MAX_MODEL_LEN)
    scheduler = Scheduler(config, CacheConfig(block_size=block_size), num_gpu_blocks)
    steps = []
    for number, prompt in enumerate(prompts):
        params = SamplingParams(max_tokens=1)
        scheduler.add_request(Request(f"r{number}", list(prompt), params, float(number)))
        steps.append(scheduler.schedule())
        result = ModelRunnerOutput([f"r{number}"], {f"r{number}": 0}, [[7]])
        scheduler.update_from_output(steps[-1], result)
    return steps


def savings(steps: Iterable[SchedulerOutput]) -> dict[str, tuple[int, int]]:
    r"""What the cache saved each request at its first admission: `(prompt tokens, saved)`, by id.

    A request stands in `scheduled_new_reqs` once, in the orders of the step that admits it first;
    there `num_computed_tokens` is what the cache held. One that comes back after a preemption
    stands elsewhere, and does not count: what it finds then, it had computed itself.
    """
    # TODO task 1: read the savings off the orders
    raise NotImplementedError("task 1: read the savings off the orders")


def hit_rates(admissions: Sequence[tuple[int, int]], window: int) -> list[float]:
    r"""The hit rate after each admission, over the last `window` admissions: 0.0 to 1.0.

    An admission is `(prompt tokens, saved)`. The rate is of *tokens*: all that were saved, divided
    by all that were asked for. At the beginning there are fewer admissions than the window holds.
    """
    # TODO task 2: make a rate of them
    raise NotImplementedError("task 2: make a rate of them")


def predicted_hit(prompt: Sequence[int], cached: Iterable[Sequence[int]], block_size: int) -> int:
    r"""How many tokens of a prompt are found, when all full blocks of `cached` prompts are kept.

    Whole blocks, from the first on, equal to the beginning of one of the cached prompts; and never
    the prompt's last token, since somebody has to compute it.
    """
    # TODO task 3: predict the hit
    raise NotImplementedError("task 3: predict the hit")


def enough_blocks(prompts: Sequence[Sequence[int]], block_size: int) -> int:
    r"""A pool in which a working set is safe: block 0 included, one request at a time, in turn.

    After one round every prompt finds all that it can. It needs each block that some prompt can
    find, once, however many share it; for each prompt the one block that it computes anew each
    time; and block 0. Two prompts share a block when they are equal up to its end.
    """
    # TODO task 4: size the working set
    raise NotImplementedError("task 4: size the working set")


def smallest_pool(saved_with: Callable[[int], int], enough: int, least: int) -> int:
    r"""The smallest pool that saves at least what `enough` blocks do, as do all between the two.

    `saved_with(num_gpu_blocks)` plays the traffic and returns the tokens saved. A pool has at least
    `least` blocks. Each size is played once, and none below the first that saves less.
    """
    # TODO task 5: find the edge of the cliff
    raise NotImplementedError("task 5: find the edge of the cliff")


def tenant(number: int, question: int, system: int = 64, own: int = 20) -> list[int]:
    r"""A prompt: a system prompt that all questions of a tenant begin with, and the question."""
    mine = 10_000 + 1_000 * number
    asked = 100_000 + 1_000 * number + 50 * question
    return [*range(mine, mine + system), *range(asked, asked + own)]


def in_turn(tenants: int = 8, rounds: int = 12) -> list[list[int]]:
    r"""Every tenant asks once, then every one again; no question comes twice."""
    return [tenant(number, turn) for turn in range(rounds) for number in range(tenants)]


def skewed(tenants: int = 8, rounds: int = 12) -> list[list[int]]:
    r"""As many prompts, but every second one is tenant 0's, and every fourth tenant 1's."""
    prompts = []
    for number in range(tenants * rounds):
        who = 0 if number % 2 == 0 else 1 if number % 4 == 1 else 2 + number // 4 % (tenants - 2)
        prompts.append(tenant(who, number % 15))
    return prompts


def main() -> None:
    r"""Print the share of tokens that two traffics save in pools of several sizes."""
    print("blocks   in turn   skewed")
    for blocks in (9, 17, 25, 33, 37, 41, 43, 44, 45, 46, 47, 48, 65, 97, 129):
        rates = []
        for traffic in (in_turn(), skewed()):
            found = list(savings(serve(traffic, blocks)).values())
            rates.append(hit_rates(found, len(found))[-1])
        print(f"{blocks:6}{rates[0]:10.1%}{rates[1]:9.1%}")


if __name__ == "__main__":
    main()
