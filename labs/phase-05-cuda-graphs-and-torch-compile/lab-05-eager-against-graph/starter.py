r"""Is the graph faster, by how much, and may one say so? A measurement that can refuse.

What is measured is handed in: calls that launch work, a clock in seconds, and a device that can
wait until it has done everything. So the same code measures a GPU (`on_device.py` beside this
file) and the stand-in below, whose times are known.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import comb
from typing import NamedTuple, Protocol

Clock = Callable[[], float]


class Device(Protocol):
    r"""What a measurement needs of a device."""

    def synchronize(self) -> None:
        r"""Return when everything that was launched so far is done."""


class Plan(NamedTuple):
    r"""How to measure: so many rounds of so many calls, after so many calls that do not count."""

    rounds: int = 40
    times: int = 20
    warmup: int = 5


class Limits(NamedTuple):
    r"""What a sample must keep: its number of values at least, and the shares at most."""

    count: int = 10
    spread: float = 0.1
    drift: float = 0.05


class Objection(NamedTuple):
    r"""What is wrong with a sample: a word, what was found, and the limit that it breaks."""

    what: str
    found: float
    limit: float


class Refused(RuntimeError):
    r"""These numbers must not be shown to anybody; the message says why."""


class Report(NamedTuple):
    r"""Medians in seconds a call, how many times faster the second is, and the samples."""

    medians: dict[str, float]
    speedup: float
    low: float
    high: float
    samples: dict[str, list[float]]


def timed(call: Callable[[], object], clock: Clock, device: Device, times: int) -> float:
    r"""How many seconds one call takes, measured over `times` of them, one after the other.

    Work that was launched before does not count, and all that the calls launch does.
    """
    # TODO task 1: when the device is done
    raise NotImplementedError("task 1: when the device is done")


def order(names: Sequence[str], rounds: int) -> list[list[str]]:
    r"""Who is measured when: in each round every name once, in some order.

    A machine that becomes slower while it is measured must not harm one name more than another. So
    over two rounds, the first and the second, the third and the fourth, each name has the same
    mean place.
    """
    # TODO task 2: who goes first
    raise NotImplementedError("task 2: who goes first")


def measure(
    calls: Mapping[str, Callable[[], object]], clock: Clock, device: Device, plan: Plan
) -> dict[str, list[float]]:
    r"""Seconds a call, by name, a value for each round; value `i` of every name is of round `i`.

    Each call is made `plan.warmup` times before anything is timed. `order` says who is next in a
    round, `timed` measures `plan.times` calls.
    """
    # TODO task 3: warm up, and take turns
    raise NotImplementedError("task 3: warm up, and take turns")


def objections(sample: Sequence[float], limits: Limits) -> list[Objection]:
    r"""Everything that speaks against a sample; it is in the order in which it was measured.

    - `count`: it has fewer values than the limit. Then nothing else is looked at.
    - `positive`: a value is 0 or less. The least one was found, the limit is 0. Then nothing else
      is looked at.
    - `spread`: between the first and the third quartile, as a share of the median. Quartiles are
      those of `statistics.quantiles`, inclusive.
    - `drift`: between the medians of the first half and of the second, either way, as a share of
      the median of all. The value in the middle of an odd number is in neither half.
    """
    # TODO task 4: refuse
    raise NotImplementedError("task 4: refuse")


def ratios(eager: Sequence[float], graph: Sequence[float]) -> list[float]:
    r"""How many times faster the graph was, round by round. Ascending.

    Two values of one round were measured one after the other, on a machine in one state; what slows
    down both is not in their ratio. `Refused` if there are more of one than of the other.
    """
    # TODO task 5: round by round
    raise NotImplementedError("task 5: round by round")


def bounds(ascending: Sequence[float], risk: float = 0.05) -> tuple[float, float]:
    r"""Two of the values, such that the median of all that could be measured lies between them, but
    for a chance of at most `risk`.

    Each value is above that median, or below it, like a coin. The median lies below the value
    number `k`, counted from 0, only if at most `k` of all the coins say *below*. Take the largest
    `k` for which that is no more likely than half of `risk`, and the value as far from the other
    end. `Refused` if there are too few values for any `k`.
    """
    # TODO task 6: how sure
    raise NotImplementedError("task 6: how sure")


def report(
    calls: Mapping[str, Callable[[], object]],
    spoil: Callable[[], object],
    read: Callable[[], Sequence[float]],
    clock: Clock,
    device: Device,
    plan: Plan,
    limits: Limits,
) -> Report:
    r"""Measure two calls, the first as the yardstick, and say how much faster the second one is.

    Before anything is timed: both must give the same. They write to the same place, so `spoil` it
    before each call, wait, and `read` it. Then `measure`. `Refused` with both names if they
    differ, or with each name and each word of what the `objections` are to its sample.

    The speed-up is the median of the `ratios`, with their `bounds`.
    """
    # TODO task 7: say it, or refuse
    raise NotImplementedError("task 7: say it, or refuse")


class StandIn:
    r"""Given: a device that computes nothing, and whose every call takes what it is told to take.

    `call` makes a call that keeps the host busy for `launch` and the device for `work` seconds,
    `slow` times as long for the first three times. `noise` is the share by which a call may be
    longer, `drift` that by which all become longer in a second. The clock stands still otherwise.
    """

    def __init__(self, noise: float = 0.0, drift: float = 0.0, slow: float = 1.0) -> None:
        self.now = self.busy_until = 0.0
        self.noise, self.drift, self.slow = noise, drift, slow
        self.output: list[float] = [0.0]
        self._random = random.Random(5)

    def clock(self) -> float:
        r"""The host's time, in seconds."""
        return self.now

    def synchronize(self) -> None:
        r"""The host waits for the device."""
        self.now = max(self.now, self.busy_until)

    def call(self, launch: float, work: float, result: float = 1.0) -> Callable[[], None]:
        r"""A call of this kind; it writes `result` to `output`."""
        made = 0

        def run() -> None:
            nonlocal made
            made += 1
            factor = (1 + self.noise * self._random.random()) * (1 + self.drift * self.now)
            factor *= self.slow if made <= 3 else 1.0
            self.now += launch * factor
            self.busy_until = max(self.busy_until, self.now) + work * factor
            self.output = [result]

        return run

    def spoil(self) -> None:
        r"""Overwrite what the last call has computed."""
        self.output = [float("nan")]

    def read(self) -> list[float]:
        r"""What the last call has computed."""
        return self.output


