"""The recorder and the compiler take turns: what a compiled piece does is recorded, all of it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.compilation.recorded_graph import RecordedGraph  # noqa: E402
from mini_vllm.compilation.recorded_pieces import aside, watched  # noqa: E402
from mini_vllm.errors import GraphError  # noqa: E402


def piece(layer, x, y):
    return torch.nn.functional.silu(layer(x)) * y, x + 1


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_piece_is_recorded_and_replayed(backend) -> None:
    torch.compiler.reset()
    compiled = torch.compile(piece, backend=watched(backend), fullgraph=True)
    layer, x, y = torch.nn.Linear(4, 4), torch.randn(3, 4), torch.randn(3, 4)

    def call():
        with aside():
            made = compiled(layer, x, y)
        return [one * 2 for one in made]  # seen again after the piece

    with torch.no_grad():
        call()  # compiles; in a capture nothing may
        graph = RecordedGraph()
        results = graph.capture(call)
        names = [one.name for one in graph.operations if one.kind == "compute"]
        assert names.count("aten.mul") == 3
        assert {"aten.addmm", "aten.silu", "aten.add"} <= set(names)
        x.fill_(2.0)
        y.fill_(-1.0)
        graph.replay()
        for found, expected in zip(results, piece(layer, x, y), strict=True):
            torch.testing.assert_close(found, 2 * expected)
    assert RecordedGraph.recording is None


def test_what_happens_aside_is_not_recorded_and_nothing_else_is_let_through() -> None:
    x, graph = torch.ones(2), RecordedGraph()

    def call():
        with aside():
            assert x.sum().item() == 2  # the compiler may look at what it likes
        return x + (1 if x[0] > 0 else 2)

    with torch.no_grad(), pytest.raises(GraphError, match="__bool__"):
        graph.capture(call)
    assert not any("sum" in one.name for one in graph.operations)
    assert RecordedGraph.recording is None
