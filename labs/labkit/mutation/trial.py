r"""Which mutants die, and of which test?

A trial runs the tests of the broken task first and stops at the first failure. The verdict names
the test that killed, so that one can see whether an invariant has a guard of its own or is caught
by accident.

An equivalent mutant is set aside in `mutants/equivalent.toml`:

```toml
[[equivalent]]
id = "needs_sample: a >= b → a == b"
proof = "a never exceeds b: the scheduler grants at most b - a tokens."
```

Setting one aside that a test kills, or that no operator makes, is an error: the excuse has gone
stale.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from labkit.bench import Bench
from labkit.catalogue import Lab, LabError
from labkit.implementation import Implementation
from labkit.mutation import operators, plausible
from labkit.mutation.operators import Mutant

KILL_RATE = 0.95
EXCUSED = 0.05


@dataclass
class Outcome:
    r"""What became of a lab's mutants: by name, the test that killed it or `None`.

    `proofs` are the mutants set aside as equivalent, with the reason of each.
    """

    generic: dict[str, str | None] = field(default_factory=dict)
    plausible: dict[str, str | None] = field(default_factory=dict)
    proofs: dict[str, str] = field(default_factory=dict)

    @property
    def survivors(self) -> list[str]:
        r"""The generic mutants that no test killed and no proof excuses."""
        return [id for id, killer in self.generic.items() if not killer and id not in self.proofs]

    @property
    def rate(self) -> float:
        r"""The share of generic mutants that died, of those that are not equivalent."""
        judged = [killer for id, killer in self.generic.items() if id not in self.proofs]
        return sum(killer is not None for killer in judged) / len(judged) if judged else 1.0

    def problems(self) -> list[str]:
        r"""Where the bar is missed; empty when the tests are strong enough."""
        found = []
        if self.rate < KILL_RATE:
            alive = "; ".join(self.survivors)
            found.append(
                f"{self.rate:.1%} of the generic mutants die, {KILL_RATE:.0%} must: {alive}"
            )
        found += [f"plausible mistake survives: {id}" for id, t in self.plausible.items() if not t]
        if len(self.proofs) > EXCUSED * max(len(self.generic), 1):
            found.append(
                f"{len(self.proofs)} of {len(self.generic)} mutants are set aside as equivalent, "
                f"{EXCUSED:.0%} may be"
            )
        for id in self.proofs:
            if id not in self.generic:
                found.append(f"set aside as equivalent, but no operator makes it: {id}")
            elif killer := self.generic[id]:
                found.append(f"set aside as equivalent, but {killer} kills it: {id}")
        return found


def proofs(lab: Lab) -> dict[str, str]:
    r"""The mutants that a lab sets aside as equivalent, each with its proof."""
    source = lab.folder / "mutants" / "equivalent.toml"
    if not source.exists():
        return {}
    tables = tomllib.loads(source.read_text(encoding="utf-8")).get("equivalent", [])
    if lacking := [table.get("id", "?") for table in tables if not table.get("proof", "").strip()]:
        raise LabError(f"{source}: no proof for {lacking}")
    return {table["id"]: table["proof"].strip() for table in tables}


def everything(
    bench: Bench, report: Callable[[int, int], None] = lambda done, total: None
) -> Outcome:
    r"""Try every mutant of a lab. `report` is told how many of how many are through.

    The solution has the first word and the last. What passes before the mutants and not after them
    was spoiled by one of them (a list of the tests' module that it wrote into, say), and each later
    mutant that "died" of it may be alive: {py:class}`labkit.catalogue.LabError`.
    """
    if failing := _failing(bench):
        raise LabError(f"{bench.lab.name}: the solution itself does not pass {failing}")
    generic = operators.mutants(bench.lab.solution.read_text(encoding="utf-8"))
    by_hand = plausible.mutants(bench.lab)
    total = len(generic) + len(by_hand)
    outcome = Outcome(proofs=proofs(bench.lab))
    for done, mutant in enumerate(by_hand, start=1):
        outcome.plausible[mutant.id] = killer(bench, mutant)
        report(done, total)
    for done, mutant in enumerate(generic, start=1 + len(by_hand)):
        outcome.generic[mutant.id] = killer(bench, mutant)
        report(done, total)
    if failing := _failing(bench):
        raise LabError(f"{bench.lab.name}: a mutant has spoiled what {failing} stand on")
    return outcome


def _failing(bench: Bench) -> list[str]:
    return [v.test for v in bench.run(Implementation("solution")) if v.outcome != "passed"]


def sample(bench: Bench, ids: Iterable[str]) -> dict[str, str | None]:
    r"""Try only the mutants of these names; one that no longer exists is left out."""
    wanted = set(ids)
    source = bench.lab.solution.read_text(encoding="utf-8")
    found = [*operators.mutants(source), *plausible.mutants(bench.lab)]
    return {mutant.id: killer(bench, mutant) for mutant in found if mutant.id in wanted}


def killer(bench: Bench, mutant: Mutant) -> str | None:
    r"""The first test that fails on a mutant, those of its own task first; `None` if none does."""

    def distance(test: str) -> tuple[bool, int]:
        needed = tasks[test]
        return mutant.task not in needed, len(needed)

    tasks = bench.tasks()
    order = sorted(tasks, key=distance)
    verdict = bench.first_failure(Implementation(mutant.id, mutant.code), order)
    return None if verdict is None else verdict.test
