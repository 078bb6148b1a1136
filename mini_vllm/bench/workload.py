r"""Which requests, exactly?

The same ones, whoever runs them: a workload is a handful of numbers and a seed, and the prompts
follow from it. Token ids are random, which costs an engine exactly what text would and asks for no
tokenizer.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Workload:
    r"""`num_prompts` prompts of `min_len` to `max_len` tokens, `num_new_tokens` to be made for
    each.
    """

    num_prompts: int = 64
    min_len: int = 32
    max_len: int = 512
    num_new_tokens: int = 128
    seed: int = 0

    def prompts(self, vocab_size: int) -> list[list[int]]:
        """The token ids; the first four ids of a vocabulary are left out, as they tend to be
        special.
        """
        rng = random.Random(self.seed)
        return [
            [rng.randrange(4, vocab_size) for _ in range(rng.randint(self.min_len, self.max_len))]
            for _ in range(self.num_prompts)
        ]

    @property
    def num_output_tokens(self) -> int:
        """How many tokens a run makes."""
        return self.num_prompts * self.num_new_tokens

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for a record."""
        return asdict(self)
