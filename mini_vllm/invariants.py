r"""What must be true after every step, whatever happened in it?

A test that checks outputs finds the bug that reached an output. The bugs that hurt a serving
engine reach nothing for hours: a block that is free and still read, a count that is one too high,
a request in two queues. They are found by statements about *state*, and each such statement
appears here once: an id that the book's pages link to, one English sentence, a predicate that a
machine can run, and the places in vLLM that rely on it or assert it.

The registry owns no state and no predicates. Whoever owns the state registers the predicate beside
it: {py:mod}`mini_vllm.core.block_pool` says what is true of blocks,
{py:mod}`mini_vllm.core.scheduler_invariants` what is true of requests. A predicate is a generator
of problems; an invariant that holds yields nothing.

```python
@invariant("free-iff-unreferenced", "A block is free iff ...", phase=2, owner="block_pool")
def _free_iff_unreferenced(pool):
    if ...:
        yield "block 7 is in the free queue with ref_cnt 1"
```

The predicates are quick, though not free: they walk the pool. Tests and labs run them after every
step (see {py:class}`mini_vllm.observe.audit.Audit`); the engine itself never does. Upstream keeps
a few of them as assertions in the hot path, such as
{up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"assert token_budget >= 0"`, and the rest
in its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mini_vllm.errors import InvariantError

Predicate = Callable[..., Iterable[str]]


@dataclass(frozen=True)
class Invariant:
    r"""One named statement about the engine's state.

    `owner` says whose state the predicate reads; `phase` is the phase of the book that explains
    it; `anchors` are upstream places, in the notation of the `up` role.
    """

    id: str
    statement: str
    phase: int
    owner: str
    anchors: tuple[str, ...]
    predicate: Predicate

    def problems(self, state: object) -> list[str]:
        """Everything that is wrong with `state` in this respect; empty when the invariant holds."""
        return [f"{self.id}: {problem}" for problem in self.predicate(state)]


#: Every invariant, by id, in the order of registration.
REGISTRY: dict[str, Invariant] = {}


def invariant(
    id: str, statement: str, *, phase: int, owner: str, anchors: Sequence[str] = ()
) -> Callable[[Predicate], Predicate]:
    """Register the decorated predicate under `id`; a second one of that name is an error."""

    def register(predicate: Predicate) -> Predicate:
        known = REGISTRY.get(id)
        if known is not None and known.predicate.__qualname__ != predicate.__qualname__:
            raise InvariantError(f"invariant {id!r} is registered twice")
        REGISTRY[id] = Invariant(id, statement, phase, owner, tuple(anchors), predicate)
        return predicate

    return register


def owner_of(state: object) -> str:
    """The registry's name of the class of `state`, which carries it as `invariant_owner`."""
    owner = getattr(type(state), "invariant_owner", None)
    if owner is None:
        raise InvariantError(f"{type(state).__name__} owns no invariants")
    return owner


def problems(state: object) -> list[str]:
    r"""Run all invariants of the owner `state`; return what is wrong, without raising.

    Raises {py:class}`~mini_vllm.errors.InvariantError` when its owner has registered none: a check
    of nothing would always pass.
    """
    owner = owner_of(state)
    invariants = [inv for inv in REGISTRY.values() if inv.owner == owner]
    if not invariants:
        raise InvariantError(f"no invariant is registered for {owner!r}")
    return [problem for inv in invariants for problem in inv.problems(state)]


def check(*states: object) -> None:
    """Run all invariants of every owner given; raise one error that lists every problem."""
    found = [problem for state in states for problem in problems(state)]
    if found:
        raise InvariantError("; ".join(found))
