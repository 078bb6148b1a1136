r"""Lab 03: lists of sizes on small traces, all of them tried, and on the recorded one."""

from __future__ import annotations

from itertools import accumulate, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_vllm.compilation.capture_sizes import default_capture_sizes

from labkit.properties import examples

TRACES = st.lists(st.integers(1, 8), min_size=1, max_size=12)


# ---------------------------------------------------------------- what the tests compare with


def becomes(tokens, sizes):
    return next((size for size in sorted(sizes) if size >= tokens), None)


def rows_of(trace, sizes):
    return sum((becomes(tokens, sizes) or tokens) - tokens for tokens in trace)


def loss_of(trace, sizes, prices):
    eager = sum(becomes(tokens, sizes) is None for tokens in trace)
    return rows_of(trace, sizes) * prices.row + eager * prices.eager


def counted(impl, trace):
    sizes = sorted(set(trace))
    steps = accumulate((trace.count(size) for size in sizes), initial=0)
    rows = accumulate((trace.count(size) * size for size in sizes), initial=0)
    return impl.Ladder(sizes, list(steps), list(rows))


def stretch(counted, first, last):
    r"""`padding`, size by size."""
    return sum(
        (counted.sizes[last] - counted.sizes[i]) * (counted.steps[i + 1] - counted.steps[i])
        for i in range(first, last + 1)
    )


def every_table(counted, graphs):
    r"""`table`, with every set of sizes tried, the small sets first."""
    counts = [after - before for before, after in zip(counted.steps, counted.steps[1:])]
    found = []
    for most in range(1, max(graphs, 1) + 1):
        row = []
        for j, last in enumerate(counted.sizes):
            covered = [size for i in range(j + 1) for size in [counted.sizes[i]] * counts[i]]
            sets = [
                [*chosen, last]
                for size in range(min(most, j + 1))
                for chosen in combinations(counted.sizes[:j], size)
            ]
            rows, at = min((rows_of(covered, sizes), n) for n, sizes in enumerate(sets))
            row.append((rows, sets[at]))
        found.append(row)
    return found


# ---------------------------------------------------------------- task 1: padded


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("tokens", "sizes", "size"),
    [
        (1, [1, 2, 4], 1),
        (3, [1, 2, 4], 4),
        (4, [1, 2, 4], 4),
        (5, [1, 2, 4], None),
        (2, [8, 4, 2], 2),
        (3, [4, 8, 2], 4),
        (1, [], None),
    ],
)
def test_the_smallest_size_that_holds_the_step(impl, tokens, sizes, size):
    assert impl.padded(tokens, sizes) == size


# ---------------------------------------------------------------- task 2: lost


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("trace", "sizes", "lost"),
    [
        ([], [4], 0),
        ([4], [4], 0),
        ([3], [4], 10),
        ([1, 3], [4], 40),
        ([5], [4], 700),
        ([5, 5, 2], [4], 1420),
        ([1, 1, 1], [], 2100),
        ([1, 5, 9], [8, 2], 10 + 30 + 700),
    ],
    ids=str,
)
def test_padding_by_the_row_and_eager_steps_by_the_step(impl, trace, sizes, lost):
    impl.padded = becomes
    assert impl.lost(trace, sizes, impl.Prices(10, 700)) == lost


# ---------------------------------------------------------------- task 3: taken


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([], (0, 0)),
        ([1], (50, 703)),
        ([8], (50, 724)),
        ([1, 8], (100, 1424)),
        ([8, 1, 4], (150, 2124)),
    ],
    ids=str,
)
def test_each_graph_takes_its_own_and_all_share_one_pool(impl, sizes, taken):
    found = impl.taken(sizes, impl.Capture(milliseconds=50, graph=700, row=3))
    assert tuple(found) == taken, "milliseconds, KiB"


# ---------------------------------------------------------------- task 4: the pin's list


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ((1, 2048), [1, 2]),
        ((2, 2048), [1, 2, 4]),
        ((3, 2048), [1, 2, 4]),  # the end itself, 6, is no size
        ((4, 2048), [1, 2, 4, 8]),
        ((10, 2048), [1, 2, 4, 8, 16]),
        ((64, 20), [1, 2, 4, 8, 16, 20]),  # but the budget of a step is
        ((64, 16), [1, 2, 4, 8, 16]),
        ((64, 1), [1]),
        ((64, 3), [1, 2, 3]),
        ((1, 2048, 3), [1, 2, 4]),
        ((2, 2048, 4), [1, 2, 4, 8, 16]),
        ((4, 2048, 1, True), [1, 2, 3, 4, 5, 6, 7, 8]),
        ((20, 2048, 1, True), [*range(1, 33), 40]),
    ],
    ids=str,
)
def test_the_list_of_the_pin(impl, arguments, sizes):
    assert list(impl.default_sizes(*arguments)) == sizes


