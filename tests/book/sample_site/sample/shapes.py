r"""How large is a thing? This text opens the module.

## First heading of the module

Its paragraph, with $O(1)$ and {py:class}`sample.shapes.Box`.

### A heading below it

More text.

## Second heading of the module

The end of the module's text.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

#: The largest box that anybody wants.
LARGEST = 99

Mode = Literal["fast", "slow"]


class Colour(enum.Enum):
    r"""A colour."""

    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Box:
    r"""A box with sides.

    A class may quote code:

    ```python
    Box(2, 3)
    ```
    """

    width: int
    height: int = 1
    labels: list[str] = field(default_factory=list)

    def area(self, mode: Literal["fast", "slow"] = "fast") -> int:
        r"""Width times height; `mode` is for show."""
        # the product of both sides
        return self.width * self.height

    @property
    def volume(self) -> int:
        r"""The same as the area: boxes are flat."""
        return self.area()

    def grow(self, by: Sequence[int]) -> Box:
        r"""A larger box."""
        taller = self.height
        for step in by:
            taller += step
        return Box(self.width, taller, self.labels)

    def undocumented(self) -> None:
        pass

    def _private(self) -> None:
        r"""Nobody sees this."""


def pack(boxes: Sequence[Box], *, mode: Mode = "fast") -> int:
    r"""How much room they need together."""
    return sum(box.area(mode) for box in boxes)
