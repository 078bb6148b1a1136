r"""When do the requests come?

A server is not slow or fast; it is slow or fast *under a load*, and the load has a shape. Four
shapes are here, under vLLM's names where it has them:

- **All at once** (`--request-rate inf`, the default): how fast can a pile be worked off?
- **A rate** (`--request-rate 4`): gaps drawn from a gamma distribution whose mean is one over the
  rate, and whose shape is `--burstiness`. At 1 that is a Poisson process: users who know nothing of
  each other. Below 1 they come in bursts, above 1 evenly, and at infinity on the beat.
- **A closed loop** (`--max-concurrency 8`): so many users, each of whom asks again when answered.
- **A trace** (`--trace FILE`): when somebody's requests did come, and how long they were.

The first three differ in what happens when the server falls behind. At a rate, requests keep
coming, and the queue grows without end: that is what an overload *is*. In a closed loop the users
wait with it, so it looks calm exactly when it is worst. With both, a rate and a limit, requests are
held back in the client before their clock starts; how many, and for how long, is reported beside
the latencies, since it belongs to them.

The gaps are stretched so that the last arrival is where the rate says, as upstream does, so that
two seeds offer the same load. Upstream: {up}`vllm/benchmarks/serve.py#get_request`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Arrival:
    """One request to come: when, in seconds from the start, and its lengths in tokens."""

    at: float
    input_len: int
    output_len: int


class ArrivalError(ValueError):
    """A load that cannot be made: a rate below zero, a trace that is none."""


def arrival_times(
    count: int, request_rate: float, burstiness: float, rng: np.random.Generator
) -> list[float]:
    r"""Seconds from the start at which `count` requests come, in order.

    `request_rate` is requests a second, infinity for all at once; `burstiness` the shape of the
    gamma distribution of the gaps, infinity for equal gaps.
    """
    if count < 1:
        raise ArrivalError(f"{count} requests: there must be 1 at least")
    if not request_rate > 0:
        raise ArrivalError(f"a rate of {request_rate} requests a second: it must be above 0")
    if not burstiness > 0:
        raise ArrivalError(f"burstiness {burstiness}: it must be above 0")
    if math.isinf(request_rate):
        return [0.0] * count
    if math.isinf(burstiness):
        gaps = np.full(count, 1 / request_rate)
    else:
        gaps = rng.gamma(shape=burstiness, scale=1 / (request_rate * burstiness), size=count)
    times = np.cumsum(gaps)
    return (times * (count / request_rate / times[-1])).tolist()


def random_arrivals(
    count: int,
    request_rate: float,
    burstiness: float,
    input_len: int,
    output_len: int,
    range_ratio: float,
    seed: int,
) -> list[Arrival]:
    r"""`count` requests whose lengths are drawn evenly from a range around the given ones.

    `range_ratio` 0.5 means from half to one and a half of the length; 0 means exactly it.
    """
    if not 0 <= range_ratio < 1:
        raise ArrivalError(f"range ratio {range_ratio}: it must be at least 0 and below 1")
    if input_len < 1 or output_len < 1:
        raise ArrivalError(f"lengths {input_len} and {output_len}: each must be 1 at least")
    rng = np.random.default_rng(seed)

    def lengths(middle: int) -> list[int]:
        low = max(1, math.floor(middle * (1 - range_ratio)))
        high = math.ceil(middle * (1 + range_ratio))
        return rng.integers(low, high, size=count, endpoint=True).tolist()

    times = arrival_times(count, request_rate, burstiness, rng)
    return [Arrival(*a) for a in zip(times, lengths(input_len), lengths(output_len), strict=True)]


def read_trace(path: Path) -> list[Arrival]:
    r"""Arrivals from a file with one JSON object a line: `at`, `input_len`, `output_len`.

    In any order; they are sent by time. A line that is not one is refused with its number.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            arrival = Arrival(
                float(fields["at"]), int(fields["input_len"]), int(fields["output_len"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ArrivalError(f"{path.name}, line {number}: {error!r}") from error
        if arrival.at < 0 or arrival.input_len < 1 or arrival.output_len < 1:
            raise ArrivalError(f"{path.name}, line {number}: {arrival} has a value out of range")
        found.append(arrival)
    if not found:
        raise ArrivalError(f"{path.name} has no arrivals")
    return sorted(found, key=lambda arrival: arrival.at)