@pytest.mark.task(4)
def test_steps_of_eight_become_steps_of_sixteen(impl, truth):
    found = list(impl.default_sizes(256, 8192))
    truth("default-count", len(found))
    truth("nine", becomes(9, found) - 9)
    below, above = [n for n in found if 8 <= n < 256], [n for n in found if n >= 256]
    assert below == list(range(8, 256, 8))
    assert above == list(range(256, 513, 16))
    assert found[:3] == [1, 2, 4]
    assert impl.default_sizes(1024, 8192) == found, "512 is the end, however many requests"
    assert impl.default_sizes(1024, 513) == found
    for budget in (700, 8192):
        assert impl.default_sizes(128, budget, 4) == found, "and however many tokens each has"


@pytest.mark.task(4)
@examples(80)
@given(st.integers(1, 300), st.integers(1, 600))
def test_it_is_the_list_of_the_engine(impl, max_num_seqs, budget):
    largest = min(2 * max_num_seqs, 512)
    assert tuple(impl.default_sizes(max_num_seqs, budget)) == default_capture_sizes(largest, budget)


# ---------------------------------------------------------------- task 5: counted once


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("trace", "sizes", "steps", "rows"),
    [
        ([7], [7], [0, 1], [0, 7]),
        ([2, 2, 2], [2], [0, 3], [0, 6]),
        ([5, 1, 5, 3, 1], [1, 3, 5], [0, 2, 3, 5], [0, 2, 5, 15]),
        ([], [], [0], [0]),
    ],
    ids=str,
)
def test_sizes_ascend_and_sums_begin_with_nothing(impl, trace, sizes, steps, rows):
    kept = list(trace)
    assert tuple(map(list, impl.ladder(trace))) == (sizes, steps, rows)
    assert trace == kept, "the trace is not yours to sort"


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("first", "last", "rows"),
    [(0, 0, 0), (1, 1, 0), (2, 2, 0), (0, 1, 4), (1, 2, 2), (0, 2, 10)],
)
def test_a_stretch_is_padded_to_its_last_size(impl, first, last, rows):
    made = impl.Ladder([1, 3, 5], [0, 2, 3, 8], [0, 2, 5, 30])
    assert impl.padding(made, first, last) == rows


@pytest.mark.task(5)
@examples(60)
@given(TRACES, st.data())
def test_sums_give_what_counting_gives(impl, trace, data):
    made = impl.ladder(trace)
    last = data.draw(st.integers(0, len(made.sizes) - 1))
    first = data.draw(st.integers(0, last))
    assert impl.padding(made, first, last) == stretch(made, first, last)


class Watched(list):
    r"""A list that counts how many of its values are looked at."""

    looks = 0

    def __getitem__(self, place):
        found = super().__getitem__(place)
        Watched.looks += len(found) if isinstance(place, slice) else 1
        return found

    def __iter__(self):
        for value in super().__iter__():
            Watched.looks += 1
            yield value


@pytest.mark.task(5)
def test_a_stretch_takes_the_same_for_few_and_for_many(impl):
    made = impl.Ladder(Watched(range(1, 1001)), Watched(range(1001)), Watched(range(1001)))
    taken = []
    for first in (998, 0):
        Watched.looks = 0
        impl.padding(made, first, 999)
        taken.append(Watched.looks)
    assert taken[0] == taken[1], "values looked at, for two sizes and for a thousand"


# ---------------------------------------------------------------- task 6: the table


@pytest.mark.task(6)
def test_a_table_by_hand(impl):
    impl.padding = stretch
    found = impl.table(counted(impl, [1, 1, 2, 5, 6]), 3)
    rows = [[rows for rows, _ in line] for line in found]
    # One size: all below are padded to it. Two: 1 and 6 lose 4 + 1 rows, 2 and 6 lose 2 + 1.
    assert rows == [[0, 2, 11, 15], [0, 0, 2, 3], [0, 0, 0, 1]]
    assert [list(sizes) for _, sizes in found[1]] == [[1], [1, 2], [2, 5], [2, 6]]
    assert list(found[2][0][1]) == [1], "a second size would have nothing to do"


@pytest.mark.task(6)
@examples(80)
@given(TRACES, st.integers(1, 5))
def test_no_other_sizes_lose_fewer_rows(impl, trace, graphs):
    impl.padding = stretch
    made = counted(impl, trace)
    found, tried = impl.table(made, graphs), every_table(made, graphs)
    assert len(found) == graphs
    for row, other in zip(found, tried):
        assert len(row) == len(made.sizes)
        for j, ((rows, sizes), (least, few)) in enumerate(zip(row, other)):
            assert rows == least
            covered = [tokens for tokens in trace if tokens <= made.sizes[j]]
            assert rows_of(covered, sizes) == rows, f"{sizes} do not lose {rows} rows"
            assert list(sizes) == sorted(set(sizes))
            assert sizes[-1] == made.sizes[j]
            assert len(sizes) == len(few), f"{few} are as good as {sizes}"


