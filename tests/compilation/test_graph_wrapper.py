"""Who is called, captured, replayed or refused: the wrapper in front of a piece."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.compilation.dispatcher import BatchDescriptor  # noqa: E402
from mini_vllm.compilation.graph_wrapper import CUDAGraphWrapper, StepContext  # noqa: E402
from mini_vllm.compilation.recorded_graph import RecordedGraphs  # noqa: E402
from mini_vllm.config.compilation import CUDAGraphMode  # noqa: E402
from mini_vllm.errors import GraphError  # noqa: E402

NONE, PIECEWISE, FULL = CUDAGraphMode.NONE, CUDAGraphMode.PIECEWISE, CUDAGraphMode.FULL
FOUR = BatchDescriptor(4)


@dataclass
class Record:
    tensor: torch.Tensor
    number: int = 3


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


class Wrapped:
    """A wrapper, and how often its function was called."""

    def __init__(self, **settings) -> None:
        self.calls, self.context = 0, StepContext()

        def function(x, others, record):
            self.calls += 1
            return x + others[0] + record.tensor * record.number

        self.wrapper = CUDAGraphWrapper(
            function, FULL, self.context, RecordedGraphs(), name="piece", **settings
        )
        self.args = (torch.ones(4), [torch.ones(4)], Record(torch.ones(4)))

    def capture(self):
        self.context.may_capture, self.context.mode, self.context.descriptor = True, FULL, FOUR
        result = self.wrapper(*self.args)
        self.context.may_capture = False
        return result


def test_steps_of_other_modes_call_the_function() -> None:
    one = Wrapped()
    one.capture()
    for mode, calls in ((NONE, 2), (PIECEWISE, 3)):
        one.context.mode = mode
        one.wrapper(*one.args)
        assert one.calls == calls
    assert (one.context.num_captures, one.context.num_replays) == (1, 0)


def test_its_own_steps_replay() -> None:
    one = Wrapped()
    first = one.capture()
    assert first.tolist() == [5.0] * 4
    one.args[0].fill_(10.0)
    one.args[2].tensor.fill_(2.0)
    assert one.wrapper(*one.args) is first
    assert first.tolist() == [17.0] * 4
    assert (one.calls, one.context.num_replays) == (1, 1)


def test_an_unknown_shape_is_refused_while_requests_run() -> None:
    one = Wrapped()
    one.capture()
    one.context.descriptor = BatchDescriptor(8)
    with pytest.raises(GraphError, match=r"piece: no graph was captured for .*num_tokens=8"):
        one.wrapper(*one.args)


@pytest.mark.parametrize("moved", [0, 1, 2])
def test_an_input_that_moved_is_named(moved: int) -> None:
    one = Wrapped()
    one.capture()
    args = [torch.ones(4), [torch.ones(4)], Record(torch.ones(4))]
    args = [new if i == moved else old for i, (new, old) in enumerate(zip(args, one.args))]
    name = ("input 0", "input 1 0", r"input 2\.tensor")[moved]
    with pytest.raises(GraphError, match=f"piece: {name} was captured at 0x"):
        one.wrapper(*args)


def test_or_copied_where_that_is_allowed() -> None:
    one = Wrapped(copy_inputs=True)
    result = one.capture()
    one.wrapper(torch.full((4,), 2.0), [torch.full((4,), 3.0)], Record(torch.full((4,), 4.0)))
    assert result.tolist() == [17.0] * 4
    with pytest.raises(GraphError, match=r"input 0 was \[4\] at capture and is \[5\]"):
        one.wrapper(torch.ones(5), *one.args[1:])
    with pytest.raises(GraphError, match="captured with 3 tensors, called with 2"):
        one.wrapper(one.args[0], [], one.args[2])
