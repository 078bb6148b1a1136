r"""Numbers of phase 03: shares of a step, victims, capacity; asked of the scheduler, or computed.

The inputs are those of the page that asks, and stand in its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from book.quantities.hardware import h100_bf16_useful
from book.quantities.llama import llama3_8b_flop_per_token
from book.quantities.phase_02_exercises import admit, manager
from book.quantities.registry import quantity
from book.quantities.step_counts import SOURCE as RUN
from book.quantities.step_counts import Step, first_token, request, scheduler, take_step
from book.quantities.step_time import decode_step, prefill_seconds
from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.scheduler import Scheduler

GIVEN = "arithmetic on the numbers of the text"
TIMES = "step times of Llama-3-8B on an H100, as in phase 01"


def until(running: Scheduler, name: str) -> list[Step]:
    """Steps from now to the end of `name`."""
    steps = []
    while name in running.requests:
        steps.append(take_step(running))
    return steps


# A step's shares


@lru_cache(maxsize=1)
def _beside_hundred() -> tuple[Step, ...]:
    running = scheduler(budget=512)
    for i in range(100):
        running.add_request(request(f"d{i}", 1, 200))
    take_step(running)
    running.add_request(request("long", 2000, 1))
    return tuple(until(running, "long"))


@quantity("p03-share-512", unit="token", source=RUN)
def share_512() -> int:
    """What a prompt gets of a budget of 512 beside a hundred decodes."""
    return _beside_hundred()[0].granted["long"]


@quantity("p03-steps-512", unit="step", source=RUN)
def steps_512() -> int:
    """Steps until a prompt of 2,000 has its first token beside them."""
    return first_token(_beside_hundred(), "long")


@quantity("p03-chunk-budget-50ms", unit="token", source=TIMES, phases=(3,))
def chunk_budget_50ms() -> int:
    """The largest step within 50 ms."""
    return int(0.050 * h100_bf16_useful() / llama3_8b_flop_per_token())


@quantity("p03-free-chunk", unit="token", source=TIMES, phases=(3,))
def free_chunk() -> int:
    """Tokens whose arithmetic takes as long as reading the weights: they ride along."""
    return int(decode_step() * h100_bf16_useful() / llama3_8b_flop_per_token())


@quantity("p03-prompt-30k", unit="s", source=TIMES)
def prompt_30k() -> float:
    """The arithmetic of a prompt of 30,000."""
    return prefill_seconds(30_000)


@quantity("p03-prompt-30k-steps", unit="step", source=GIVEN)
def prompt_30k_steps() -> int:
    """Steps of a prompt of 30,000 under a budget of 2,048, alone."""
    return -(-30_000 // 2048)


@quantity("p03-step-2048", unit="s", shown="ms", source=TIMES, phases=(3,))
def step_2048() -> float:
    """A full step of 2,048 tokens."""
    return prefill_seconds(2048)


@quantity("p03-step-512", unit="s", shown="ms", source=TIMES, phases=(3,))
def step_512() -> float:
    """A full step of 512 tokens."""
    return prefill_seconds(512)


# Two long prompts, with and without a threshold


@lru_cache(maxsize=2)
def _two_prompts(threshold: int) -> tuple[int, int]:
    running = Scheduler(
        SchedulerConfig(
            max_model_len=1 << 16,
            max_num_batched_tokens=2048,
            max_num_seqs=64,
            long_prefill_token_threshold=threshold,
        ),
        CacheConfig(block_size=16, enable_prefix_caching=False),
        num_gpu_blocks=4096,
    )
    running.add_request(request("long", 12_000, 1, salt=2))
    running.add_request(request("short", 600, 1, salt=3))
    steps = []
    while running.has_unfinished_requests():
        steps.append(take_step(running))
    return first_token(steps, "short"), first_token(steps, "long")


@quantity("p03-short-behind", unit="", source=RUN)
def short_behind() -> int:
    """Step of the first token of 600 behind 12,000, budget 2,048."""
    return _two_prompts(0)[0]


@quantity("p03-short-beside", unit="", source=RUN)
def short_beside() -> int:
    """Step of the first token of 600 behind 12,000, budget 2,048, threshold 1,024."""
    return _two_prompts(1024)[0]


@quantity("p03-long-before", unit="", source=RUN)
def long_before() -> int:
    """Step of the first token of the long one, without a threshold."""
    return _two_prompts(0)[1]


@quantity("p03-long-after", unit="", source=RUN)
def long_after() -> int:
    """And with it."""
    return _two_prompts(1024)[1]


# Static batches


def _seats_busy(answers: Sequence[int]) -> float:
    return 100 * sum(answers) / (len(answers) * max(answers))


@quantity("p03-static-busy", unit="%", source=GIVEN)
def static_busy() -> float:
    """Seats that work in a closed batch with answers of 20, 40, 60 and 400."""
    return _seats_busy((20, 40, 60, 400))


@quantity("p03-static-steps", unit="step", source=GIVEN)
def static_steps() -> int:
    """Steps of ten such batches."""
    return 10 * 400


@quantity("p03-continuous-steps", unit="step", source=GIVEN)
def continuous_steps() -> int:
    """Steps of the same forty answers if no seat is ever empty, at least."""
    return 10 * (20 + 40 + 60 + 400) // 4


# What a preemption costs


@lru_cache(maxsize=1)
def _comes_back() -> int:
    cache = manager(400)
    first, _ = admit(cache, "victim", range(2500))
    cache.free(first)
    return 2500 - admit(cache, "again", range(2500))[1]


@quantity("p03-recompute-cold", unit="token", source=GIVEN)
def recompute_cold() -> int:
    """Computed again by a victim of 2,000 + 500 tokens without a cache."""
    return 2500


@quantity("p03-recompute-warm", unit="token", source="mini_vllm's KVCacheManager")
def recompute_warm() -> int:
    """Computed again by a victim of 2,000 + 500 tokens if its blocks are still there."""
    return _comes_back()


@quantity("p03-recompute-cold-ms", unit="s", shown="ms", source=TIMES, phases=(3,))
def recompute_cold_ms() -> float:
    """Arithmetic of 2,500 tokens that a victim computes again."""
    return prefill_seconds(2500)


# Capacity


@quantity("p03-seat-seconds", unit="s", source=TIMES)
def seat_seconds() -> float:
    """How long an answer of 200 holds a seat, 7 ms a step."""
    return 200 * 0.007


@quantity("p03-seat-capacity", unit="req/s", source=GIVEN)
def seat_capacity() -> float:
    """Requests a second that 64 seats can end."""
    return 64 / seat_seconds()


@quantity("p03-prefill-share", unit="%", source=TIMES)
def prefill_share() -> float:
    """Share of a second that prompts of 250 take at that rate, above riding along."""
    return 100 * seat_capacity() * prefill_seconds(250)


@quantity("p03-arithmetic-share", unit="%", source=TIMES)
def arithmetic_share() -> float:
    """Share of a second that the arithmetic of 250 + 200 tokens a request takes at that rate."""
    return 100 * seat_capacity() * prefill_seconds(250 + 200)


@quantity("p03-arithmetic-capacity", unit="req/s", source=TIMES)
def arithmetic_capacity() -> float:
    """Requests a second that the arithmetic of 450 tokens each allows, with any number of seats."""
    return 1 / prefill_seconds(250 + 200)


@lru_cache(maxsize=2)
def _knee(seats: int) -> float:
    """Requests a second when the queue is never empty, under the deep dive's clock."""
    running = scheduler(budget=2048, seats=seats, blocks=1 << 14)
    seconds, finished, number = 0.0, 0, 0
    for step in range(3000):
        while len(running.waiting) < 8:
            # A spread of answers about 200, so that seats do not empty all at once.
            running.add_request(request(f"r{number}", 250, 150 + 7 * number % 101))
            number += 1
        taken = take_step(running)
        if step >= 1000:
            seconds += 0.002 + max(decode_step(), prefill_seconds(taken.total))
            finished += len(taken.finished)
    return finished / seconds


