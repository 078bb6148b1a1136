r"""Which sizes are worth a graph? A list for a trace, as cheap as a list can be.

A *trace* is how many tokens each step of a run had. A step is padded to the smallest captured size
that holds it, and runs eagerly where there is none. Numbers are whole: microseconds for what a
step loses, milliseconds and KiB for what captures take.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple


class Prices(NamedTuple):
    r"""What is lost, in microseconds: for a row of padding, and for a step without a graph."""

    row: int
    eager: int


class Capture(NamedTuple):
    r"""What captures take: milliseconds and KiB for each graph, and KiB of their pool.

    All graphs share one pool, and it has `row` KiB for each row of the largest of them.
    """

    milliseconds: int
    graph: int
    row: int


class Budget(NamedTuple):
    r"""The most graphs, and the most milliseconds and KiB, that captures may take in all."""

    graphs: int
    milliseconds: int
    kib: int


class Ladder(NamedTuple):
    r"""A trace as far as padding can see it.

    `sizes` are the different sizes of its steps, ascending. `steps[i]` is how many steps are among
    the first `i` sizes, `rows[i]` is how many tokens these steps have together; both begin with 0,
    so they are longer by one than `sizes`.
    """

    sizes: list[int]
    steps: list[int]
    rows: list[int]


def padded(tokens: int, sizes: Sequence[int]) -> int | None:
    r"""The smallest of the sizes that holds a step, or `None`. They may come in any order."""
    # lab: begin task 1 "what a step becomes"
    return min((size for size in sizes if size >= tokens), default=None)
    # lab: end


def lost(trace: Sequence[int], sizes: Sequence[int], prices: Prices) -> int:
    r"""What a list of sizes loses over a trace: rows of padding, and steps without a graph.

    `padded` says what each step becomes.
    """
    # lab: begin task 2 "what a list loses"
    total = 0
    for tokens in trace:
        size = padded(tokens, sizes)
        total += prices.eager if size is None else (size - tokens) * prices.row
    return total
    # lab: end


def taken(sizes: Sequence[int], capture: Capture) -> tuple[int, int]:
    r"""What the captures of these sizes take: milliseconds, and KiB with the pool."""
    # lab: begin task 3 "what captures take"
    count = len(sizes)
    return count * capture.milliseconds, count * capture.graph + max(sizes, default=0) * capture.row
    # lab: end


def default_sizes(
    max_num_seqs: int, max_num_batched_tokens: int, query_len: int = 1, interactive: bool = False
) -> list[int]:
    r"""The pin's list, where nobody has chosen one.

    Its end is twice the tokens of a full batch of decodes, each with `query_len` tokens, but at
    most 512, and at most the budget of a step, `max_num_batched_tokens`. Up to there: 1, 2 and 4;
    the multiples of 8 below 256; the multiples of 16 from 256 on. `interactive` has every size up
    to 32 in place of 1, 2 and 4. The budget of a step is a size too if it is the end. Ascending,
    and none twice.
    """
    # lab: begin task 4 "the pin's list"
    end = min(2 * max_num_seqs * query_len, 512, max_num_batched_tokens)
    small = range(1, 33) if interactive else (1, 2, 4)
    sizes = {*small, *range(8, 256, 8), *range(256, 513, 16)}
    if end == max_num_batched_tokens:
        sizes.add(end)
    return sorted(size for size in sizes if size <= end)
    # lab: end


def ladder(trace: Sequence[int]) -> Ladder:
    r"""Count a trace once, so that nobody has to walk over it again."""
    # lab: begin task 5 "count once"
    counts: dict[int, int] = {}
    for tokens in sorted(trace):
        counts[tokens] = counts.get(tokens, 0) + 1
    steps = accumulate(counts.values(), initial=0)
    rows = accumulate((size * count for size, count in counts.items()), initial=0)
    return Ladder(list(counts), list(steps), list(rows))
    # lab: end


def padding(counted: Ladder, first: int, last: int) -> int:
    r"""Rows of padding if all steps of the sizes number `first` to `last`, counted from 0 and both
    included, are padded to the last of them. Takes the same time for few steps and for many.
    """
    # lab: begin task 5 "count once"
    steps = counted.steps[last + 1] - counted.steps[first]
    rows = counted.rows[last + 1] - counted.rows[first]
    return counted.sizes[last] * steps - rows
    # lab: end


def table(counted: Ladder, graphs: int) -> list[list[tuple[int, list[int]]]]:
    r"""For up to 1, 2, ... `graphs` sizes, and for each size that may be the largest of them: the
    fewest rows of padding, and the sizes that reach it. `graphs` is at least 1.

    `table(...)[k][j]` has at most `k + 1` sizes, all out of `counted.sizes`. The largest is number
    `j`, and only the steps up to it are counted.
    `padding` is what a stretch of sizes costs.
    """
    # lab: begin task 6 "one size more"
    places = range(len(counted.sizes))
    found = [[(padding(counted, 0, j), [counted.sizes[j]]) for j in places]]
    for _ in range(graphs - 1):
        before = found[-1]
        row = []
        for j in places:
            best, sizes = before[j]
            for i in range(j):
                if (rows := before[i][0] + padding(counted, i + 1, j)) < best:
                    best, sizes = rows, [*before[i][1], counted.sizes[j]]
            row.append((best, sizes))
        found.append(row)
    return found
    # lab: end


def best_sizes(
    trace: Sequence[int], prices: Prices, capture: Capture, budget: Budget
) -> tuple[int, list[int]]:
    r"""The least that any list within the budget loses over a trace, and such a list, ascending.

    No graphs at all is a list too. If several lose as little, one with the fewest sizes. `ladder`,
    `table` and `taken` are there.
    """
    # lab: begin task 7 "within the budget"
    counted = ladder(trace)
    best: tuple[int, list[int]] = (len(trace) * prices.eager, [])
    for row in table(counted, budget.graphs) if budget.graphs else []:
        for j, (rows, sizes) in enumerate(row):
            milliseconds, kib = taken(sizes, capture)
            if milliseconds <= budget.milliseconds and kib <= budget.kib:
                eager = len(trace) - counted.steps[j + 1]
                loss = rows * prices.row + eager * prices.eager
                best = min(best, (loss, sizes), key=lambda pair: (pair[0], len(pair[1])))
    return best
    # lab: end


#: Given: the costs of the table. An eager step loses what lab 02's table has between `step` and
#: `graph` in the row of 1024; the others are round numbers.
PRICES, CAPTURE = Prices(row=2, eager=646), Capture(milliseconds=250, graph=8192, row=96)


def recorded() -> list[int]:
    r"""Given: the trace beside this file; `record.py` says how it was made."""
    text = (Path(__file__).parent / "trace.txt").read_text(encoding="utf-8")
    return [int(word) for word in text.split()]


def main() -> None:
    r"""Print what lists of several lengths lose, on the trace that they were made for and later."""
    trace = recorded()
    half = len(trace) // 2
    early, late = trace[:half], trace[half:]
    pin, wide = default_sizes(64, 512), default_sizes(256, 512)
    print(f"{len(trace)} steps of {len(set(trace))} sizes, 64 requests at most; lists are made for")
    print("all of them, and once more for the first half alone, and used in the second\n")
    heads = (
        "graphs",
        "ends at",
        "start ms",
        "MiB",
        "lost ms",
        "1st half",
        "2nd, made",
        "2nd, best",
    )
    print(f"{'list':<10}" + "".join(f"{head:>10}" for head in heads))
    lines = [(f"pin, {end}", sizes, sizes, sizes) for end, sizes in ((128, pin), (512, wide))]
    for graphs in (1, 2, 4, 6, 8, 12, len(pin)):
        budget = Budget(graphs, 10**9, 10**9)
        made = [best_sizes(part, PRICES, CAPTURE, budget)[1] for part in (trace, early, late)]
        lines.append(("chosen", *made))
    for name, whole, first, second in lines:
        milliseconds, kib = taken(whole, CAPTURE)
        cells = [len(whole), max(whole), milliseconds, f"{kib / 1024:.1f}"]
        for part, sizes in ((trace, whole), (early, first), (late, first), (late, second)):
            cells.append(f"{lost(part, sizes, PRICES) / 1000:.1f}")
        print(f"{name:<10}" + "".join(f"{cell:>10}" for cell in cells))
    few = best_sizes(trace, PRICES, CAPTURE, Budget(8, 10**9, 10**9))[1]
    print(f"\nthe eight sizes: {' '.join(map(str, few))}")


if __name__ == "__main__":
    main()
