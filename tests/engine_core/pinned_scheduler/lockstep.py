"""Both schedulers side by side: after every step, every field of the record must be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from pinned_scheduler.coverage import Coverage
from pinned_scheduler.our_adapter import OurAdapter
from pinned_scheduler.replay import Adapter, steps


@dataclass(frozen=True)
class Difference:
    """The first step in which they part, and every field that differs in it."""

    seed: int
    step: int
    fields: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        lines = [f"workload {self.seed} differs in step {self.step}:"]
        for name, (ours, pinned) in self.fields.items():
            lines += [f"  {name}", f"    ours    {ours}", f"    pinned  {pinned}"]
        return "\n".join(lines)


def compare(
    workload: dict[str, Any],
    ours: OurAdapter,
    pinned: Adapter,
    coverage: Coverage | None = None,
) -> Difference | None:
    """Run a workload on both; return the first difference, or `None` when there is none."""
    sides = (_until_raised(steps(workload, adapter)) for adapter in (ours, pinned))
    for index, (mine, theirs) in enumerate(zip_longest(*sides)):
        if mine != theirs or "raised" in mine:
            return Difference(workload["seed"], index, _differing(mine, theirs))
        if coverage is not None:
            coverage.add_step(mine, workload)
    if coverage is not None:
        coverage.add_workload(workload)
        coverage.counts["victims that had tokens in the step"] += ours.last.num_refunds
    return None


def _until_raised(records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The records, and when a side breaks down, one that says how: that is a decision too."""
    try:
        yield from records
    except Exception as error:
        yield {"raised": f"{type(error).__name__}: {error}"}


def _differing(
    mine: dict[str, Any] | None, theirs: dict[str, Any] | None
) -> dict[str, tuple[Any, Any]]:
    if mine is None or theirs is None or "raised" in mine or "raised" in theirs:
        say = lambda one: "ended" if one is None else one.get("raised", "went on")  # noqa: E731
        return {"end": (say(mine), say(theirs))}
    return {
        name: (mine.get(name), theirs.get(name))
        for name in mine.keys() | theirs.keys()
        if mine.get(name) != theirs.get(name)
    }
