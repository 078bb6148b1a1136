r"""The message that carries a request into the engine.

It holds plain values and no behaviour, so that it may cross a process: a server tokenizes in one
and schedules in another ({py:mod}`mini_vllm.engine.core_proc`). A script has both in one process,
and the message exists there too, because the border is where checking ends: whatever arrives in it
is valid.

It lives on floor 1, one below where upstream keeps it
({up}`vllm/v1/engine/__init__.py#EngineCoreRequest`), since the scheduler's
{py:class}`~mini_vllm.core.request.Request` is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mini_vllm.sampling_params import SamplingParams


@dataclass(slots=True)
class EngineCoreRequest:
    r"""A checked request: tokens, parameters with the end tokens filled in, arrival, priority.

    `arrival_time` is in seconds of wall-clock time, taken when the front-end saw the request. A
    lower `priority` goes first.
    """

    request_id: str
    prompt_token_ids: list[int]
    sampling_params: SamplingParams
    arrival_time: float
    priority: int = 0
