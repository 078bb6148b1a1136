r"""Are they the same answers?

An engine that is fast and wrong is not fast. In float32 two right engines still differ now and
then: products of other shapes round differently, and where the two best tokens are closer than the
rounding, either may win. From there on the answers have nothing to do with each other. So the first
difference of each answer is looked at, and passes only if transformers' own two best scores at that
place are closer than {py:data}`EPSILON`.

In bfloat16 rounding decides all the time; there, equal answers are counted and not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: In float32, a differing token passes if transformers' two best logits are closer than this.
EPSILON = 1e-4


@dataclass(frozen=True)
class Agreement:
    """How many answers are the same, how many part at a near-tie, and the first that may not."""

    same: int
    near_ties: int
    total: int
    fault: str = ""

    def __str__(self) -> str:
        same = f"{self.same} of {self.total}"
        if self.fault:
            return f"VOID: {same}, {self.fault}"
        return f"{same}, the rest near-ties" if self.near_ties else same


def agree(
    prompts: Sequence[list[int]],
    ours: Sequence[list[int]],
    theirs: Sequence[list[int]],
    gap: Callable[[list[int]], float] | None,
    epsilon: float = EPSILON,
) -> Agreement:
    r"""Compare answers one by one; `gap` is asked for the two best scores after a text.

    Without `gap` the equal ones are counted and nothing is void.
    """
    if len(ours) != len(theirs):
        return Agreement(0, 0, len(ours), f"{len(theirs)} answers to {len(ours)} prompts")
    differing = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    same = len(ours) - len(differing)
    if gap is None:
        return Agreement(same, 0, len(ours))
    for i in differing:
        if len(ours[i]) != len(theirs[i]):
            fault = f"{len(ours[i])} and {len(theirs[i])} tokens for prompt {i}"
            return Agreement(same, 0, len(ours), fault)
        place = next(p for p, (a, b) in enumerate(zip(ours[i], theirs[i])) if a != b)
        distance = gap([*prompts[i], *theirs[i][:place]])
        if distance >= epsilon:
            fault = f"gap {distance:.1e} at token {place} of prompt {i}"
            return Agreement(same, 0, len(ours), fault)
    return Agreement(same, len(differing), len(ours))
