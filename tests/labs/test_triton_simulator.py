r"""The simulator of the labs' kernels: is it strict where a device would be silent?"""

from __future__ import annotations

import numpy as np
import pytest
from labkit import triton_simulator


@pytest.fixture
def sim():
    return triton_simulator


def launched(sim, work, grid=(1,), **arrays):
    def kernel(**given):
        work(**given)

    sim.jit(kernel)[grid](**arrays)


def test_programs_of_a_grid_run_once_each(sim):
    out = np.zeros((2, 3))

    def work(out):
        place = sim.tl.program_id(0) * 3 + sim.tl.program_id(1)
        sim.tl.store(out + place, place + 1)

    launched(sim, work, (2, 3), out=out)
    assert out.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_masked_places_are_not_touched_and_not_counted(sim):
    data, found = np.arange(6.0), []

    def kernel(data):
        places = sim.tl.arange(0, 8)
        found.append(sim.tl.load(data + places, mask=places < 5, other=-1.0))
        found.append(sim.tl.load(places + data, mask=places < 5))
        sim.tl.store(data + places, 9.0, mask=places < 2)

    counted = sim.jit(kernel)
    counted[(1,)](data)
    assert found[0].tolist() == [0, 1, 2, 3, 4, -1, -1, -1]
    assert np.isnan(found[1][5:]).all(), "a device would leave anything there"
    assert data.tolist() == [9, 9, 2, 3, 4, 5]
    assert counted.loaded["data"] == 10


@pytest.mark.parametrize("place", [-1, 4, 10**6])
@pytest.mark.parametrize("what", ["load", "store"])
def test_an_address_outside_is_an_error_with_a_name(sim, what, place):
    def work(data):
        sim.tl.load(data + place) if what == "load" else sim.tl.store(data + place, 0.0)

    with pytest.raises(sim.KernelError, match=rf"data\[{place}\]"):
        launched(sim, work, data=np.zeros(4))


def test_two_programs_must_not_write_to_one_place(sim):
    with pytest.raises(sim.KernelError, match="two programs"):
        launched(sim, lambda data: sim.tl.store(data + 1, 0.0), (2,), data=np.zeros(4))


@pytest.mark.parametrize("count", [0, 3, 12])
def test_tiles_are_powers_of_two(sim, count):
    with pytest.raises(sim.KernelError, match="power of two"):
        launched(sim, lambda data: sim.tl.arange(0, count), data=np.zeros(4))


def test_what_else_a_device_would_refuse(sim):
    with pytest.raises(sim.KernelError, match="inside a kernel"):
        sim.jit(lambda: None)()
    with pytest.raises(sim.KernelError, match="whole number"):
        launched(sim, lambda data: data + 0.5, data=np.zeros(4))
    with pytest.raises(sim.KernelError, match="contiguous"):
        launched(sim, lambda data: None, data=np.zeros((4, 4)).T)
    with pytest.raises(sim.KernelError, match="mask"):
        launched(sim, lambda data: sim.tl.load(data, mask=np.ones(2) > 0), data=np.zeros(4))


def test_what_was_stored_is_counted(sim):
    def kernel(data):
        sim.tl.store(data + sim.tl.arange(0, 4), 1.0, mask=sim.tl.arange(0, 4) < 3)

    counted = sim.jit(kernel)
    counted[(1,)](np.zeros(8))
    assert counted.stored == {"data": 3}
    assert counted.multiplied == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_product_of_tiles_is_summed_in_float32_and_counted(sim, dtype):
    left, right = (np.full(shape, 100.0, dtype) for shape in ((4, 32), (32, 2)))
    found = []
    counted = sim.jit(lambda: found.append(sim.tl.dot(left, right)))
    counted[(1,)]()
    assert found[0].dtype == np.float32
    assert (found[0] == 320_000).all(), "float16 ends at 65504"
    assert counted.multiplied == 4 * 32 * 2


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (np.ones((4, 8), np.float32), np.ones((8, 4), np.float32), "16 is the least"),
        (np.ones((4, 16), np.float32), np.ones((16, 4), np.float16), "one type"),
        (np.ones((4, 16), np.float32), np.ones((4, 16), np.float32), "no matrices that fit"),
        (np.ones(16, np.float32), np.ones((16, 4), np.float32), "no matrices that fit"),
    ],
)
def test_products_that_a_matrix_unit_does_not_take(sim, left, right, told):
    with pytest.raises(sim.KernelError, match=told):
        launched(sim, lambda: sim.tl.dot(left, right))


def test_a_kernel_never_warns(sim, recwarn):
    def work(data):
        sim.tl.store(data, sim.tl.exp2(sim.tl.load(data) - sim.tl.load(data)))

    data = np.array([-np.inf])
    launched(sim, work, data=data)
    assert np.isnan(data).all()
    assert not recwarn.list
