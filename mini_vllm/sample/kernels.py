r"""Which steps of sampling look at the whole vocabulary, and who takes them?

Four: the best token, the two filters, the draw, and the log-probability of what was drawn. Each
reads every score of every row, a hundred thousand numbers and more for a single token, and between
them they are all of the sampler's time. What else the sampler does is a few numbers a row.

{py:class}`SamplingKernels` is the list, and the sampler is given one of its implementations when it
is built. {py:class}`TorchSamplingKernels` says what is meant. On a GPU it has a flaw that its
results do not show: the filters ask the device in the middle, to learn which rows filter and
whether the likeliest {py:data}`~mini_vllm.sample.top_k_top_p.HEAD` tokens were enough, and each
time the host waits for all that was asked before.
{py:class}`~mini_vllm.sample.triton_kernels.TritonSamplingKernels` never asks. There the host waits
once in a step, for the drawn tokens.

The draw's noise is not among the four. It is made by the sampler, in the same way for both, since a
request's own generator makes it; so both draw the same token from the same seed on one device,
except where two tokens are as near to each other as rounding.

Upstream chooses for each batch anew: FlashInfer's kernels where they are installed and no request
has a seed, else its own Triton kernel for eight rows or more, else torch
({up}`vllm/v1/sample/ops/topk_topp_sampler.py#TopKTopPSampler.forward_cuda`,
{up}`vllm/v1/sample/ops/topk_topp_sampler.py#apply_top_k_top_p`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch

from mini_vllm.kernels.selector import why_not_triton
from mini_vllm.sample.top_k_top_p import apply_top_k_top_p


class Logprobs(NamedTuple):
    r"""Log-probabilities of some rows: of one token each with its rank, and of the likeliest.

    `own` (float32) and `ranks` are `[num_rows]`; `best` (float32) and `best_ids` are
    `[num_rows, num_best]`, likeliest first.
    """

    own: torch.Tensor
    ranks: torch.Tensor
    best: torch.Tensor
    best_ids: torch.Tensor


class SamplingKernels(ABC):
    r"""The operations of sampling that read whole rows of scores, `[num_rows, vocab_size]`."""

    #: The name by which a log line speaks of this implementation.
    name: str

    @abstractmethod
    def best_tokens(self, scores: torch.Tensor) -> torch.Tensor:
        r"""The column of the greatest value in each row, the first of equals: `[num_rows]`."""

    @abstractmethod
    def apply_top_k_top_p(
        self, scores: torch.Tensor, top_k: torch.Tensor | None, top_p: torch.Tensor | None
    ) -> torch.Tensor:
        r"""Mask in place what the filters exclude.

        Meaning: {py:func}`~mini_vllm.sample.top_k_top_p.apply_top_k_top_p`.
        """

    @abstractmethod
    def race(self, scores: torch.Tensor, waits: torch.Tensor) -> torch.Tensor:
        r"""The token of each row that arrives first: the greatest `softmax(scores) / waits`.

        `waits` are standard exponential draws above 0, of the shape of `scores`. May overwrite
        both.
        """

    @abstractmethod
    def logprobs(self, logits: torch.Tensor, tokens: torch.Tensor, num_best: int) -> Logprobs:
        r"""What the model thought of each row's token, and of the `num_best` likeliest."""


class TorchSamplingKernels(SamplingKernels):
    """The operations in plain torch: right on every device."""

    name = "torch"

    def best_tokens(self, scores: torch.Tensor) -> torch.Tensor:
        """See {py:func}`best_tokens`."""
        return best_tokens(scores)

    def apply_top_k_top_p(
        self, scores: torch.Tensor, top_k: torch.Tensor | None, top_p: torch.Tensor | None
    ) -> torch.Tensor:
        """See {py:func}`~mini_vllm.sample.top_k_top_p.apply_top_k_top_p`."""
        return apply_top_k_top_p(scores, top_k, top_p)

    def race(self, scores: torch.Tensor, waits: torch.Tensor) -> torch.Tensor:
        """See {py:meth}`SamplingKernels.race`."""
        return best_tokens(scores.softmax(dim=-1).div_(waits))

    def logprobs(self, logits: torch.Tensor, tokens: torch.Tensor, num_best: int) -> Logprobs:
        """See {py:meth}`SamplingKernels.logprobs`."""
        logprobs = logits.log_softmax(dim=-1, dtype=torch.float32)
        own = logprobs.gather(1, tokens.unsqueeze(1))
        best, best_ids = logprobs.topk(num_best, dim=-1)
        return Logprobs(own.squeeze(1), (logprobs >= own).sum(dim=-1), best, best_ids)


@dataclass(frozen=True)
class SamplingChoice:
    """The operations that were chosen, and in one sentence why."""

    kernels: SamplingKernels
    reason: str

    def __str__(self) -> str:
        return f"sampling by {self.kernels.name}: {self.reason}"


def select_sampling_kernels(device: torch.device) -> SamplingChoice:
    r"""Triton's on a CUDA device where they can run, torch's everywhere else.

    Neither a compiler nor a graph holds the sampler, so what those want does not matter here.
    """
    if device.type == "cpu":
        return SamplingChoice(TorchSamplingKernels(), "this is a CPU")
    obstacle = why_not_triton(device)
    if obstacle is not None:
        return SamplingChoice(TorchSamplingKernels(), obstacle)
    # Only now: it imports triton.
    from mini_vllm.sample.triton_kernels import TritonSamplingKernels

    return SamplingChoice(TritonSamplingKernels(), "no kernel of it waits for the device")


def best_tokens(scores: torch.Tensor) -> torch.Tensor:
    r"""The column of the greatest value in each row of `scores`, `[num_rows, vocab_size]`, float32.

    Of equals the first; of a row that holds a NaN, the first NaN. On the CPU NumPy is asked: its
    search compares 16 numbers at once, which makes it ten times as fast as torch's, and on a model
    of a hundred thousand tokens that is felt in every step.
    """
    if scores.device.type != "cpu":
        return scores.argmax(dim=-1)
    return torch.from_numpy(scores.numpy().argmax(axis=-1))
