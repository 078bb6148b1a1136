r"""How do you draw from four thousand probabilities without rolling a die four thousand times?

Let the tokens race. Give each token $i$ an independent waiting time that is exponential with rate
$p_i$; then token $i$ arrives first with probability exactly $p_i / \sum_j p_j$. A waiting time of
rate $p$ is a standard one divided by $p$, so the winner is

$$\arg\min_i \frac{q_i}{p_i} = \arg\max_i \frac{p_i}{q_i}, \qquad q_i \sim \mathrm{Exp}(1).$$

Two element-wise operations and an argmax: no sum over the row, no search, no wait for the device
to say where a cumulated sum crosses a number. That is why it is used on GPUs
({up}`vllm/v1/sample/ops/topk_topp_sampler.py#random_sample`), and it has a property that an engine
needs even without one: each row's numbers can come from a generator of its own.

**Seeds.** A request with a seed has its own generator, made when the request arrives and kept
through preemption. It is advanced once per drawn token of *that* request, by the size of the
vocabulary; who else is in the batch, which row the request sits in, and how its prompt was cut do
not enter. Requests without a seed share one generator, and depend on all of that.

**Greedy is not temperature zero.** Dividing by a tiny temperature overflows, and dividing by zero
is undefined; a greedy row is a row whose draw is replaced by the best token. A batch of only such
rows never gets to the division, nor to a softmax: the whole sampler is one argmax.

**A broken row.** If the model's arithmetic fails, a row of scores holds a NaN, and every comparison
with it is false. Nothing here looks for one: that would be a pass over the vocabulary in each step.
What holds is that such a row yields *some* token of the vocabulary, that its log-probabilities say
NaN, and that no other row is touched. Upstream does the same, and counts them on request
({up}`env:VLLM_COMPUTE_NANS_IN_LOGITS`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mini_vllm.core.model_runner_output import TokenLogprobs
from mini_vllm.sample.kernels import SamplingKernels, TorchSamplingKernels
from mini_vllm.sample.logprobs import gather_logprobs
from mini_vllm.sample.metadata import SamplingMetadata
from mini_vllm.sample.penalties import apply_penalties
from mini_vllm.sampling_params import GREEDY_BELOW


@dataclass(frozen=True)
class SamplerOutput:
    """The drawn tokens, `[num_rows]`, and log-probabilities by row for those that report."""

    token_ids: torch.Tensor
    logprobs: dict[int, TokenLogprobs]


class Sampler:
    r"""Draws one token per row of scores.

    `seed` is for the generator that rows without a seed share; `kernels` take the steps that read
    whole rows, torch's if nothing is given. Holds no other state. Upstream:
    {up}`vllm/v1/sample/sampler.py#Sampler`, whose nine documented steps these are, minus two that
    this engine has no parameters for (allowed tokens, bad words).
    """

    def __init__(
        self,
        seed: int = 0,
        device: torch.device | str = "cpu",
        kernels: SamplingKernels | None = None,
    ):
        self.kernels = kernels or TorchSamplingKernels()
        self.generator = torch.Generator(device=device)
        self.generator.manual_seed(seed)

    @torch.no_grad()
    def __call__(self, logits: torch.Tensor, metadata: SamplingMetadata) -> SamplerOutput:
        r"""Apply the rules to `logits`, `[num_rows, vocab_size]`, and draw. Does not modify
        `logits`.
        """
        if logits.shape[0] != metadata.num_rows:
            raise ValueError(f"{logits.shape[0]} rows of scores, metadata for {metadata.num_rows}")
        scores = self._apply_rules(logits, metadata)
        token_ids = self.sample(scores, metadata)
        logprobs = gather_logprobs(logits, token_ids, metadata.num_logprobs, self.kernels)
        return SamplerOutput(token_ids, logprobs)

    def sample(self, scores: torch.Tensor, metadata: SamplingMetadata) -> torch.Tensor:
        r"""Best token, or temperature, filters and a draw, row by row; may overwrite `scores`."""
        if metadata.temperature is None:
            return self.kernels.best_tokens(scores)
        greedy = None if metadata.all_random else self.kernels.best_tokens(scores)
        is_greedy = metadata.temperature < GREEDY_BELOW
        scores = scores / metadata.temperature.masked_fill(is_greedy, 1.0).unsqueeze(1)
        for processor in metadata.processors.argmax_invariant:
            if not processor.is_idle():
                scores = processor.apply(scores, metadata.rows)
        scores = self.kernels.apply_top_k_top_p(scores, metadata.top_k, metadata.top_p)
        drawn = self.kernels.race(scores, self._waits(scores, metadata.generators))
        return drawn if greedy is None else torch.where(is_greedy, greedy, drawn)

    def _waits(self, like: torch.Tensor, generators: dict[int, torch.Generator]) -> torch.Tensor:
        # A standard exponential draw for each token, of the row's own generator where it has one.
        waits = torch.empty_like(like)
        if len(generators) < like.shape[0]:
            waits.exponential_(generator=self.generator)
        for row, generator in generators.items():
            waits[row].exponential_(generator=generator)
        # A wait of zero would make 0 / 0 of a token with probability 0.
        return waits.clamp_min_(torch.finfo(waits.dtype).tiny)

    def _apply_rules(self, logits: torch.Tensor, metadata: SamplingMetadata) -> torch.Tensor:
        # What may change the best token. The raw scores are still wanted: copy before editing.
        rules = [p for p in metadata.processors.non_argmax_invariant if not p.is_idle()]
        if not rules and metadata.penalties is None:
            return logits
        scores = logits.to(torch.float32, copy=True)
        for processor in rules:
            scores = processor.apply(scores, metadata.rows)
        if metadata.penalties is not None:
            scores = apply_penalties(scores, metadata.penalties)
        return scores
