r"""What is counted on a page: a module of its own, so that editing the page costs little."""

from __future__ import annotations

from pathlib import Path

from book.quantities.registry import quantity
from book.questions import read

_ROOT = Path(__file__).parents[2]
# Written from the root, so that the file is seen to be an input.
_EXERCISES_01 = "book/phase-01-architecture-and-request-lifecycle/EXERCISES.md"


@quantity("p01-num-exercise-points", unit="", source="counted on the page")
def num_exercise_points() -> int:
    """Two points for each exercise of the page."""
    return 2 * sum(1 for _ in read(_ROOT / _EXERCISES_01))
