r"""Attention backends compared: who agrees, how fast each is, and what may be said about it.

A *contestant* has a name and two functions without arguments: `check` computes the step once and
gives its result as an array, `work` computes it and gives nothing. What cannot run here has a
reason instead. `check` is called first, and whoever fails it is not timed.

A step is a list of *chunks*, one a request: `(num_tokens, length)`, so many new tokens at the end
of a text of that length. A backend stores the keys and values of the new tokens, then attends.

By itself this file needs NumPy alone. `on_real_backends.py` beside it hands it the backends of the
engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

#: How far a result may be from the oracle's, as a share of the oracle's largest number: float32
#: sums in another order; the others round the result, and the weights before it, to 11 or 8 bits.
TOLERANCES = {"float32": 3e-6, "float16": 2e-3, "bfloat16": 1.6e-2}
#: What a table must say about its measurement.
FACTS = ("device", "versions", "commit", "command", "dtype", "step", "rounds")


class Device(NamedTuple):
    r"""Bytes a second of its memory, operations a second of its fastest unit for the type."""

    bandwidth: float
    rate: float


class Cost(NamedTuple):
    r"""What a step must move at least, in bytes, and compute, in operations."""

    bytes_moved: int
    operations: int


class Summary(NamedTuple):
    r"""A median in seconds, the quartiles around it, and what stands against using it, if so."""

    median: float
    low: float
    high: float
    against: str | None = None


class Contestant(NamedTuple):
    r"""A backend with this step prepared, or `obstacle`: why it cannot run here."""

    name: str
    check: Callable[[], np.ndarray] | None = None
    work: Callable[[], object] | None = None
    obstacle: str | None = None


class Row(NamedTuple):
    r"""A line of the comparison. `summary` and `share` are `None` where a figure must not be given.

    `remark` then says why, and is empty otherwise.
    """

    name: str
    summary: Summary | None = None
    share: float | None = None
    remark: str = ""


def disagreement(found: np.ndarray, oracle: np.ndarray, dtype: str) -> str | None:
    r"""What stands against a result, in words with the numbers, or `None`.

    A result agrees if it has the oracle's shape, if all its numbers are finite, and if none is
    further from the oracle's than the tolerance of `dtype` times the oracle's largest number in
    size. Raises `ValueError` for a type without a tolerance: nobody invents one after the fact.
    """
    # TODO task 1: agree before any time counts
    raise NotImplementedError("task 1: agree before any time counts")


def interleaved(
    work: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warm_up: int,
    clock: Callable[[], float],
    wait: Callable[[], object],
) -> dict[str, list[float]]:
    r"""The seconds of each turn, `rounds` of them for every name, in the order of their rounds.

    Each round gives every name one turn, and the first turn moves on by one name from round to
    round, so that nobody always comes after the same one. `warm_up` rounds go before, and are
    not in the result. A device may still be working when a call returns; `wait` returns when it
    has finished. A turn begins with nothing of another's work left to do, and ends when its own is
    done.
    """
    # TODO task 2: take turns
    raise NotImplementedError("task 2: take turns")


def summarise(seconds: Sequence[float], moved: float = 0.1) -> Summary:
    r"""Median and quartiles as `np.percentile` gives them, and what stands against using them.

    Three things do: fewer than 8 turns; quartiles that are further apart than `moved` times the
    median (`scattered`); and a drift, when the medians of the first half of the turns and of the
    rest differ by more than half of that (`drifted`). With an odd number of turns, the one in the
    middle belongs to the rest. The refusal names the first of these that holds, by the number of
    turns or by the word in brackets.
    """
    # TODO task 3: refuse what moved too much
    raise NotImplementedError("task 3: refuse what moved too much")


def cost(
    chunks: Sequence[tuple[int, int]],
    *,
    num_heads: int,
    num_kv_heads: int,
    size: int,
    number_bytes: int,
    window: int = 0,
) -> Cost:
    r"""What the step cannot do without, whoever computes it.

    It reads every query, and every key and value that some query of its request reads, once; it
    writes every result, and the keys and values of the new tokens, which it is given and so reads
    as well. A pair of a query and a key that it reads takes `4 * size` operations in each query
    head. `window` is 0 if there is none.
    """
    # TODO task 4: count, and find the floor
    raise NotImplementedError("task 4: count, and find the floor")


def floor(cost: Cost, device: Device) -> tuple[float, str]:
    r"""The seconds that nobody can beat, and `"memory"` or `"arithmetic"`; memory on a tie."""
    # TODO task 4: count, and find the floor
    raise NotImplementedError("task 4: count, and find the floor")


def compare(
    contestants: Sequence[Contestant],
    oracle: np.ndarray,
    dtype: str,
    least: float,
    rounds: int,
    *,
    warm_up: int,
    clock: Callable[[], float],
    wait: Callable[[], object],
) -> list[Row]:
    r"""A row for each contestant, in the given order, none left out.

    Those with an obstacle say so and do nothing. The others are checked, all before the first turn.
    One that raises or disagrees gets no turn, since its time would be the time of something else.
    The remark for an exception is its type and its words. Those that are left take turns together.
    A summary that must not be used gives no figure but what stands against it, and a median below
    `least`, the floor in seconds, gives none either: then the count or the clock is wrong, and the
    remark speaks of the `floor`. `share` is the floor as a share of the median.
    """
    # TODO task 5: compare
    raise NotImplementedError("task 5: compare")


def verdict(one: Row, other: Row) -> str:
    r"""What may be said: `"faster"`, `"slower"`, `"no difference shown"` or `"no figure"`.

    The first of one against the other. A difference is shown if the middle halves do not touch.
    """
    # TODO task 6: say no more than was measured
    raise NotImplementedError("task 6: say no more than was measured")


def table(rows: Sequence[Row], baseline: str, facts: Mapping[str, object]) -> str:
    r"""The comparison in Markdown, for somebody who was not there.

    Every fact of {py:data}`FACTS` on a line `- name: value`, then an empty line and a table with
    the columns `backend`, `median (ms)`, `middle half (ms)`, `share of floor`, `against NAME` with
    the baseline's name, and `remark`. Each row of the comparison is a row of it: `1.250`,
    `1.200 to 1.300`, `25%`. The baseline says `-` of itself, the others what {py:func}`verdict`
    says, and where there is a figure for both, in brackets how many times the baseline's median is
    theirs: `faster (2.00 x)`. A cell for which there is no figure is `-`, and so is no remark.

    Raises `ValueError` that names the facts which are missing or empty, and one for a baseline that
    is not among the rows.
    """
    # TODO task 6: say no more than was measured
    raise NotImplementedError("task 6: say no more than was measured")


def main() -> None:
    r"""A table from a machine that exists in this file only, with six contestants."""
    now = [0.0]

    def takes(seconds: float, every_fifth: float = 1.0) -> Callable[[], None]:
        turns = [0]

        def work() -> None:
            turns[0] += 1
            # The machine gets a little slower all the time, for everybody.
            now[0] += seconds * 1.001 ** turns[0] * (every_fifth if turns[0] % 5 < 2 else 1.0)

        return work

    right = np.linspace(-1.0, 1.0, 9)
    wrong = np.where(right > 0.9, np.nan, right)
    contestants = [
        Contestant("plain", lambda: right, takes(8e-3)),
        Contestant("better", lambda: right * (1 + 1e-6), takes(3e-3)),
        Contestant("as good", lambda: right, takes(8.01e-3)),
        Contestant("restless", lambda: right, takes(2e-3, every_fifth=1.6)),
        Contestant("quick and wrong", lambda: wrong, takes(1e-3)),
        Contestant("not here", obstacle="it runs on cuda, not on paper"),
    ]
    settings = {"warm_up": 2, "clock": lambda: now[0], "wait": lambda: None}
    rows = compare(contestants, right, "float32", 2.4e-3, 20, **settings)
    facts = dict.fromkeys(FACTS, "made up") | {"dtype": "float32", "rounds": 20}
    print(table(rows, "plain", facts), end="")


if __name__ == "__main__":
    main()
