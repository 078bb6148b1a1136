r"""What does the sampler need to know of a batch, and what must it not ask?

One value per row for each rule, stacked into tensors, and `None` wherever no row uses the rule.
The `None`s matter: most batches are greedy or plainly random, and a filter that is switched off
should cost nothing at all, not a pass over the vocabulary with neutral values.

The record is about *rows of scores*, not about requests, and is built by whoever picked the rows.
In most steps that is every request of the batch. In a step that holds a prompt chunk it is all but
that request, since no token may be drawn for it; its generator is then not touched, so a seeded
request draws the same numbers however its prompt was cut. Upstream samples every row and throws
the surplus away, and must therefore wind the generator back
({up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._bookkeeping_sync`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mini_vllm.sample.logits_processors import LogitsProcessors
from mini_vllm.sample.penalties import Penalties


@dataclass(frozen=True)
class SamplingMetadata:
    r"""The sampling state of `num_rows` rows of scores.

    - `rows`: for each row of scores, its request's row in the batch (processors keep their state
      by that).
    - `temperature`: `[num_rows]`, 0 for greedy rows; None when all are greedy.
    - `top_k`, `top_p`: `[num_rows]`, or None when no row filters.
    - `generators`: by row of scores, for rows with a seed of their own; all others share one.
    - `num_logprobs`: by row of scores, for rows that report: how many alternatives, -1 for all.

    Never modified; build a new one when the batch changes. Upstream:
    {up}`vllm/v1/sample/metadata.py#SamplingMetadata`.
    """

    rows: Sequence[int]
    temperature: torch.Tensor | None = None
    all_random: bool = False
    top_k: torch.Tensor | None = None
    top_p: torch.Tensor | None = None
    generators: dict[int, torch.Generator] = field(default_factory=dict)
    penalties: Penalties | None = None
    processors: LogitsProcessors = field(default_factory=LogitsProcessors)
    num_logprobs: dict[int, int] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """How many rows of scores this is about."""
        return len(self.rows)

    @property
    def all_greedy(self) -> bool:
        """Whether no row draws."""
        return self.temperature is None
