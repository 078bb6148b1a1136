r"""How do you keep a model from repeating itself, without forbidding anything?

By taxing what has been said. Three taxes are in use, and they differ in who pays:

| parameter | who pays | how much |
|---|---|---|
| `repetition_penalty` $r$ | tokens of prompt and answer | a score above 0 / $r$, others × $r$ |
| `frequency_penalty` $f$ | tokens of the answer | $f$ for *each* time it was used |
| `presence_penalty` $p$ | tokens of the answer | $p$, once |

The first is a trick on raw scores, which have no zero that means anything: dividing 2 by 1.2 and
multiplying -2 by 1.2 both lower the token, by amounts that depend on where the model's scores
happen to lie. The other two subtract, so in terms of odds they mean the same for every token. All
three read history, which is why they are applied before the best token is taken: a greedy row pays
too.

The order is upstream's: {up}`vllm/model_executor/layers/utils.py#apply_penalties`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mini_vllm.sampling_params import SamplingParams


@dataclass(frozen=True)
class Penalties:
    r"""The taxes of the rows that pay any.

    `rows[i]` is a row of scores; its request's prompt, live list of output tokens and parameters
    are at `i` of the other three.
    """

    rows: Sequence[int]
    prompts: Sequence[Sequence[int]]
    outputs: Sequence[Sequence[int]]
    params: Sequence[SamplingParams]

    @staticmethod
    def wanted_by(params: SamplingParams) -> bool:
        """Whether a request with these parameters pays anything."""
        return (
            params.repetition_penalty != 1.0
            or params.frequency_penalty != 0.0
            or params.presence_penalty != 0.0
        )


def apply_penalties(logits: torch.Tensor, penalties: Penalties) -> torch.Tensor:
    r"""Lower the scores of used tokens in place; `logits` is `[num_rows, vocab_size]`, float32.

    Counts anew in each step, in time linear in what the paying rows have said so far.
    """
    vocab_size = logits.shape[1]
    for row, prompt, output, params in zip(
        penalties.rows, penalties.prompts, penalties.outputs, penalties.params
    ):
        scores = logits[row]
        counts = torch.from_numpy(np.bincount(np.asarray(output, np.int64), minlength=vocab_size))
        counts = counts.to(logits.device)
        if params.repetition_penalty != 1.0:
            used = counts > 0
            used[torch.as_tensor(prompt, dtype=torch.int64, device=logits.device)] = True
            factor = params.repetition_penalty
            taxed = torch.where(scores > 0, scores / factor, scores * factor)
            scores.copy_(torch.where(used, taxed, scores))
        scores -= params.frequency_penalty * counts
        scores -= params.presence_penalty * (counts > 0)
    return logits
