"""Paths are written shorter and lead to the same places."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from book._ext.compact_paths import compact_path, without_gaps

NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
COUNT = {"m": 1, "l": 1, "q": 2, "c": 3}
coordinate = st.floats(-900, 900, allow_nan=False)
point = st.tuples(coordinate, coordinate)


def draw(command: str, points: list[tuple[float, float]]) -> str:
    return f"{command} " + " ".join(f"{x:.6f} {y:.6f}" for x, y in points)


steps = st.one_of(
    *(
        st.tuples(st.just(c), st.lists(point, min_size=n, max_size=n))
        for c, n in (("L", 1), ("Q", 2), ("C", 3), ("M", 1))
    ),
    st.tuples(st.just("Z"), st.just([])),
)


def places(relative: str) -> list[tuple[float, float]]:
    """Every point of a relative path, from the corner."""
    here = start = (0.0, 0.0)
    found = []
    for command, text in re.findall(r"([a-z])([^a-z]*)", relative):
        numbers = [float(n) for n in NUMBER.findall(text)]
        if command == "z":
            here = start
            continue
        assert len(numbers) == 2 * COUNT[command], relative
        origin = here
        for x, y in zip(numbers[::2], numbers[1::2], strict=True):
            here = (origin[0] + x, origin[1] + y)
            found.append(here)
        start = here if command == "m" else start
    return found


@given(point, st.lists(steps, max_size=12), st.sampled_from([1, 2]))
def test_every_point_stays_within_half_a_unit(first, later, decimals):
    path = [("M", [first]), *later]
    written = compact_path(" ".join(draw(c, p) for c, p in path), decimals)
    wanted = [p for _, points in path for p in points]
    found = places(written)
    assert len(found) == len(wanted)
    for (x, y), (u, v) in zip(wanted, found, strict=True):
        assert abs(x - u) < 0.51 * 10**-decimals
        assert abs(y - v) < 0.51 * 10**-decimals


def test_what_it_writes():
    assert compact_path("M 10.004 20 L 10.5 19.75 L 11 19.5 Z", 2) == "m10 20l.5-.25l.5-.25z"
    assert compact_path("M 0 0 C 0.5 0.25 1 1 2 2", 2) == "m0 0c.5.25 1 1 2 2"


def test_an_arc_is_left_alone():
    path = "M 0 0 A 1 1 0 0 1 2 2"
    assert compact_path(path, 2) == path


def test_blanks_inside_a_text_stay():
    assert without_gaps("<g>\n <text>a  b</text>\n</g>") == "<g><text>a  b</text></g>"
