"""Which combinations of features are compared with the oracle, and on which prompts.

The product of five axes, less what is no legal config: a budget smaller than the batch. A tight
pool has room for the longest request and a third more, so that requests that run together must
preempt one another. A block of 128 needs prompts of its own, long enough to reach its edge.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

VOCAB_SIZE = 320
#: Longer than the usual block, so that every answer crosses an edge of one.
NUM_TOKENS = 17

AXES: dict[str, tuple[Any, ...]] = {
    "enable_prefix_caching": (True, False),
    "max_num_batched_tokens": (1, 7, 64, 100_000),
    "block_size": (1, 3, 16, 128),
    "pool": ("ample", "tight"),
    "max_num_seqs": (1, 4, 64),
}


@dataclass(frozen=True)
class Case:
    """One point of the grid."""

    enable_prefix_caching: bool
    max_num_batched_tokens: int
    block_size: int
    pool: str
    max_num_seqs: int

    def __str__(self) -> str:
        cache = "cache" if self.enable_prefix_caching else "no-cache"
        return (
            f"{cache}-budget{self.max_num_batched_tokens}-block{self.block_size}-"
            f"{self.pool}-batch{self.max_num_seqs}"
        )

    def prompts(self, seed: int = 99) -> list[list[int]]:
        return long_prompts(seed) if self.block_size > 60 else short_prompts(seed)

    def settings(self, prompts: list[list[int]]) -> dict[str, Any]:
        """As keyword arguments of an engine."""
        settings = asdict(self)
        pool = settings.pop("pool")
        return settings | {"num_gpu_blocks": pool_size(prompts, self.block_size, pool)}

    @property
    def must_preempt(self) -> bool:
        """Requests meet in a pool that is too small (by sevens, a long prompt is read alone)."""
        meet = self.max_num_batched_tokens >= 64 or self.block_size <= 16
        return self.pool == "tight" and self.max_num_seqs > 1 and meet

    @property
    def must_hit(self) -> bool:
        """Prompts share their beginnings, and a pool that is ample keeps them all."""
        return self.enable_prefix_caching and self.pool == "ample"


def full_grid() -> list[Case]:
    cases = (Case(*values) for values in product(*AXES.values()))
    return [case for case in cases if case.max_num_batched_tokens >= case.max_num_seqs]


def short_prompts(seed: int, count: int = 14, vocab_size: int = VOCAB_SIZE) -> list[list[int]]:
    """Prompts of 1 to 60 tokens; half of them begin like another, some are equal."""
    rng = random.Random(seed)
    stems = [[rng.randrange(2, vocab_size) for _ in range(n)] for n in (24, 40)]
    prompts = [[rng.randrange(2, vocab_size)], stems[0], stems[0], stems[1][:32]]
    while len(prompts) < count:
        tail = [rng.randrange(2, vocab_size) for _ in range(rng.randrange(1, 20))]
        prompts.append(rng.choice([[], *stems]) + tail)
    return prompts


def long_prompts(seed: int, vocab_size: int = VOCAB_SIZE) -> list[list[int]]:
    """Around 128 tokens: two share their first 128, the others grow past that in their answer."""
    rng = random.Random(seed)
    stem = [rng.randrange(2, vocab_size) for _ in range(140)]
    others = [[rng.randrange(2, vocab_size) for _ in range(n)] for n in (118, 121, 124)]
    return [*others, stem, stem[:130]]


def pool_size(prompts: list[list[int]], block_size: int, pool: str) -> int:
    needed = -(-(max(map(len, prompts)) + NUM_TOKENS) // block_size)
    return 1 + (needed + max(1, needed // 3) if pool == "tight" else needed * len(prompts))


def describe() -> dict[str, Any]:
    """The grid as data, for the record."""
    return {
        "axes": {name: list(values) for name, values in AXES.items()},
        "cases": len(full_grid()),
    }
