r"""How does a batch get from scores to tokens without the host looking in between?

By asking nothing whose answer is needed to go on. The filters find their thresholds by counting
({py:mod}`~mini_vllm.kernels.triton.top_k_top_p`), the draw needs no probabilities
({py:mod}`~mini_vllm.kernels.triton.race`), and one token's log-probability needs no table of all
({py:mod}`~mini_vllm.kernels.triton.chosen_logprobs`). Each is a launch or two whose shape is that
of the batch, whatever the numbers are.

A caller who wants the likeliest tokens beside the drawn one gets them from `topk`, on the raw
scores; the kernel has found how far scores and log-probabilities lie apart in each row, and the
difference is all that is left to do.

Imports Triton; {py:func}`mini_vllm.sample.kernels.select_sampling_kernels` asks first.
"""

from __future__ import annotations

import torch

from mini_vllm.kernels.triton import chosen_logprobs, race, top_k_top_p
from mini_vllm.sample.kernels import Logprobs, SamplingKernels


class TritonSamplingKernels(SamplingKernels):
    """The operations as Triton kernels, for float32 scores; in its interpreter, for tests."""

    name = "triton"

    def best_tokens(self, scores: torch.Tensor) -> torch.Tensor:
        """See {py:func}`mini_vllm.kernels.triton.race.best_tokens`."""
        return race.best_tokens(scores)

    def apply_top_k_top_p(
        self, scores: torch.Tensor, top_k: torch.Tensor | None, top_p: torch.Tensor | None
    ) -> torch.Tensor:
        """See {py:func}`mini_vllm.kernels.triton.top_k_top_p.apply_top_k_top_p`."""
        return top_k_top_p.apply_top_k_top_p(scores, top_k, top_p)

    def race(self, scores: torch.Tensor, waits: torch.Tensor) -> torch.Tensor:
        """See {py:func}`mini_vllm.kernels.triton.race.race`; overwrites neither."""
        heat = torch.ones(scores.shape[0], dtype=torch.float32, device=scores.device)
        return race.race(scores, heat, waits)

    def logprobs(self, logits: torch.Tensor, tokens: torch.Tensor, num_best: int) -> Logprobs:
        """See {py:meth}`SamplingKernels.logprobs
        <mini_vllm.sample.kernels.SamplingKernels.logprobs>`.
        """
        own, ranks = chosen_logprobs.chosen_logprobs(logits, tokens)
        best, best_ids = logits.topk(num_best, dim=-1)
        # The logarithm of each row's sum: what lies between a score and a log-probability.
        total = logits.gather(1, tokens.unsqueeze(1)).float() - own.unsqueeze(1)
        return Logprobs(own, ranks, best.float() - total, best_ids)
