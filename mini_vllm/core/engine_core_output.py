r"""The message that carries a step's news out of the engine.

Only what is new: the tokens of this step, not the answer. The front-end keeps the rest. A request
that did not sample in a step has no message in it at all, which is the invariant that upstream
states where it would break:
{up}`vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output@"no partial prefill outputs"`.

One {py:class}`EngineCoreOutput` per request, and one {py:class}`EngineCoreOutputs` around them for
the whole step: it is what crosses a process border, since sixty requests in one message cost little
more than one request in one message. Beside the news it carries what belongs to no request or to
none any more: the state of the scheduler, the ids whose abort has taken effect, the requests that
were refused, the answer to a question of the front-end.

They live on floor 1 since the scheduler writes the first kind; upstream:
{up}`vllm/v1/engine/__init__.py#EngineCoreOutput`,
{up}`vllm/v1/engine/__init__.py#EngineCoreOutputs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mini_vllm.core.model_runner_output import TokenLogprobs
from mini_vllm.core.request import FinishReason
from mini_vllm.core.stats import EngineCoreEvent, SchedulerStats


@dataclass(slots=True)
class EngineCoreOutput:
    r"""What one step did for one request.

    `finish_reason` is `None` while the request goes on. `stop_reason` is the token id that stopped
    it, if one did. `num_cached_tokens` comes with the first output of a request, and is `None` in
    all later ones. `events` are the moments since its last output, and `None` when there were none.
    """

    request_id: str
    new_token_ids: list[int]
    new_logprobs: list[TokenLogprobs] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    num_cached_tokens: int | None = None
    # When something happened is no part of what happened: two runs of one workload compare equal.
    events: list[EngineCoreEvent] | None = field(default=None, compare=False)

    @property
    def finished(self) -> bool:
        """Whether this is the last message about the request."""
        return self.finish_reason is not None


@dataclass(slots=True)
class RequestRefusal:
    r"""A request that the core did not take, and why: a `RequestError` in plain values."""

    request_id: str
    message: str
    parameter: str | None = None


@dataclass(slots=True)
class UtilityOutput:
    r"""The answer to a call that the front-end made: a result, or why there is none.

    Upstream: {up}`vllm/v1/engine/__init__.py#UtilityOutput`.
    """

    call_id: int
    failure_message: str | None = None
    result: Any = None


@dataclass(slots=True)
class EngineCoreOutputs:
    r"""All that the core has to say after one step.

    `timestamp` is when the step ended, on the core's monotonic clock: latencies between tokens are
    measured where tokens are made, not where they are read. `finished_requests` are those that an
    abort has ended since the last message: none of them will be heard of again. `scheduler_stats`
    is `None` in a message that belongs to no step, such as an answer.
    """

    outputs: list[EngineCoreOutput] = field(default_factory=list)
    scheduler_stats: SchedulerStats | None = None
    timestamp: float = 0.0
    finished_requests: list[str] = field(default_factory=list)
    refusals: list[RequestRefusal] = field(default_factory=list)
    utility_output: UtilityOutput | None = None
