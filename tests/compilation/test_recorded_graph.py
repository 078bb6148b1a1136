"""What a graph freezes, and what it refuses: the stand-in must be as strict as a device."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.compilation.recorded_graph import RecordedGraph, RecordedGraphs  # noqa: E402
from mini_vllm.errors import GraphError  # noqa: E402


@pytest.fixture(autouse=True)
def _no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def test_a_replay_reads_inputs_anew_and_writes_where_it_wrote() -> None:
    x, graph = torch.zeros(4), RecordedGraph()
    y = graph.capture(lambda: x * 2 + 1)
    place = y.data_ptr()
    x.fill_(5.0)
    assert y.tolist() == [1.0] * 4
    graph.replay()
    assert y.tolist() == [11.0] * 4
    assert y.data_ptr() == place


def test_it_computes_what_the_function_computes() -> None:
    weight, table = torch.randn(6, 4), torch.randn(9, 4)
    ids, out = torch.tensor([1, 3, 5]), torch.zeros(3, 6)
    rows = torch.tensor([2, 0, 1])

    def function():
        hidden = torch.nn.functional.embedding(ids, table)
        left, right = torch.nn.functional.linear(hidden, weight).chunk(2, dim=-1)
        mixed = torch.cat((left.softmax(-1), right.t().reshape(3, 3)), dim=1)
        out[rows] = mixed
        out[1:].mul_(0.5)
        return mixed.float().contiguous(), out

    graph = RecordedGraph()
    mixed, _ = graph.capture(function)
    for new in ([0, 8, 2], [7, 7, 7]):
        ids.copy_(torch.tensor(new))
        out.zero_()
        graph.replay()
        replayed = mixed.clone(), out.clone()
        out.zero_()
        for got, expected in zip(replayed, function(), strict=True):
            assert torch.equal(got, expected)


def test_a_branch_a_length_and_a_number_are_frozen() -> None:
    x, state = torch.ones(3), {"double": True, "times": 2, "plus": 1.0}

    def function():
        y = x * 2 if state["double"] else x * 100
        for _ in range(state["times"]):
            y = y + state["plus"]
        return y

    graph = RecordedGraph()
    y = graph.capture(function)
    state.update(double=False, times=5, plus=1000.0)
    graph.replay()
    assert y.tolist() == [4.0] * 3
    assert graph.num_launches == 3


def test_another_tensor_in_the_same_place_of_the_program_is_not_seen() -> None:
    holder = {"x": torch.ones(2)}
    graph = RecordedGraph()
    y = graph.capture(lambda: holder["x"] + 1)
    holder["x"] = torch.full((2,), 9.0)
    graph.replay()
    assert y.tolist() == [2.0, 2.0]


def test_a_tensor_that_was_moved_is_found() -> None:
    x, graph = torch.ones(2), RecordedGraph()
    graph.capture(lambda: x + 1)
    x.set_(torch.full((2,), 9.0))
    with pytest.raises(GraphError, match=r"aten\.add.* a graph would read the old place"):
        graph.replay()


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("item", lambda x: x.sum().item()),
        ("tolist", lambda x: x.tolist()),
        ("numpy", lambda x: x.numpy()),
        ("cpu", lambda x: x.cpu()),
        ("__bool__", lambda x: x + 1 if x.sum() > 0 else x),
        ("__int__", lambda x: int(x[0])),
        ("__float__", lambda x: float(x[0])),
        ("shape", lambda x: x.nonzero()),
        ("shape", lambda x: x[x > 0]),
        ("shape", lambda x: x.index_put_((x > 0,), torch.ones(()))),
        ("shape", lambda x: torch.repeat_interleave(x, torch.ones(4, dtype=torch.int64))),
        ("random", lambda x: x + torch.randn(4)),
        ("numbers on the host", lambda x: x + torch.tensor([1.0, 2.0, 3.0, 4.0])),
    ],
)
def test_what_no_device_could_capture_is_refused(name: str, function) -> None:
    with pytest.raises(GraphError, match=f"inside a graph.*{name}|{name}.* inside a graph"):
        RecordedGraph().capture(lambda: function(torch.ones(4)))


def test_a_numpy_loop_is_refused() -> None:
    """The kernels for the CPU take a tensor's memory and are gone: nothing could be recorded."""
    numba = pytest.importorskip("mini_vllm.kernels.numba_kernels")
    kernels = numba.NumbaKernels()
    with pytest.raises(GraphError, match=r"Tensor\.numpy inside a graph"):
        RecordedGraph().capture(lambda: kernels.silu_and_mul(torch.ones(2, 4)))


def test_a_capture_is_made_once_and_before_a_replay() -> None:
    graph = RecordedGraph()
    with pytest.raises(GraphError, match="was not captured"):
        graph.replay()
    graph.capture(lambda: torch.zeros(1))
    with pytest.raises(GraphError, match="cannot be changed"):
        graph.capture(lambda: torch.zeros(1))


def test_the_listing_names_operations_shapes_and_places() -> None:
    x, graph = torch.ones(2, 3), RecordedGraph()
    y = graph.capture(lambda: x.t() @ x)
    lines = graph.listing().splitlines()
    assert "aten.t" in lines[0]
    assert "[view]" in lines[0]
    assert "aten.mm" in lines[1]
    assert "[3, 3]" in lines[1]
    assert f"{y.data_ptr():x} [compute]" in lines[1]
    assert graph.num_launches == 1
    assert graph.num_bytes == y.untyped_storage().nbytes()


def test_results_do_not_survive_a_graph_of_another_shape() -> None:
    x, graphs = torch.ones(2), RecordedGraphs()
    small, one = graphs.capture("small", lambda: x + 1)
    twin, two = graphs.capture("small", lambda: small * 2)
    ids, three = graphs.capture("large", lambda: (x * 3).long())
    graphs.replay("small", one)
    graphs.replay("small", two)
    # Pieces of one shape hand results to each other.
    assert small.tolist() == [2.0, 2.0]
    assert twin.tolist() == [4.0, 4.0]
    assert ids.tolist() == [torch.iinfo(torch.int64).min] * 2
    graphs.replay("large", three)
    assert small.isnan().all()
    assert ids.tolist() == [3, 3]
    assert graphs.num_bytes > 0
