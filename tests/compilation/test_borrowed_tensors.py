"""How a device's tensor is described to torch, so that its memory is viewed and not held.

The description is the one that NumPy has for the CPU under another name; so NumPy can be asked
here whether it says the right thing. What torch makes of it is tested on a device, in `tests/gpu`.
"""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mini_vllm.compilation.cuda_graph import Place, tensor_at  # noqa: E402


def as_numpy_sees_it(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(SimpleNamespace(__array_interface__=Place(tensor).__cuda_array_interface__))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64])
@pytest.mark.parametrize(
    "view",
    [lambda x: x, lambda x: x[1:, ::2], lambda x: x.t(), lambda x: x[2], lambda x: x[:1, :1]],
    ids=["whole", "part", "turned", "row", "one"],
)
def test_the_same_numbers_at_the_same_place(dtype, view) -> None:
    tensor = view(torch.arange(24).reshape(4, 6).to(dtype))
    seen = as_numpy_sees_it(tensor)
    assert seen.shape == tensor.shape
    assert seen.ctypes.data == tensor.data_ptr()
    again = torch.from_numpy(seen).view(dtype)
    assert torch.equal(again, tensor)
    again.zero_()
    assert not tensor.any()


def test_it_holds_nothing() -> None:
    tensor = torch.ones(5)
    place, alive = Place(tensor), weakref.ref(tensor)
    del tensor
    gc.collect()
    assert alive() is None
    assert place.__cuda_array_interface__["shape"] == (5,)


def test_nothing_is_nowhere() -> None:
    nothing = torch.empty(0, 3)
    assert tensor_at(nothing) is nothing
