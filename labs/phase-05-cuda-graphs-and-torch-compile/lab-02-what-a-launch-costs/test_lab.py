r"""Lab 02: timelines of a host and a device, in whole microseconds, and one real measurement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples


def ends(spans):
    return [span.end for span in spans]


# ---------------------------------------------------------------- task 1: a kernel


@pytest.mark.task(1)
@pytest.mark.parametrize(
    ("weights", "reads", "writes", "rows", "took"),
    [
        (0, 0, 0, 5, 3),  # nothing moves, and it still takes its time
        (100, 0, 0, 1, 10),
        (100, 0, 0, 50, 10),  # weights are read once, however many rows
        (0, 10, 20, 1, 3),
        (0, 10, 20, 2, 6),
        (100, 10, 20, 2, 16),
        (0, 0, 29, 1, 3),
        (0, 0, 31, 1, 3.1),
    ],
)
def test_bytes_by_bandwidth_and_never_less_than_the_shortest(
    impl, weights, reads, writes, rows, took
):
    kernel = impl.Kernel("k", weights, reads, writes)
    assert impl.duration(kernel, rows, impl.Device(10, 3)) == pytest.approx(took)


# ---------------------------------------------------------------- task 2: two clocks


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("durations", "launch", "gap", "spans"),
    [
        ([], 5, 1, []),
        ([2], 5, 1, [(5, 7)]),
        ([2, 2, 2], 5, 1, [(5, 7), (10, 12), (15, 17)]),
        ([9, 2, 2], 5, 0, [(5, 14), (14, 16), (16, 18)]),
        ([9, 2, 2], 5, 1, [(5, 14), (15, 17), (18, 20)]),
        ([1, 20, 1, 1], 5, 2, [(5, 6), (10, 30), (32, 33), (35, 36)]),
        ([3, 3], 0, 1, [(0, 3), (4, 7)]),
    ],
    ids=str,
)
def test_whoever_is_later_decides(impl, durations, launch, gap, spans):
    assert [tuple(span) for span in impl.timeline(durations, launch, gap)] == spans


@pytest.mark.task(2)
def test_a_step_is_the_host_or_the_device(impl, truth):
    short, long = (impl.timeline([length] * 100, 5, 0)[-1].end for length in (2, 20))
    faster = impl.timeline([20] * 100, 2.5, 0)[-1].end
    truth("host-bound", round(short))
    truth("device-bound", round(long))
    truth("half", long - faster)
    assert (short, long, faster) == (502, 2005, 2002.5)


@pytest.mark.task(2)
@examples(60)
@given(
    durations=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    launch=st.integers(0, 10),
    gap=st.integers(0, 3),
)
def test_no_kernel_starts_early_and_none_without_a_reason(impl, durations, launch, gap):
    spans = impl.timeline(durations, launch, gap)
    assert [span.end - span.start for span in spans] == durations
    for number, span in enumerate(spans, start=1):
        reasons = [number * launch, *([spans[number - 2].end + gap] if number > 1 else [])]
        assert span.start == max(reasons)


# ---------------------------------------------------------------- task 3: waiting


def spans_of(impl, *pairs):
    return [impl.Span(*pair) for pair in pairs]


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("spans", "idle", "ahead"),
    [
        ([], 0, 0),
        ([(5, 7)], 5, 2),
        ([(5, 7), (10, 12)], 8, 2),
        ([(5, 25), (25, 45)], 5, 35),
        ([(5, 25), (26, 46), (50, 51)], 10, 36),
    ],
    ids=str,
)
def test_the_device_waits_or_the_host_is_ahead(impl, spans, idle, ahead):
    made = spans_of(impl, *spans)
    assert impl.idle(made) == idle
    assert impl.ahead(made, 5) == ahead


# ---------------------------------------------------------------- task 4: a graph


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("durations", "launch", "gap", "spans"),
    [
        ([], 5, 1, []),
        ([2], 5, 1, [(5, 7)]),
        ([2, 2, 2], 5, 1, [(5, 7), (8, 10), (11, 13)]),
        ([9, 1, 30], 5, 0, [(5, 14), (14, 15), (15, 45)]),
        ([4, 4], 20, 0.5, [(20, 24), (24.5, 28.5)]),
    ],
    ids=str,
)
def test_the_host_launches_once(impl, durations, launch, gap, spans):
    assert [tuple(span) for span in impl.as_graph(durations, launch, gap)] == spans


@pytest.mark.task(2, 4)
@examples(40)
@given(
    durations=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    launch=st.integers(0, 10),
    gap=st.integers(0, 3),
)
def test_a_graph_with_the_same_gap_is_never_slower(impl, durations, launch, gap):
    graph = impl.as_graph(durations, launch, gap)
    assert ends(graph)[-1] <= ends(impl.timeline(durations, launch, gap))[-1]


# ---------------------------------------------------------------- task 5: fusing


def kernels(impl, text):
    r"""`"add* norm* mm"`: fusible ones with a star; each moves other bytes."""
    return [
        impl.Kernel(name.rstrip("*"), 1 + i, 10 + i, 100 + i, name.endswith("*"))
        for i, name in enumerate(text.split())
    ]


@pytest.mark.task(5)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", []),
        ("mm", ["mm"]),
        ("mm mm", ["mm", "mm"]),
        ("add* mm", ["add", "mm"]),
        ("mm add*", ["mm", "add"]),
        ("add* norm*", ["add+norm"]),
        ("add* norm* mm silu* scale* cast* mm", ["add+norm", "mm", "silu+scale+cast", "mm"]),
    ],
)
def test_neighbours_become_one(impl, before, after):
    assert [kernel.name for kernel in impl.fused(kernels(impl, before))] == after


@pytest.mark.task(5)
def test_what_lies_between_is_neither_written_nor_read(impl):
    [one, mm, two] = impl.fused(kernels(impl, "a* b* c* mm d*"))
    assert one == impl.Kernel("a+b+c", 1 + 2 + 3, 10, 102, True)
    assert mm == impl.Kernel("mm", 4, 13, 103, False)
    assert two == impl.Kernel("d", 5, 14, 104, True)


@pytest.mark.task(5)
def test_the_kernels_of_a_layer(impl, truth):
    step = kernels(impl, "add* norm* qkv rope* o add* norm* up silu* down")
    kept = list(step)
    found = impl.fused(step)
    truth("fused-count", len(found))
    assert [kernel.name for kernel in found] == (
        ["add+norm", "qkv", "rope", "o", "add+norm", "up", "silu", "down"]
    )
    assert step == kept, "the step is not yours to change"


# ---------------------------------------------------------------- task 6: from which batch on


def given_parts(impl):
    r"""Durations by rows alone; the two ends are sums, so that the answer is a division."""
    impl.duration = lambda kernel, rows, device: float(rows)

    def end(at):
        return [impl.Span(0.0, at)]

    impl.timeline = lambda durations, launch, gap: end(sum(durations) + launch * len(durations))
    impl.as_graph = lambda durations, launch, gap: end(sum(durations) + launch + gap)


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("share", "most", "found"),
    [
        # eager: 4 rows + 4 * 10; graph: 4 rows + 10 + 2; saved: 28
        (0.5, 100, 5),  # 28 < 0.5 * (40 + 4 * 4) is false, with 5 rows it is true
        (0.5, 5, 5),
        (0.5, 4, None),
        (0.1, 100, 61),
        (0.1, 60, None),
        (0.9, 100, 1),
        (0.0, 100, None),
    ],
)
def test_the_smallest_batch_that_saves_too_little(impl, share, most, found):
    given_parts(impl)
    four = [impl.Kernel("k", 0, 0, 0)] * 4
    arguments = four, impl.Device(1, 0), 10.0, (7.0, 2.0), share, most
    assert impl.where_a_graph_stops_paying(*arguments) == found


@pytest.mark.task(6)
def test_each_road_has_its_own_gap(impl):
    given_parts(impl)
    seen = {}
    timeline, as_graph = impl.timeline, impl.as_graph
    impl.timeline = lambda *a: seen.setdefault("eager", a[2]) and timeline(*a)
    impl.as_graph = lambda *a: seen.setdefault("graph", a[2]) and as_graph(*a)
    four = [impl.Kernel("k", 0, 0, 0)] * 4
    impl.where_a_graph_stops_paying(four, impl.Device(1, 0), 10.0, (7.0, 2.0), 0.5, 9)
    assert seen == {"eager": 7.0, "graph": 2.0}


@pytest.mark.task(1, 2, 4, 6)
def test_a_large_model_is_not_helped(impl):
    device, gaps = impl.Device(3.35e6, 2.0), (1.0, 0.5)
    small, large = impl.a_step(28, 512), impl.a_step(28, 8192)
    assert impl.where_a_graph_stops_paying(large, device, 5.0, gaps, 0.1, 64) == 1
    assert impl.where_a_graph_stops_paying(small, device, 5.0, gaps, 0.1, 64) is None


# ---------------------------------------------------------------- task 7: measured


@pytest.mark.task(7)
@pytest.mark.parametrize(
    ("counts", "seconds", "price", "rest"),
    [
        ([1, 2], [3.0, 5.0], 2.0, 1.0),
        ([10, 20, 40], [10.5, 20.5, 40.5], 1.0, 0.5),
        ([0, 1, 2, 3], [1.0, 2.0, 1.0, 2.0], 0.2, 1.2),
        ([5, 1, 3], [0.0, 0.0, 0.0], 0.0, 0.0),
    ],
    ids=str,
)
def test_the_line_through_the_points(impl, counts, seconds, price, rest):
    assert impl.price_of_a_call(counts, seconds) == pytest.approx((price, rest))


@pytest.mark.task(7)
def test_a_call_on_this_machine_costs_something(impl):
    r"""No bound on the time: machines differ. A chain that is longer takes longer, that is all."""
    counts = [50, 400]
    price, _ = impl.price_of_a_call(counts, impl.measured(lambda: sum(range(50)), counts, 5))
    assert price > 0
