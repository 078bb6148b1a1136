r"""The registry."""

from dataclasses import dataclass

REGISTRY = {}


@dataclass(frozen=True)
class Invariant:
    r"""One of them."""

    id: str
    statement: str
    phase: int
    owner: str
    anchors: tuple
    predicate: object


def invariant(id, statement, *, phase, owner, anchors=()):
    r"""Register a predicate."""

    def register(function):
        REGISTRY[id] = Invariant(id, statement, phase, owner, anchors, function)
        return function

    return register
