r"""Lab 01: where two captures part. `test_lab.py` has the other tasks."""

from __future__ import annotations

import pytest

# ---------------------------------------------------------------- task 4: differences


def a_launch(impl, kernel="add", out=(0, 2), inputs=((2, 2), (4, 2)), numbers=(1.0,)):
    return impl.Launch(
        kernel, impl.Tensor(*out), tuple(impl.Tensor(*t) for t in inputs), tuple(numbers)
    )


def graphs(impl, one, other):
    return [impl.Graph(launches, impl.Tensor(0, 2)) for launches in (one, other)]


@pytest.mark.task(4)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, None),
        ({"kernel": "multiply"}, "kernel"),
        ({"out": (8, 2)}, "address"),
        ({"inputs": ((2, 2), (8, 2))}, "address"),
        ({"out": (0, 4)}, "size"),
        ({"inputs": ((2, 4), (4, 2))}, "size"),
        ({"numbers": (2.0,)}, "number"),
        ({"numbers": ()}, "number"),
        ({"kernel": "multiply", "out": (8, 4), "numbers": (2.0,)}, "kernel"),
        ({"out": (8, 2), "inputs": ((2, 2), (4, 4)), "numbers": (2.0,)}, "size"),
        ({"out": (8, 2), "numbers": (2.0,)}, "address"),
    ],
    ids=str,
)
def test_one_launch_differs(impl, change, found):
    for place in range(3):
        one = [a_launch(impl) for _ in range(3)]
        other = [*one[:place], a_launch(impl, **change), *one[place + 1 :]]
        assert impl.first_difference(*graphs(impl, one, other)) == found


@pytest.mark.task(4)
def test_the_first_launch_that_differs_decides(impl):
    one = [a_launch(impl), a_launch(impl, numbers=[5.0]), a_launch(impl, kernel="copy")]
    other = [a_launch(impl)] * 3
    assert impl.first_difference(*graphs(impl, one, other)) == "number"


@pytest.mark.task(4)
def test_one_graph_goes_on(impl):
    short, long = [a_launch(impl)], [a_launch(impl)] * 2
    assert impl.first_difference(*graphs(impl, short, long)) == "count"
    assert impl.first_difference(*graphs(impl, long, short)) == "count"
    assert impl.first_difference(*graphs(impl, [], short)) == "count"
    different = [a_launch(impl, kernel="copy")] * 2
    assert impl.first_difference(*graphs(impl, short, different)) == "kernel"
