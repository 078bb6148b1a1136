"""Does the stand-in for a GPU refuse what a GPU refuses, and compute the same otherwise?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from other_device import THERE, DeviceError, OtherDevice, OtherDeviceGraphs, Remote
from torch import nn


@pytest.fixture
def device():
    with OtherDevice() as there:
        yield there


def there(*numbers: float) -> torch.Tensor:
    return torch.from_numpy(np.array(numbers, np.float32)).to(THERE)


def test_numbers_are_those_of_the_cpu(device) -> None:
    layer = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    expected = layer(x).relu_()[1:].softmax(-1)
    found = nn.Linear(3, 2, device=THERE)
    for ours, theirs in zip(found.parameters(), layer.parameters()):
        ours.data.copy_(theirs)
    assert isinstance(found.weight, Remote)
    result = found(x.to(THERE)).relu_()[1:].softmax(-1)
    assert result.device == THERE
    assert torch.equal(result.cpu(), expected)


def test_views_share_memory(device) -> None:
    x = torch.zeros(3, 4, device=THERE)
    x[1:].view(-1)[:4].fill_(5.0)
    x[[0, 2], 3] = 7.0
    assert x.tolist() == [[0, 0, 0, 7], [5, 5, 5, 5], [0, 0, 0, 7]]


def test_what_the_context_makes_is_there(device) -> None:
    with THERE:
        assert isinstance(torch.ones(2), Remote)
    assert not isinstance(torch.ones(2), Remote)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: torch.cat((x, y)),
        lambda x, y: x.index_put_((torch.zeros(1, dtype=torch.long),), y[:1]),
        lambda x, y: torch.where(x > 0, x, y),
    ],
)
def test_the_sides_do_not_mix(device, mix) -> None:
    with pytest.raises(DeviceError, match="CPU"):
        mix(there(1, 2), torch.ones(2))


def test_a_number_of_the_host_may_come_along(device) -> None:
    assert (there(1, 2) * torch.tensor(3.0)).tolist() == [3, 6]


def test_numpy_wants_a_copy(device) -> None:
    with pytest.raises(TypeError, match="numpy"):
        there(1).numpy()


def test_random_numbers_want_a_generator_of_the_device(device) -> None:
    x = torch.empty(3, device=THERE)
    with pytest.raises(DeviceError, match="generator"):
        x.exponential_(generator=torch.Generator())
    with pytest.raises(DeviceError, match="generator"):
        x[1:].exponential_(generator=torch.Generator(device="cpu"))
    generator = torch.Generator(device=THERE)
    generator.manual_seed(7)
    x.exponential_(generator=generator)
    assert x.tolist() == torch.empty(3).exponential_(generator=torch.manual_seed(7)).tolist()


READS = {
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "a branch": lambda x: bool(x.sum() > 0),
    "nonzero": lambda x: x.nonzero(),
    "a mask as an index": lambda x: x[x > 1],
    "a copy into the host's": lambda x: torch.empty(2).copy_(x),
}


@pytest.mark.parametrize("read", READS)
def test_reads_are_counted_and_refused_in_a_capture(device, read) -> None:
    x = there(1, 2)
    assert device.reads.total() == 0
    READS[read](x)
    assert device.reads.total() > 0
    with device.capture(), pytest.raises(DeviceError, match="in a capture"):
        READS[read](x)


SENDS = {
    "to": lambda x: torch.ones(2).to(THERE),
    "copy_": lambda x: x.copy_(torch.ones(2)),
    "a list": lambda x: torch.tensor([1.0, 2.0], device=THERE),
    "places": lambda x: x[[0, 1]],
    "random": lambda x: x.exponential_(),
}


@pytest.mark.parametrize("send", SENDS)
def test_what_comes_from_outside_is_refused_in_a_capture(device, send) -> None:
    x = there(1, 2)
    SENDS[send](x)
    with device.capture(), pytest.raises(DeviceError, match="in a capture"):
        SENDS[send](x)


def test_a_graph_reads_memory_and_not_python(device) -> None:
    maker, x = OtherDeviceGraphs(THERE), there(1, 2)
    factor = [10.0]
    result, graph = maker.capture("two", lambda: (x * factor[0]).add_(1).view(1, 2))
    assert np.isnan(result.tolist()).all()  # nothing has run yet
    x.copy_(torch.tensor([3.0, 4.0]))
    factor[0] = 99.0
    maker.replay("two", graph)
    assert result.tolist() == [[31, 41]]
    other, second = maker.capture("three", lambda: x + 1)
    maker.replay("three", second)
    assert other.tolist() == [4, 5]
    assert np.isnan(result.tolist()).all()  # one pool


def test_memory_that_nobody_holds_is_given_to_the_next_graph(device) -> None:
    """Two pieces of one step: the second reads the first's result, so somebody must hold it."""
    maker, x = OtherDeviceGraphs(THERE), there(1, 2)
    first, one = maker.capture("step", lambda: x * 2)
    second, two = maker.capture("step", lambda: first + 1)
    maker.replay("step", one)
    maker.replay("step", two)
    assert second.tolist() == [3, 5]

    lost, three = maker.capture("step", lambda: x * 3)
    borrowed = maker.borrow(lost)
    del lost
    _, four = maker.capture("step", lambda: borrowed + 1)
    maker.replay("step", three)
    assert borrowed.tolist() == [3, 6]
    maker.replay("step", four)
    assert np.isnan(borrowed.tolist()).all()
