r"""The message that carries a step's news about one request out of the engine.

Only what is new: the tokens of this step, not the answer. The front-end keeps the rest. A request
that did not sample in a step has no message in it at all, which is the invariant that upstream
states where it would break:
{up}`vllm/v1/core/sched/scheduler.py#Scheduler.update_from_output@"no partial prefill outputs"`.

It lives on floor 1 since the scheduler writes it; upstream:
{up}`vllm/v1/engine/__init__.py#EngineCoreOutput`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mini_vllm.core.model_runner_output import TokenLogprobs
from mini_vllm.core.request import FinishReason


@dataclass(slots=True)
class EngineCoreOutput:
    r"""What one step did for one request.

    `finish_reason` is `None` while the request goes on. `stop_reason` is the token id that stopped
    it, if one did. `num_cached_tokens` comes with the first output of a request, and is `None` in
    all later ones.
    """

    request_id: str
    new_token_ids: list[int]
    new_logprobs: list[TokenLogprobs] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    num_cached_tokens: int | None = None

    @property
    def finished(self) -> bool:
        """Whether this is the last message about the request."""
        return self.finish_reason is not None
