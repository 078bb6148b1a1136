r"""What does a caller get back?

A {py:class}`RequestOutput` per request, holding a list of {py:class}`CompletionOutput`: one
answer, or `n` of them where several were asked for. In a stream of `n` answers an output holds
those that have news, so go by `index` and not by the place in the list.

`finish_reason` answers "why does my answer end here?", and it is one of five words, each the name
of a {py:class}`~mini_vllm.core.request.FinishReason`. `stop_reason` says *which* stop: the string
or the token id that matched, and `None` when it was the model's own end-of-sequence token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Logprob:
    r"""What the model thought of one token at one position.

    `rank` counts from 1, the likeliest; `decoded_token` is its text, `None` without a tokenizer.
    Upstream: {up}`vllm/logprobs.py#Logprob`.
    """

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


#: One position's alternatives, by token id; the chosen token is the first entry.
LogprobsOnePosition = dict[int, Logprob]


@dataclass(slots=True)
class RequestMetrics:
    r"""When things happened to one request, in seconds.

    `arrival_time` is wall-clock time; the `_ts` values come from the core's monotonic clock and
    only their differences mean something: when the scheduler heard of the request, when it was
    first given tokens, when its first and its last token were made. `first_token_latency` is the
    time to first token as the front-end saw it.
    Upstream: {up}`vllm/v1/metrics/stats.py#RequestStateStats`.
    """

    arrival_time: float
    queued_ts: float = 0.0
    scheduled_ts: float = 0.0
    first_token_latency: float = 0.0
    first_token_ts: float = 0.0
    last_token_ts: float = 0.0
    num_generation_tokens: int = 0


@dataclass(slots=True)
class CompletionOutput:
    r"""One answer: its text, its tokens, and why it ended.

    `token_ids` include the token that stopped the request, `text` does not, unless it was asked
    for: that is why the two may disagree by one. `logprobs` has one dictionary per token, and
    `cumulative_logprob` is the sum over the chosen tokens; both are `None` unless asked for.
    Upstream: {up}`vllm/outputs.py#CompletionOutput`.
    """

    index: int
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None = None
    logprobs: list[LogprobsOnePosition] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None

    def finished(self) -> bool:
        """Whether this answer is complete."""
        return self.finish_reason is not None

    def extend(self, later: CompletionOutput) -> None:
        """Take the next delta of the same answer into this one; `later` is not changed."""
        self.text += later.text
        if not isinstance(self.token_ids, list):
            self.token_ids = list(self.token_ids)
        self.token_ids.extend(later.token_ids)
        if later.logprobs is not None:
            self.logprobs = (self.logprobs or []) + later.logprobs
        self.cumulative_logprob = later.cumulative_logprob
        self.finish_reason = later.finish_reason
        self.stop_reason = later.stop_reason


@dataclass(slots=True)
class RequestOutput:
    r"""What is known of one request after a step, or at its end.

    `num_cached_tokens` is how many of the prompt's tokens came out of the prefix cache and were
    not computed.
    Upstream: {up}`vllm/outputs.py#RequestOutput`.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput] = field(default_factory=list)
    finished: bool = False
    metrics: RequestMetrics | None = None
    num_cached_tokens: int | None = None

    def add(self, later: RequestOutput, *, aggregate: bool) -> None:
        r"""Merge a later output of the same request into this one.

        With `aggregate` both are deltas, and are joined; otherwise the later one has it all, and
        takes the place of the earlier. Answers of different `index` stand side by side.
        Upstream: {up}`vllm/outputs.py#RequestOutput.add`.
        """
        self.finished |= later.finished
        self.metrics = later.metrics
        places = {completion.index: place for place, completion in enumerate(self.outputs)}
        for completion in later.outputs:
            place = places.get(completion.index)
            if place is None:
                self.outputs.append(completion)
            elif aggregate:
                self.outputs[place].extend(completion)
            else:
                self.outputs[place] = completion