# ---------------------------------------------------------------- task 7: the budget


def given_parts(impl):
    impl.ladder = lambda trace: counted(impl, trace)
    impl.table = every_table
    impl.taken = lambda sizes, capture: (
        len(sizes) * capture.milliseconds,
        len(sizes) * capture.graph + max(sizes, default=0) * capture.row,
    )


def every_list(trace, prices, capture, budget):
    r"""The least loss and the fewest sizes that reach it, over all sizes, in the trace or not."""
    fitting = [
        sizes
        for count in range(budget.graphs + 1)
        for sizes in combinations(range(1, max(trace) + 1), count)
        if count * capture.milliseconds <= budget.milliseconds
        and count * capture.graph + max(sizes, default=0) * capture.row <= budget.kib
    ]
    return min((loss_of(trace, sizes, prices), len(sizes)) for sizes in fitting)


@pytest.mark.task(7)
@pytest.mark.parametrize(
    ("budget", "best"),
    [
        ((0, 999, 999), (400, [])),
        ((1, 999, 999), (110, [2])),  # all in 9 would be 22 rows of padding
        ((2, 999, 999), (10, [2, 9])),
        ((3, 999, 999), (0, [1, 2, 9])),
        ((9, 999, 999), (0, [1, 2, 9])),  # six more would have nothing to do
        ((9, 15, 999), (0, [1, 2, 9])),
        ((9, 14, 999), (10, [2, 9])),
        ((9, 9, 999), (110, [2])),
        ((9, 4, 999), (400, [])),
        ((9, 999, 33), (0, [1, 2, 9])),
        ((9, 999, 32), (10, [2, 9])),
        ((9, 999, 24), (100, [1, 2])),  # a small pool, and the largest step is eager
        ((9, 999, 17), (110, [2])),
        ((9, 999, 9), (300, [1])),
        ((9, 999, 8), (400, [])),
    ],
    ids=str,
)
def test_a_budget_by_hand(impl, budget, best):
    given_parts(impl)
    prices, capture = impl.Prices(row=10, eager=100), impl.Capture(5, 8, 1)
    found = impl.best_sizes([1, 2, 9, 2], prices, capture, impl.Budget(*budget))
    assert (found[0], list(found[1])) == best


@pytest.mark.task(7)
@examples(80)
@given(
    trace=TRACES,
    prices=st.tuples(st.integers(0, 5), st.integers(0, 20)),
    capture=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3)),
    budget=st.tuples(st.integers(0, 4), st.integers(0, 16), st.integers(0, 40)),
)
def test_no_list_within_the_budget_loses_less(impl, trace, prices, capture, budget):
    given_parts(impl)
    prices, capture = impl.Prices(*prices), impl.Capture(*capture)
    budget = impl.Budget(*budget)
    loss, sizes = impl.best_sizes(trace, prices, capture, budget)
    assert loss == loss_of(trace, sizes, prices), f"{sizes} do not lose {loss}"
    assert (loss, len(sizes)) == every_list(trace, prices, capture, budget)
    milliseconds, kib = impl.taken(sizes, capture)
    assert len(sizes) <= budget.graphs
    assert milliseconds <= budget.milliseconds
    assert kib <= budget.kib


# ---------------------------------------------------------------- all of it: the recorded trace


@pytest.mark.task(4, 5, 6, 7, 3)
def test_few_sizes_do_as_well_as_the_list_of_the_pin(impl, truth):
    trace, pin = impl.recorded(), impl.default_sizes(64, 512)
    bar = loss_of(trace, pin, impl.PRICES)
    table = impl.table(impl.ladder(trace), 6)
    impl.table = lambda made, graphs: table[:graphs]
    for graphs in range(1, 7):
        budget = impl.Budget(graphs, 10**9, 10**9)
        loss, sizes = impl.best_sizes(trace, impl.PRICES, impl.CAPTURE, budget)
        if loss <= bar:
            break
    truth("as-good", graphs)
    assert len(pin) == 19
    assert loss <= bar
    assert len(sizes) == graphs


@pytest.mark.task(5, 6, 7, 3)
def test_a_list_is_for_the_load_that_it_was_made_for(impl, truth):
    trace, budget = impl.recorded(), impl.Budget(8, 10**9, 10**9)
    late = trace[len(trace) // 2 :]
    made, best = (
        impl.best_sizes(part, impl.PRICES, impl.CAPTURE, budget)[1]
        for part in (trace[: len(trace) // 2], late)
    )
    ratio = loss_of(late, made, impl.PRICES) / loss_of(late, best, impl.PRICES)
    words = ("less than a tenth more", "up to twice as much", "more than twice as much")
    truth("tomorrow", words[(ratio >= 1.1) + (ratio > 2)])
    assert ratio >= 1, "no list is better on the second half than the best one for it"
