r"""Rules about boxes."""

from sample.invariants import invariant
from sample.shapes import Box


@invariant("sides-positive", "Every side is at least **one**.", phase=1, owner="box")
def _sides_positive(box: Box):
    if box.width < 1:
        yield f"width {box.width}"


def enforce(box: Box) -> bool:
    r"""Whether the box keeps {inv}`sides-positive`."""
    return not list(_sides_positive(box))
