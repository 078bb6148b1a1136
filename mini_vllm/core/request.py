r"""What does the engine know about a request while it runs?

Surprisingly little. A request is two counters. `num_tokens` is how many tokens it has, prompt and
answer so far; `num_computed_tokens` is how many of those have been through the model, so that
their keys and values lie in the cache. The second chases the first. A step moves it by as much as
the budget allows; when it catches up, the model has seen everything, and the logits of the last
token say what comes next. One more token is drawn, the first counter moves by one, and the chase
goes on.

Nothing else is needed to tell what a request is doing:

| what people say | what the counters say |
|---|---|
| waiting for its turn | `num_computed_tokens == 0` |
| in prefill, not done | `num_tokens - num_computed_tokens > 1` |
| decoding | `num_tokens - num_computed_tokens == 1`, and the answer has begun |
| hit the prefix cache | `num_computed_tokens > 0` when it is admitted |
| preempted | `num_computed_tokens` is 0 again, `num_tokens` has kept the answer so far |

The last row is why preemption by recompute is so simple here. The tokens are kept and the computed
counter is set back, so the request comes back as one with a long prompt. No rule of the schedule
knows of resuming; only the message to the runner does, because the runner's old row must be
replaced ({py:class}`~mini_vllm.core.scheduler_output.CachedRequestData`).

## The life of a request

The counters say where a request is in its work. Its *status* says which queue holds it.

`WAITING` until the scheduler admits it; `RUNNING` while it holds blocks; `PREEMPTED` when its
blocks were taken, and it waits again, under first come, first served at the head of the queue.
Everything after `PREEMPTED` is an end, and being finished is tested by comparing integers
({up}`vllm/v1/request.py#RequestStatus.is_finished@"return status > RequestStatus.PREEMPTED"`): the
*order* of the enum is part of its meaning. A new waiting state goes before `PREEMPTED`, or the
engine takes a waiting request for a finished one.

A finished status then becomes the `finish_reason` that the caller reads. That map is not one to
one. `FINISHED_IGNORED`, for a prompt that was too long, would tell the caller `length`. It is a
relic: nothing at the pin sets it, and nothing here, since such a prompt is refused at the door.

Upstream has the same class with three more waiting states, for a grammar that is being compiled,
for keys and values that come over the network, and for input that arrives in pieces
({up}`vllm/v1/request.py#RequestStatus`). This engine has none of these, so it has none of the
states.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.stats import EngineCoreEvent, EngineCoreEventType
from mini_vllm.sampling_params import SamplingParams

if TYPE_CHECKING:
    from mini_vllm.core.prefix_hash import PrefixHasher

#: The five words that a caller may read, in the order of {py:class}`FinishReason`.
FINISH_REASON_STRINGS = ("stop", "length", "abort", "error", "repetition")


class FinishReason(enum.IntEnum):
    r"""Why an answer ended, as the caller is told.

    `str()` gives the word of the API. `STOP`: the model's own end, a stop token or a stop string.
    `LENGTH`: `max_tokens` or the model's limit. `ABORT`: the caller went away. `ERROR`: the
    engine's fault. `REPETITION`: the answer went in circles.
    Upstream: {up}`vllm/v1/engine/__init__.py#FinishReason`.
    """

    STOP = 0
    LENGTH = 1
    ABORT = 2
    ERROR = 3
    REPETITION = 4

    def __str__(self) -> str:
        return FINISH_REASON_STRINGS[self.value]


class RequestStatus(enum.IntEnum):
    r"""Which queue holds a request, or how it ended.

    Everything above `PREEMPTED` is an end, so the order matters.
    Upstream: {up}`vllm/v1/request.py#RequestStatus`.
    """

    WAITING = enum.auto()
    RUNNING = enum.auto()
    PREEMPTED = enum.auto()
    FINISHED_STOPPED = enum.auto()
    FINISHED_LENGTH_CAPPED = enum.auto()
    FINISHED_ABORTED = enum.auto()
    FINISHED_IGNORED = enum.auto()
    FINISHED_ERROR = enum.auto()
    FINISHED_REPETITION = enum.auto()

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def is_finished(status: RequestStatus) -> bool:
        """Whether `status` is an end."""
        return status > RequestStatus.PREEMPTED

    @staticmethod
    def get_finished_reason(status: RequestStatus) -> FinishReason | None:
        """What the caller is told about `status`; `None` for a request that has not ended."""
        return _FINISHED_REASON_MAP.get(status)


_FINISHED_REASON_MAP = {
    RequestStatus.FINISHED_STOPPED: FinishReason.STOP,
    RequestStatus.FINISHED_LENGTH_CAPPED: FinishReason.LENGTH,
    RequestStatus.FINISHED_ABORTED: FinishReason.ABORT,
    # A prompt beyond the model's limit: the API has no word for it, and "length" is the nearest.
    RequestStatus.FINISHED_IGNORED: FinishReason.LENGTH,
    RequestStatus.FINISHED_ERROR: FinishReason.ERROR,
    RequestStatus.FINISHED_REPETITION: FinishReason.REPETITION,
}


class Request:
    r"""One request, from arrival to its last token: two counters and what they count.

    `prompt_token_ids` never change. `output_token_ids` and `all_token_ids` grow together, and only
    by {py:meth}`append_output_token_ids`: they are read-only views of one truth, so that no caller
    can lengthen one and forget the other. `block_hashes` names each *full* block of tokens, and
    grows by itself as blocks fill up; it is what a prefix-cache lookup compares. The scheduler
    owns `status`, `num_computed_tokens` and `num_preemptions`; `stop_reason` is set by the check
    that stops the request.

    `block_hasher` is normally given by the scheduler when the request arrives. `eos_token_id` is
    for requests made by hand: the same as
    {py:meth}`~mini_vllm.sampling_params.SamplingParams.update_from_generation_config` on a clone
    of the parameters, which the input processor does for everyone else.

    Requests compare by priority, then arrival, then id: `a < b` means that `a` goes first.
    Upstream: {up}`vllm/v1/request.py#Request`.
    """

    __slots__ = (
        "_all_token_ids",
        "_block_hasher",
        "_hash_at",
        "_output_token_ids",
        "arrival_time",
        "block_hashes",
        "events",
        "is_prefill_chunk",
        "max_tokens",
        "num_cached_tokens",
        "num_computed_tokens",
        "num_preemptions",
        "num_prompt_tokens",
        "priority",
        "prompt_token_ids",
        "request_id",
        "sampling_params",
        "status",
        "stop_reason",
    )

    def __init__(
        self,
        request_id: str,
        prompt_token_ids: list[int],
        sampling_params: SamplingParams,
        arrival_time: float | None = None,
        priority: int = 0,
        eos_token_id: int | None = None,
        block_hasher: PrefixHasher | None = None,
    ) -> None:
        if eos_token_id is not None:
            sampling_params = sampling_params.clone()
            sampling_params.update_from_generation_config(eos_token_id=eos_token_id)
        self.request_id = request_id
        self.prompt_token_ids = prompt_token_ids
        self.num_prompt_tokens = len(prompt_token_ids)
        self.sampling_params = sampling_params
        self.max_tokens: int | float = (
            float("inf") if sampling_params.max_tokens is None else sampling_params.max_tokens
        )
        self.arrival_time = time.time() if arrival_time is None else arrival_time
        self.priority = priority

        self.status = RequestStatus.WAITING
        self.stop_reason: int | str | None = None
        self._all_token_ids = list(prompt_token_ids)
        self._output_token_ids: list[int] = []

        self.num_computed_tokens = 0
        # Whether the tokens scheduled now end before the request's last token does.
        self.is_prefill_chunk = False
        # How many prompt tokens the cache held when the request was first admitted; -1: not yet.
        self.num_cached_tokens = -1
        self.num_preemptions = 0
        # What has happened to it since its last output; the next one takes them along.
        self.events: list[EngineCoreEvent] = []

        self.block_hashes: list[bytes] = []
        self._block_hasher: PrefixHasher | None = None
        self._hash_at: int | float = float("inf")
        if block_hasher is not None:
            self.set_block_hasher(block_hasher)

    @classmethod
    def from_engine_core_request(
        cls, request: EngineCoreRequest, block_hasher: PrefixHasher | None = None
    ) -> Request:
        """Make the scheduler's request from the message that the front-end sent."""
        return cls(
            request_id=request.request_id,
            prompt_token_ids=request.prompt_token_ids,
            sampling_params=request.sampling_params,
            arrival_time=request.arrival_time,
            priority=request.priority,
            block_hasher=block_hasher,
        )

    @property
    def output_token_ids(self) -> Sequence[int]:
        """The answer so far. A view: do not change it."""
        return self._output_token_ids

    @property
    def all_token_ids(self) -> Sequence[int]:
        """Prompt and answer so far. A view: do not change it."""
        return self._all_token_ids

    @property
    def num_tokens(self) -> int:
        """How many tokens the request has, prompt and answer."""
        return len(self._all_token_ids)

    @property
    def num_output_tokens(self) -> int:
        """How many tokens the answer has."""
        return len(self._output_token_ids)

    def append_output_token_ids(self, token_ids: int | list[int]) -> None:
        """Lengthen the answer, and hash each block that becomes full by it."""
        if isinstance(token_ids, int):
            self._output_token_ids.append(token_ids)
            self._all_token_ids.append(token_ids)
        else:
            self._output_token_ids.extend(token_ids)
            self._all_token_ids.extend(token_ids)
        if len(self._all_token_ids) >= self._hash_at:
            self.update_block_hashes()

    def set_block_hasher(self, block_hasher: PrefixHasher) -> None:
        """Name the full blocks by `block_hasher` from now on, beginning with those there are."""
        self._block_hasher = block_hasher
        self.update_block_hashes()

    @property
    def has_block_hasher(self) -> bool:
        """Whether the request's blocks are being named."""
        return self._block_hasher is not None

    def update_block_hashes(self) -> None:
        """Hash every block that has become full since the last call."""
        if self._block_hasher is not None:
            self.block_hashes.extend(self._block_hasher(self))
            # The next block is full when the tokens reach this count; until then, ask nobody.
            self._hash_at = (len(self.block_hashes) + 1) * self._block_hasher.block_size

    def record_event(self, event_type: EngineCoreEventType) -> None:
        """Note that this happens to the request now."""
        self.events.append(EngineCoreEvent.new_event(event_type))

    def take_events(self) -> list[EngineCoreEvent]:
        """Hand out what has been noted, and begin anew."""
        events, self.events = self.events, []
        return events

    def is_finished(self) -> bool:
        """Whether the request has ended."""
        return self.status > RequestStatus.PREEMPTED

    def get_finished_reason(self) -> FinishReason | None:
        """What the caller is told about the end, or `None` while there is none."""
        return _FINISHED_REASON_MAP.get(self.status)

    def __lt__(self, other: Request) -> bool:
        if self.priority != other.priority:
            return self.priority < other.priority
        if self.arrival_time != other.arrival_time:
            return self.arrival_time < other.arrival_time
        return self.request_id < other.request_id

    def __repr__(self) -> str:
        return (
            f"Request({self.request_id!r}, {self.status}, "
            f"computed {self.num_computed_tokens} of {self.num_tokens})"
        )
