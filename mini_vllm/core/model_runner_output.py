r"""What comes back from the model?

One list of tokens per request that ran, and it may be empty. It *is* empty for a prompt chunk that
does not reach the end of its prompt: such a request has a row of logits like any other, and
nothing may be drawn from it ({inv}`needs-sample`). With speculative decoding a list can hold
several tokens; here it holds at most one, and nothing above relies on that.

Plain Python all through. The runner brings its tokens to the host once, and after that nobody
needs a tensor library to read them.

Upstream: {up}`vllm/v1/outputs.py#ModelRunnerOutput`, where log-probabilities travel as NumPy
arrays over the whole batch ({up}`vllm/v1/outputs.py#LogprobsLists`) and are cut by request later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mini_vllm.core.stats import CUDAGraphStat


class TokenLogprobs(NamedTuple):
    r"""The log-probabilities of one drawn token and its rivals.

    `token_ids[0]` is the drawn token and the rest are the likeliest ones, best first, so it may
    occur twice. `logprobs` runs beside it, and `rank` is the drawn token's, counted from 1.
    """

    token_ids: list[int]
    logprobs: list[float]
    rank: int


@dataclass(slots=True)
class ModelRunnerOutput:
    r"""The result of one step.

    `req_ids` is the runner's order, which need not be the scheduler's; `req_id_to_index` inverts
    it. `sampled_token_ids[i]` are the tokens of `req_ids[i]`, empty when it did not sample.
    `logprobs` has an entry for each request that asked: one {py:class}`TokenLogprobs` per token.
    `cudagraph_stats` says how the step was run, where there are graphs.
    """

    req_ids: list[str] = field(default_factory=list)
    req_id_to_index: dict[str, int] = field(default_factory=dict)
    sampled_token_ids: list[list[int]] = field(default_factory=list)
    logprobs: dict[str, list[TokenLogprobs]] | None = None
    cudagraph_stats: CUDAGraphStat | None = None


@dataclass(slots=True)
class ForwardOutput:
    r"""What a forward pass leaves behind, before anything is drawn.

    One row of `logits` for *every* request that ran, in the order of `req_ids`: the row of its
    last scheduled token. `needs_sample[i]` says whether that was the request's last token of all,
    so that the row says what comes next; a prompt chunk has a row too, and it must not be drawn
    from. `logits` is a tensor `[num_reqs, vocab_size]`, or a list of rows where no tensor library
    is loaded. `cudagraph_stats` says how the model was run, None where it was not: the step after
    an answer's last has no tokens.

    Upstream computes the same flags as a mask and draws from every row, to discard the surplus
    afterwards:
    {up}`vllm/v1/worker/gpu_model_runner.py#GPUModelRunner._prepare_inputs@"self.discard_request_mask.np"`.
    """

    req_ids: list[str]
    needs_sample: list[bool]
    logits: Any
    cudagraph_stats: CUDAGraphStat | None = None