@quantity("p03-knee-64", unit="req/s", source=RUN + ", under the clock of the deep dive")
def knee_64() -> float:
    """Requests a second that end with 64 seats, prompts of 250 and answers of 200."""
    return _knee(64)


@quantity("p03-knee-128", unit="req/s", source=RUN + ", under the clock of the deep dive")
def knee_128() -> float:
    """Requests a second that end with 128 seats, prompts of 250 and answers of 200."""
    return _knee(128)


@quantity("p03-little-inside", unit="", source=GIVEN)
def little_inside() -> float:
    """Requests in the system at 30 a second and 1.6 s each."""
    return 30 * 1.6


@quantity("p03-overload-queue", unit="request", source=GIVEN)
def overload_queue() -> int:
    """Waiting after 20 s of 60 arriving and 45 leaving a second."""
    return (60 - 45) * 20


@quantity("p03-overload-wait", unit="s", source=GIVEN)
def overload_wait() -> float:
    """How long the last of them waits at 45 a second."""
    return overload_queue() / 45


@quantity("p03-scheduling-ms", unit="s", shown="ms", source=GIVEN)
def scheduling_ms() -> float:
    """A thousand requests at 7 µs each."""
    return 1000 * 7e-6


@quantity("p03-thousand-decodes", unit="s", shown="ms", source=TIMES, phases=(3,))
def thousand_decodes() -> float:
    """Arithmetic of a step in which a thousand requests decode."""
    return prefill_seconds(1000)
