r"""The numbers of phase 01: are the runs behind them what their names say?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from book.quantities import all_quantities
from book.quantities.phase_01 import _asked, _cases, _ladder
from book.quantities.step_counts import first_token, request, run, scheduler

LENGTHS = st.integers(1, 300)


@settings(deadline=None, max_examples=60)
@given(prompt=LENGTHS, output=st.integers(1, 12), budget=st.integers(8, 90))
def test_alone_the_first_token_comes_when_the_prompt_is_read(
    prompt: int, output: int, budget: int
) -> None:
    steps = run(scheduler(budget=budget, seats=4), [request("r", prompt, output)])
    assert first_token(steps, "r") == -(-prompt // budget)
    assert len(steps) == first_token(steps, "r") + output - 1


@settings(deadline=None, max_examples=60)
@given(
    work=st.lists(st.tuples(LENGTHS, st.integers(1, 12)), min_size=1, max_size=6),
    budget=st.integers(8, 90),
)
def test_what_is_granted_is_what_is_owed(work: list[tuple[int, int]], budget: int) -> None:
    requests = [request(f"r{i}", p, o) for i, (p, o) in enumerate(work)]
    steps = run(scheduler(budget=budget, seats=8), requests)
    assert sum(step.total for step in steps) == sum(p + o - 1 for p, o in work)
    assert all(step.total <= budget for step in steps)


def test_the_ladder_of_the_pin_differs_from_ours_in_the_hole_alone() -> None:
    differing = [case for case in _cases() if _asked(case) != _ladder("mesl", case)]
    assert differing == [case for case in _cases() if case["below"] and case["full"]]


@pytest.mark.parametrize("name", [q.name for q in all_quantities() if q.name.startswith("p01-")])
def test_every_number_is_printed_on_a_page(name: str) -> None:
    from pathlib import Path

    pages = Path(__file__).parents[2] / "book" / "phase-01-architecture-and-request-lifecycle"
    assert any(f"{{qty}}`{name}" in page.read_text("utf-8") for page in pages.glob("*.md"))
