r"""Which questions does a seed ask?

Sessions are filled one after the other. In each, the bank's items are shuffled by the seed. Then
that one is taken whose rows of the competency map have been asked about least so far, and among
equals the one whose page has. So a loop reaches as many rows as it has room for, and a long page
does not crowd a short one out. What is still equal, the seed decides.

The order of the files does not matter, and nothing but the seed and the bank does: the same seed
over the same bank is the same loop, on every machine and Python.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from capstone.errors import CapstoneError
from capstone.loop.catalogue import Bank
from capstone.loop.item import SESSIONS, Item

#: How many items each session takes; of the design scenarios one is then chosen.
SIZES: dict[str, int] = {"rapid-fire": 8, "deep-dive": 6, "design": 3, "debugging": 2}


@dataclass(frozen=True)
class Draw:
    r"""What one seed asks: session → ids, in order."""

    seed: int
    asked: dict[str, tuple[str, ...]]


def draw(bank: Bank, seed: int) -> Draw:
    r"""The loop of a seed; a bank too small for a session is refused."""
    rows: Counter[int] = Counter()
    asked: dict[str, tuple[str, ...]] = {}
    for session, size in SIZES.items():
        pool = sorted(bank.of(session), key=lambda item: item.id)
        if len(pool) < size:
            raise CapstoneError(
                f"{SESSIONS[session]}: the bank has {len(pool)} to ask, {size} are needed"
            )
        # A string as seed is hashed by the module itself, the same way on every machine.
        random.Random(f"{seed}/{session}").shuffle(pool)
        # The scenario is the reader's choice, so it cannot be counted on for a row.
        counted = Counter() if session == "design" else rows
        asked[session] = tuple(item.id for item in _take(pool, size, counted))
    return Draw(seed, asked)


def _take(pool: list[Item], size: int, rows: Counter[int]) -> list[Item]:
    sources: Counter[str] = Counter()
    left = list(pool)
    taken: list[Item] = []
    while len(taken) < size:
        # min takes the first of equals, so the shuffle decides among them.
        item = min(left, key=lambda i: (min(rows[row] for row in i.rows), sources[i.source]))
        left.remove(item)
        taken.append(item)
        rows.update(item.rows)
        sources[item.source] += 1
    return taken
