r"""What can go wrong between a claim and the line that backs it.

Two families, because two people read them. An {py:class}`.AnchorError` is for a writer: a name was
typed that the pinned tree does not have, and the message lists the names that come nearest. A
{py:class}`.TreeError` is for whoever set up the machine: there is no tree, or it is not the pinned
one, and the message says what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AnchorError(ValueError):
    r"""A target that names nothing, or more than one thing, in the pinned tree.

    `nearest` holds whole targets, best first, ready to be pasted over the wrong one; it may be
    empty. `str(error)` is one line of reason followed by one line for each of them.
    """

    def __init__(self, reason: str, nearest: Iterable[str] = ()) -> None:
        self.reason = reason
        self.nearest = tuple(nearest)
        super().__init__(reason)

    def __str__(self) -> str:
        return "\n".join([self.reason, *(f"    nearest: {name}" for name in self.nearest)])


class TreeError(RuntimeError):
    r"""The pinned tree is missing, is another version, or could not be fetched.

    Raised with the reason and the way out in one message: a reader who sees it has usually run the
    first command of the README a moment ago and knows nothing about pins.
    """


class UnreachableError(TreeError):
    r"""Nobody could be asked for the tree: no network, no source that has it, no client.

    The one failure that a build may shrug at, since the lock can stand in for the tree. A wrong
    hash or a wrong version is never this.
    """


def nearest_names(name: str, known: Iterable[str], limit: int = 5) -> list[str]:
    r"""The `known` names that a person who typed `name` most likely meant, best first.

    A dotted name is compared twice, whole and by its last part: most wrong anchors have the right
    method in the wrong class, or a class that moved to another file.
    """
    names = list(dict.fromkeys(known))
    tail = name.rsplit(".", 1)[-1]
    same_tail = [other for other in names if other.rsplit(".", 1)[-1] == tail]
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.5)
    by_tail: dict[str, list[str]] = {}
    for other in names:
        by_tail.setdefault(other.rsplit(".", 1)[-1], []).append(other)
    close_tails = difflib.get_close_matches(tail, by_tail, n=limit, cutoff=0.7)
    spread = [other for key in close_tails for other in by_tail[key]]
    ranked = sorted(same_tail, key=lambda other: -_likeness(name, other)) + close + spread
    return list(dict.fromkeys(ranked))[:limit]


def _likeness(left: str, right: str) -> float:
    return difflib.SequenceMatcher(None, left, right).ratio()
