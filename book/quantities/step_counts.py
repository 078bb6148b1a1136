r"""Runs of the scheduler alone, for numbers that count steps and tokens.

No model: whoever has caught up "samples" a fixed token. That is all the scheduler ever sees of a
model, so steps, grants and stops are exactly those of a real run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.sampling_params import SamplingParams

SOURCE = "a run of mini_vllm's scheduler when this page was built"
_TOKEN = 1


@dataclass(frozen=True)
class Step:
    """What one step granted, and to whom it gave a token."""

    granted: dict[str, int]
    sampled: tuple[str, ...]
    finished: tuple[str, ...]

    @property
    def total(self) -> int:
        """Tokens of the whole step."""
        return sum(self.granted.values())


def scheduler(
    *, budget: int, seats: int = 256, blocks: int = 4096, caching: bool = False
) -> Scheduler:
    """A scheduler whose pool is as large as wanted; blocks have 16 tokens."""
    return Scheduler(
        SchedulerConfig(
            max_model_len=1 << 16, max_num_batched_tokens=max(budget, seats), max_num_seqs=seats
        ),
        CacheConfig(block_size=16, num_gpu_blocks=blocks, enable_prefix_caching=caching),
        num_gpu_blocks=blocks,
    )


def request(name: str, prompt: int, output: int, arrival: float = 0.0, salt: int = 2) -> Request:
    """A request of `prompt` tokens that ends after `output` tokens and not before."""
    params = SamplingParams(max_tokens=output, ignore_eos=True)
    return Request(name, [salt] * prompt, params, arrival_time=arrival)


def take_step(running: Scheduler) -> Step:
    """Schedule, let everybody sample who has caught up, update."""
    orders = running.schedule()
    names = list(orders.num_scheduled_tokens)
    caught_up = [
        running.requests[n].num_computed_tokens == running.requests[n].num_tokens for n in names
    ]
    outputs = running.update_from_output(
        orders,
        ModelRunnerOutput(
            req_ids=names,
            req_id_to_index={name: i for i, name in enumerate(names)},
            sampled_token_ids=[[_TOKEN] if ready else [] for ready in caught_up],
        ),
    )
    return Step(
        granted=dict(orders.num_scheduled_tokens),
        sampled=tuple(n for n, ready in zip(names, caught_up, strict=True) if ready),
        finished=tuple(o.request_id for o in outputs if o.finished),
    )


def run(running: Scheduler, requests: Sequence[Request]) -> list[Step]:
    """Add all requests now and turn the loop until none is left."""
    for one in requests:
        running.add_request(one)
    steps = []
    while running.has_unfinished_requests():
        steps.append(take_step(running))
    return steps


def first_token(steps: Sequence[Step], name: str) -> int:
    """In which step, counted from 1, `name` got its first token."""
    return next(i for i, step in enumerate(steps, 1) if name in step.sampled)


def steady_rate(
    running: Scheduler, arrival: Callable[[int], Request], *, warm_up: int, measured: int
) -> float:
    """Requests that finish in a step when the queue is never empty."""
    number = finished = 0
    for step in range(warm_up + measured):
        while len(running.waiting) < 8:
            running.add_request(arrival(number))
            number += 1
        done = take_step(running).finished
        finished += len(done) if step >= warm_up else 0
    return finished / measured
