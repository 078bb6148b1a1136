r"""What did the model think, before anybody filtered?

A caller who asks for log-probabilities wants the model's own, so they are taken from the raw
scores: before penalties, before temperature, before any mask. A token may therefore be reported
with a decent probability although the filters had excluded it, and a token that was drawn at
temperature 2 carries the probability that it had at 1. Upstream's default is the same, and a
switch there offers the other three combinations ({up}`vllm/v1/sample/sampler.py#Sampler.forward`).

The rank of the drawn token counts from 1: how many tokens are at least as likely.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mini_vllm.core.model_runner_output import TokenLogprobs
from mini_vllm.sample.kernels import SamplingKernels


def gather_logprobs(
    raw_logits: torch.Tensor,
    drawn: torch.Tensor,
    num_logprobs: Mapping[int, int],
    kernels: SamplingKernels,
) -> dict[int, TokenLogprobs]:
    r"""For the rows that report: the drawn token's log-probability, its rank, and its rivals'.

    `raw_logits`: `[num_rows, vocab_size]`; `drawn`: `[num_rows]`, the tokens; `num_logprobs`: by
    row, how many of the likeliest to add (0: none; -1: the whole vocabulary). Only those rows are
    normalised, by `kernels`. The drawn token comes first and may come again among the likeliest.
    """
    if not num_logprobs:
        return {}
    rows = torch.tensor(list(num_logprobs), device=raw_logits.device)
    vocab_size = raw_logits.shape[1]
    wanted = [vocab_size if n == -1 else min(n, vocab_size) for n in num_logprobs.values()]
    tokens = drawn[rows]
    found = kernels.logprobs(raw_logits[rows], tokens, max(wanted))
    token_ids = torch.cat((tokens.unsqueeze(1), found.best_ids), dim=1).tolist()
    values = torch.cat((found.own.unsqueeze(1), found.best), dim=1).tolist()
    ranks = found.ranks.tolist()
    return {
        row: TokenLogprobs(token_ids[i][: 1 + wanted[i]], values[i][: 1 + wanted[i]], ranks[i])
        for i, row in enumerate(num_logprobs)
    }
