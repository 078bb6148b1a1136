r"""Lab 01: launches, captures and replays, counted on a device of a few thousand cells.

`test_differences.py` has task 4.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.properties import examples


def filled(device, *values):
    tensor = device.empty(len(values))
    device.write(tensor, values)
    return tensor


# ---------------------------------------------------------------- task 1: launches


@pytest.mark.task(1)
def test_a_launch_runs_at_once_and_is_counted(impl):
    device = impl.Device()
    x, y, out = filled(device, 1, 2), filled(device, 10, 20), device.empty(2)
    device.launch("add", out, x, y)
    assert device.read(out) == [11, 22]
    device.launch("scale", out, out, numbers=[3])
    assert device.read(out) == [33, 66]
    assert device.host_launches == 2


@pytest.mark.task(1)
def test_in_a_capture_it_is_written_down_and_not_run(impl):
    device = impl.Device()
    x, out = filled(device, 1, 2), filled(device, 7, 7)
    numbers = [3]
    device.captured = []
    device.launch("scale", out, x, numbers=numbers)
    device.launch("copy", x, out)
    written, device.captured = device.captured, None
    numbers[0] = 99
    assert written == [
        impl.Launch("scale", out, (x,), (3,)),
        impl.Launch("copy", x, (out,), ()),
    ]
    assert device.read(out) == [7, 7]
    assert device.host_launches == 0


@pytest.mark.task(1)
@pytest.mark.parametrize("capturing", [False, True])
def test_sizes_must_agree(impl, capturing):
    device = impl.Device()
    x, y = filled(device, 1, 2), filled(device, 1, 2, 3)
    device.captured = [] if capturing else None
    with pytest.raises(ValueError, match="size"):
        device.launch("add", x, x, y)
    with pytest.raises(ValueError, match="size"):
        device.launch("copy", y, x)
    assert device.host_launches == 0
    assert not device.captured


# ---------------------------------------------------------------- tasks 2 and 3: graphs


def given_launch(impl):
    r"""A device that launches, without yours."""

    class Launching(impl.Device):
        def launch(self, kernel, out, *inputs, numbers=()):
            launch = impl.Launch(kernel, out, inputs, tuple(numbers))
            if self.captured is not None:
                self.captured.append(launch)
            else:
                self.host_launches += 1
                self.run(launch)

    impl.Device = Launching
    return Launching()


def given_capture(impl):
    def capture(device, function, pool):
        before, device.pool, device.captured = device.pool, pool, []
        try:
            output = function()
            return impl.Graph(device.captured, output)
        finally:
            device.pool, device.captured = before, None

    impl.capture = capture


def given_replay(impl):
    def replay(device, graph):
        device.host_launches += 1
        for launch in graph.launches:
            device.run(launch)
        return graph.output

    impl.replay = replay


def doubled(device, x):
    r"""Twice `x`, by a tensor that is not needed afterwards."""
    copy, out = device.empty(x.size), device.empty(x.size)
    device.launch("copy", copy, x)
    device.launch("add", out, copy, x)
    device.release(copy)
    return out


@pytest.mark.task(2)
def test_a_capture_calls_once_writes_down_and_runs_nothing(impl):
    device, calls = given_launch(impl), []
    x = filled(device, 1, 2)

    def function():
        calls.append(device.pool)
        return doubled(device, x)

    graph = impl.capture(device, function, "mine")
    assert calls == ["mine"]
    assert [launch.kernel for launch in graph.launches] == ["copy", "add"]
    assert graph.launches[-1].out == graph.output
    assert device.host_launches == 0
    assert all(math.isnan(number) for number in device.read(graph.output))


@pytest.mark.task(2)
def test_afterwards_the_device_is_as_it_was(impl):
    device = given_launch(impl)
    device.pool = "somebody's"
    x = filled(device, 1)
    impl.capture(device, lambda: doubled(device, x), "mine")
    assert (device.captured, device.pool) == (None, "somebody's")
    with pytest.raises(ZeroDivisionError):
        impl.capture(device, lambda: 1 // 0, "mine")
    assert (device.captured, device.pool) == (None, "somebody's")


@pytest.mark.task(2)
def test_a_capture_within_a_capture_is_refused(impl):
    device = given_launch(impl)
    x = filled(device, 1)

    def function():
        with pytest.raises(impl.CaptureError):
            impl.capture(device, lambda: doubled(device, x), "inner")
        assert device.captured == []
        return doubled(device, x)

    assert len(impl.capture(device, function, "outer").launches) == 2


@pytest.mark.task(2)
def test_nobody_else_gets_cells_that_a_graph_writes(impl):
    device = given_launch(impl)
    x = filled(device, 1, 2)
    graph = impl.capture(device, lambda: doubled(device, x), "mine")
    written = {launch.out.address for launch in graph.launches}
    others = {device.empty(2).address for _ in range(20)}
    assert not written & others


@pytest.mark.task(3)
def test_a_replay_runs_all_in_order_for_one_launch(impl):
    device = given_launch(impl)
    given_capture(impl)
    x = filled(device, 1, 2)
    graph = impl.capture(device, lambda: doubled(device, doubled(device, x)), "mine")
    for values in ([1, 2], [5, -1]):
        device.write(x, values)
        before = device.host_launches
        output = impl.replay(device, graph)
        assert device.read(output) == [4 * value for value in values]
        assert device.host_launches == before + 1


@pytest.mark.task(3)
def test_a_replay_reads_the_tensor_of_the_capture(impl, truth):
    device = given_launch(impl)
    given_capture(impl)
    x = filled(device, 1, 2)
    graph = impl.capture(device, lambda: doubled(device, x), "mine")
    filled(device, 100, 200)
    found = device.read(impl.replay(device, graph))
    truth(
        "stale",
        {2: "the inputs of the capture's tensor", 200: "the new inputs"}.get(found[0], "an error"),
    )
    assert found == [2, 4]


@pytest.mark.task(3)
def test_a_number_of_the_host_is_frozen(impl, truth):
    device, knob = given_launch(impl), {"by": 3}
    given_capture(impl)
    x = filled(device, 1.0)

    def function():
        out = device.empty(1)
        device.launch("scale", out, x, numbers=[knob["by"]])
        return out

    graph = impl.capture(device, function, "mine")
    knob["by"] = 10
    [found] = device.read(impl.replay(device, graph))
    truth("frozen", int(found))
    assert found == 3


@pytest.mark.task(3)
def test_a_replay_into_a_capture_is_refused(impl):
    device = given_launch(impl)
    given_capture(impl)
    x = filled(device, 1.0)
    graph = impl.capture(device, lambda: doubled(device, x), "mine")
    device.captured = []
    with pytest.raises(impl.CaptureError):
        impl.replay(device, graph)
    assert device.host_launches == 0


# ---------------------------------------------------------------- tasks 5 and 6: the runner


def given_parts(impl):
    device = given_launch(impl)
    given_capture(impl)
    given_replay(impl)
    return device


@pytest.mark.task(5)
def test_every_size_has_a_graph_that_reads_the_buffer(impl):
    device = given_parts(impl)
    runner = impl.GraphRunner(device, impl.small_model, [2, 8, 4])
    assert sorted(runner.graphs) == [2, 4, 8]
    assert runner.buffer.size == 8
    for size, graph in runner.graphs.items():
        assert graph.launches[0].inputs[0] == (runner.buffer.address, size)
        assert graph.output.size == size
        written = {launch.out.address for launch in graph.launches}
        assert runner.buffer.address not in written
    assert device.host_launches == 0


@pytest.mark.task(5)
def test_small_graphs_live_in_the_cells_of_the_largest(impl):
    used = {}
    for sizes in ([8], [1, 2, 4, 8], [4, 8, 1, 2]):
        device = given_parts(impl)
        impl.GraphRunner(device, impl.small_model, sizes)
        used[str(sizes)] = device.num_used
    assert len(set(used.values())) == 1, used


@pytest.mark.task(5)
def test_the_buffer_is_nobodys_but_the_runners(impl):
    device = given_parts(impl)
    runner = impl.GraphRunner(device, impl.small_model, [1, 4])
    assert device.stretches[runner.buffer.address][0] == impl.EAGER
    pools = {pool for pool, stretch in device.stretches.values() if stretch != runner.buffer}
    assert len(pools) == 1
    assert impl.EAGER not in pools


def by_hand(values, layers=3):
    for _ in range(layers):
        values = [0.5 * value * value + value for value in values]
    return values


@pytest.fixture
def runner(impl):
    device = given_parts(impl)
    made = impl.GraphRunner.__new__(impl.GraphRunner)
    made.device, made.model, made.buffer = device, impl.small_model, device.empty(8)
    made.graphs = {
        size: impl.capture(
            device,
            lambda size=size: impl.small_model(device, impl.Tensor(made.buffer.address, size)),
            f"graph of {size}",
        )
        for size in (8, 2, 4)
    }
    return made


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("batch", "launches", "rows"),
    [(1, 1, 2), (2, 1, 2), (3, 1, 4), (5, 1, 8), (8, 1, 8), (9, 9, 9)],
)
def test_the_smallest_graph_that_holds_the_batch(impl, truth, runner, batch, launches, rows):
    values = [0.1 * place for place in range(batch)]
    ran, run = [], runner.device.run

    def watched(launch):
        ran.append(launch.out.size)
        run(launch)

    runner.device.run = watched
    assert runner.step(values) == pytest.approx(by_hand(values))
    if batch == 5:
        truth("launches", runner.device.host_launches)
        truth("rows", ran[0])
    assert runner.device.host_launches == launches
    assert set(ran) == {rows}


@pytest.mark.task(6)
def test_rows_that_are_left_hold_zeros_and_not_yesterday(impl, runner):
    runner.step([1e3] * 8)
    runner.step([0.5])
    assert runner.device.read(impl.Tensor(runner.buffer.address, 2)) == [0.5, 0.0]


@pytest.mark.task(6)
def test_batches_that_no_graph_holds_take_no_more_memory_each_time(impl, runner):
    runner.step([0.1] * 9)
    used = runner.device.num_used
    for _ in range(5):
        runner.step([0.1] * 9)
    assert runner.device.num_used == used


@pytest.mark.task(1, 2, 3, 5, 6)
@examples(40)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True),
    batches=st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=14), min_size=1, max_size=5),
)
def test_any_batch_is_computed_as_launch_by_launch(impl, sizes, batches):
    runner = impl.GraphRunner(impl.Device(), impl.small_model, sizes)
    for values in batches:
        assert runner.step(values) == pytest.approx(by_hand(values))
