r"""What does a step cost before the model has computed anything?

At 256 running requests a small model's step takes a few milliseconds, and the scheduler's part of
it is Python: each request asked how far it may move, each table looked at, each token appended and
tested for an end. None of that is on the accelerator's clock, and while it runs the accelerator
waits (unless the next step is planned ahead). So it is measured alone, without any model: requests
that are all in the middle of their answers, `schedule`, then `update_from_output` with one token
for each. Building the runner's result lies between the two and outside both clocks.

Two things may grow, and each is grown alone: how many requests run, and how long their contexts
are. The first must cost what it costs per request, and the second nothing: a decode looks at the
end of its block table and never at the table. The test of that counts lines and calls instead of
time, and so gives the same answer on every machine
({py:func}`count_operations`).

```console
$ python -m mini_vllm.bench.scheduler_step
```

measures this engine. Beside the pinned one, step by step in one process:

```console
$ nox -s differential -- bench
```

Rules of the comparison: the same numbers for both; the two take turns, step by step, so that a
noisy neighbour disturbs both alike; prefix caching on, as both have it by default; vLLM's own
statistics off, which is its faster way. The median of the steps is kept; the garbage collector has
put all that exists aside before (`gc.freeze`), as vLLM's core does when it starts
({up}`vllm/utils/gc_utils.py#freeze_gc_heap`).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from types import FrameType
from typing import Any, Protocol

from mini_vllm.bench.environment import describe_environment
from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.sampling_params import SamplingParams

#: Requests that run, at a context of {given}`1,024 tokens`; and contexts, at 64 requests.
RUNNING = (16, 64, 256, 1024)
CONTEXTS = (1024, 4096, 16384, 32768)
BASE_CONTEXT = 1024
BASE_RUNNING = 64
BLOCK_SIZE = 16
TOKEN = 7


@dataclass(frozen=True)
class Shape:
    r"""How many requests are running, and how many tokens each of them has read."""

    num_running: int
    context: int

    def config(self, num_steps: int) -> dict[str, Any]:
        """The scheduler's numbers: room for all of it, so that nobody is ever preempted."""
        longest = self.context + num_steps + 2
        return {
            "block_size": BLOCK_SIZE,
            "num_gpu_blocks": self.num_running * -(-longest // BLOCK_SIZE) + 1,
            "enable_prefix_caching": True,
            "max_model_len": longest + 1,
            "max_num_batched_tokens": self.num_running * self.context,
            "max_num_seqs": self.num_running,
            "enable_chunked_prefill": True,
            "long_prefill_token_threshold": 0,
            "scheduler_reserve_full_isl": True,
            "policy": "fcfs",
        }

    def prompt(self, index: int) -> list[int]:
        """A prompt that no other request shares a block of."""
        return [10 + index] + [TOKEN] * (self.context - 1)


class Driver(Protocol):
    r"""A scheduler under the clock: what differs between this engine's and another one."""

    name: str

    def build(self, shape: Shape, num_steps: int) -> Any:
        """Return a scheduler to which all requests of the shape have been added."""

    def result(self, req_ids: list[str]) -> Any:
        """Return what a model runner would: one token for each request."""


class MiniVllmDriver:
    """This engine's scheduler."""

    name = "mini_vllm"

    def build(self, shape: Shape, num_steps: int) -> Scheduler:
        """Return a scheduler to which all requests of the shape have been added."""
        config = shape.config(num_steps)
        num_gpu_blocks = config.pop("num_gpu_blocks")
        cache = CacheConfig(
            block_size=config.pop("block_size"),
            enable_prefix_caching=config.pop("enable_prefix_caching"),
        )
        scheduler = Scheduler(SchedulerConfig(**config), cache, num_gpu_blocks)
        params = SamplingParams(max_tokens=num_steps + 2, ignore_eos=True)
        for index in range(shape.num_running):
            scheduler.add_request(Request(f"r{index}", shape.prompt(index), params, float(index)))
        return scheduler

    def result(self, req_ids: list[str]) -> ModelRunnerOutput:
        """Return what a model runner would: one token for each request."""
        index = {req_id: i for i, req_id in enumerate(req_ids)}
        return ModelRunnerOutput(req_ids, index, [[TOKEN] for _ in req_ids])


@dataclass(frozen=True)
class Timing:
    r"""Microseconds of one step: medians over the steps, and the tenth and ninetieth percentile."""

    schedule_us: float
    update_us: float
    step_us: float
    step_p10_us: float
    step_p90_us: float
    num_steps: int

    @classmethod
    def of(cls, schedule: Sequence[float], update: Sequence[float]) -> Timing:
        """Sum up the seconds of each call, step by step."""
        step = [a + b for a, b in zip(schedule, update, strict=True)]
        tenths = quantiles(step, n=10)
        parts = (median(schedule), median(update), median(step), tenths[0], tenths[-1])
        schedule_us, update_us, step_us, p10, p90 = (round(1e6 * part, 1) for part in parts)
        return cls(schedule_us, update_us, step_us, p10, p90, len(step))


def one_step(scheduler: Any, driver: Driver) -> tuple[float, float]:
    """Take a step; return the seconds of `schedule` and of `update_from_output`."""
    t0 = time.perf_counter()
    orders = scheduler.schedule()
    t1 = time.perf_counter()
    result = driver.result(list(orders.num_scheduled_tokens))
    t2 = time.perf_counter()
    scheduler.update_from_output(orders, result)
    return t1 - t0, time.perf_counter() - t2


def measure_shape(
    shape: Shape, drivers: Sequence[Driver], num_steps: int = 200, num_warmup: int = 20
) -> dict[str, Timing]:
    """Time the steps of one shape on every driver, in turns."""
    total = num_steps + num_warmup
    schedulers = {driver.name: driver.build(shape, total) for driver in drivers}
    for driver in drivers:
        # The first step reads all prompts; from the second on, everybody decodes.
        one_step(schedulers[driver.name], driver)
    times: dict[str, list[tuple[float, float]]] = {driver.name: [] for driver in drivers}
    gc.collect()
    gc.freeze()
    try:
        for _ in range(total):
            for driver in drivers:
                times[driver.name].append(one_step(schedulers[driver.name], driver))
    finally:
        gc.unfreeze()
    return {name: Timing.of(*zip(*rows[num_warmup:], strict=True)) for name, rows in times.items()}


def shapes(running: Sequence[int] = RUNNING, contexts: Sequence[int] = CONTEXTS) -> list[Shape]:
    """More and more requests at one context, then longer and longer contexts at one number."""
    found = [Shape(number, BASE_CONTEXT) for number in running]
    found += [Shape(BASE_RUNNING, context) for context in contexts]
    return list(dict.fromkeys(found))


def measure(
    drivers: Sequence[Driver],
    wanted: Sequence[Shape],
    num_steps: int = 200,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Measure all shapes; one row for each, with the timing of each driver by name."""
    rows = []
    for shape in wanted:
        timings = measure_shape(shape, drivers, num_steps)
        rows.append(asdict(shape) | {name: asdict(timing) for name, timing in timings.items()})
        tell(line_of(rows[-1]))
    return rows


def line_of(row: Mapping[str, Any]) -> str:
    """One row as a person reads it."""
    text = f"{row['num_running']:5} running, context {row['context']:6,}:"
    timings = {name: value for name, value in row.items() if isinstance(value, dict)}
    for name, timing in timings.items():
        per_request = timing["step_us"] / row["num_running"]
        text += f"  {name} {timing['step_us']:8,.0f} us a step, {per_request:.2f} a request;"
    if len(timings) == 2:
        ours, other = (timing["step_us"] for timing in timings.values())
        text += f"  {ours / other:.2f} of it"
    return text


def record(rows: list[dict[str, Any]], command: str, versions: Mapping[str, str]) -> dict[str, Any]:
    """What is kept: the rows, and everything that a later question could ask for."""
    return {
        "what": "microseconds of schedule() and update_from_output() of one step, all decoding",
        "command": command,
        "block_size": BLOCK_SIZE,
        "environment": describe_environment() | {"other": dict(versions)},
        "rows": rows,
    }


def count_operations(scheduler: Any, driver: Driver) -> int:
    r"""Take a step, and count the lines that run in this package and the calls they make.

    Lines are counted by a tracer and calls into C by a profiler, so nothing depends on a clock.
    """
    count = 0

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "mini_vllm" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return traced

    def profiled(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "c_call" and "mini_vllm" in frame.f_code.co_filename

    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(traced)
    sys.setprofile(profiled)
    try:
        one_step(scheduler, driver)
    finally:
        sys.setprofile(profiler)
        sys.settrace(tracer)
    return count


def main(argv: Sequence[str] | None = None, others: Sequence[Driver] = ()) -> int:
    """Measure and print; `others` take turns with this engine."""
    parser = argparse.ArgumentParser(description="what a step costs without a model")
    parser.add_argument("--running", type=int, nargs="*", default=list(RUNNING), metavar="N")
    parser.add_argument("--contexts", type=int, nargs="*", default=list(CONTEXTS), metavar="N")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    args = parser.parse_args(argv)
    drivers = [MiniVllmDriver(), *others]
    rows = measure(drivers, shapes(args.running, args.contexts), args.steps, print)
    if args.json:
        command = " ".join(["python", "-m", "mini_vllm.bench.scheduler_step"])
        versions = {driver.name: getattr(driver, "version", "") for driver in others}
        if others:
            command = "nox -s differential -- bench"
        text = json.dumps(record(rows, command, versions), indent=1)
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