def main() -> None:
    r"""Measure stand-ins of several kinds, and print what can be said of each."""
    print("a stand-in, no device: microseconds a call, and how many times faster the graph is\n")
    kinds = {
        "small": (1400e-6, 600e-6, 5e-6, 700e-6, {"noise": 0.05}),
        "large": (1400e-6, 13500e-6, 5e-6, 13400e-6, {"noise": 0.05}),
        "no difference": (5e-6, 700e-6, 5e-6, 700e-6, {"noise": 0.05}),
        "a cold start": (1400e-6, 600e-6, 5e-6, 700e-6, {"noise": 0.05, "slow": 50.0}),
        "noisy": (1400e-6, 600e-6, 5e-6, 700e-6, {"noise": 2.0}),
        "becoming slower": (1400e-6, 600e-6, 5e-6, 700e-6, {"noise": 0.05, "drift": 0.1}),
    }
    for kind, (launch, work, replay, inside, settings) in kinds.items():
        made = StandIn(**settings)
        calls = {"eager": made.call(launch, work), "graph": made.call(replay, inside)}
        plan = Plan(times=5 if kind == "noisy" else 20)
        try:
            found = report(calls, made.spoil, made.read, made.clock, made, plan, Limits())
        except Refused as refusal:
            reasons = str(refusal).replace("; ", "\n" + " " * 26)
            print(f"{kind:<17}refused: {reasons}")
            continue
        eager, graph = (1e6 * found.medians[name] for name in calls)
        sure = f"between {found.low:.3f} and {found.high:.3f}"
        print(f"{kind:<17}{eager:>8.0f}{graph:>8.0f}{found.speedup:>8.3f}, {sure}")


if __name__ == "__main__":
    main()
