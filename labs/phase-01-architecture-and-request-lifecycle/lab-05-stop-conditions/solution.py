r"""Why an answer ends, and what the caller is told.

After every token the engine asks whether it was the last. You write what happens then: which
tokens can end an answer at all, the questions in the order in which they are asked, the word that
the caller reads, what becomes of tokens that were computed behind the end, and the way back, from
a complaint ("my answer got cut off") to its cause.

The requests are the engine's own ({py:class}`mini_vllm.core.request.Request`), so that your
`check_stop` can take the place of the engine's; one of the tests does that.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.stopping import check_sequence_repetition
from mini_vllm.sampling_params import SamplingParams


def fill_in_stops(
    params: SamplingParams, eos_token_id: int | None, further_eos_token_ids: Iterable[int] = ()
) -> SamplingParams:
    r"""The caller's parameters, with the model's end tokens filled in.

    A model has one end-of-sequence token and may have further ones (the end of a turn, the end of
    a tool call). Returns a `params.clone()` in which

    - `eos_token_id` is the model's: it stops without reporting itself;
    - `stop_token_ids` has the caller's ids first and then the further ones, each once and without
      `eos_token_id`, unless the caller had listed it: these report themselves;
    - `all_stop_token_ids` (a set) has all of them beside what it had: the sampler masks these until
      `min_tokens` is reached.

    With `params.ignore_eos` the first two stay as the caller gave them. That is all there is to
    `ignore_eos`: no later check knows of it. `params` itself does not change; it may be shared by a
    thousand requests.
    """
    # lab: begin task 1 "fill in which tokens end an answer"
    filled = params.clone()
    further = [token for token in further_eos_token_ids if token != eos_token_id]
    filled.all_stop_token_ids.update(further)
    if eos_token_id is not None:
        filled.all_stop_token_ids.add(eos_token_id)
    if not params.ignore_eos:
        filled.eos_token_id = eos_token_id
        filled.stop_token_ids = list(dict.fromkeys([*filled.stop_token_ids, *further]))
    return filled
    # lab: end


def check_stop(request: Request, max_model_len: int) -> bool:
    r"""Does the request end with the token that was appended last?

    Five questions about `request` and its `sampling_params`, in this order. The first yes decides:

    1. Is the answer shorter than `min_tokens`? Then it goes on.
    2. Is the last token `eos_token_id`? Then `FINISHED_STOPPED`.
    3. Is it one of `stop_token_ids`? Then `FINISHED_STOPPED`, and the id is the `stop_reason`.
    4. Has the request reached `max_model_len` tokens, or its answer `max_tokens`
       (`request.max_tokens`, which is infinite where the caller set no limit)? Then
       `FINISHED_LENGTH_CAPPED`.
    5. Is `repetition_detection` set, and does the answer go in circles by
       `check_sequence_repetition(output_token_ids, params.repetition_detection)`? Then
       `FINISHED_REPETITION`, and the `stop_reason` is `"repetition_detected"`.

    On a yes to 2, 3, 4 or 5 sets `request.status`, for 3 and 5 also `request.stop_reason`, and
    returns `True`. Otherwise changes nothing and returns `False`.

    (In one corner the order above is a defect of the pinned release: a request that reaches
    `max_model_len` below `min_tokens` goes on, and lab 06 shows what becomes of it. Either
    way passes here.)
    """
    # lab: begin task 2 "ask the five questions in order"
    params = request.sampling_params
    if request.num_output_tokens < params.min_tokens:
        return False

    last_token = request.output_token_ids[-1]
    if last_token == params.eos_token_id:
        request.status = RequestStatus.FINISHED_STOPPED
        return True
    if last_token in params.stop_token_ids:
        request.status = RequestStatus.FINISHED_STOPPED
        request.stop_reason = last_token
        return True
    if request.num_tokens >= max_model_len or request.num_output_tokens >= request.max_tokens:
        request.status = RequestStatus.FINISHED_LENGTH_CAPPED
        return True
    repetition = params.repetition_detection
    if repetition and check_sequence_repetition(request.output_token_ids, repetition):
        request.status = RequestStatus.FINISHED_REPETITION
        request.stop_reason = "repetition_detected"
        return True
    return False
    # lab: end


def finish_reason(status: RequestStatus) -> str | None:
    r"""The word that the API has for the end of a request, or `None` while there is no end.

    There are five: `stop`, `length`, `abort`, `error`, `repetition`. Six statuses are ends:
    `FINISHED_STOPPED`, `FINISHED_LENGTH_CAPPED`, `FINISHED_ABORTED`, `FINISHED_ERROR`,
    `FINISHED_REPETITION`, and `FINISHED_IGNORED`, which says that the prompt was longer than the
    model allows, and for which the API's nearest word is `length`.
    """
    # lab: begin task 3 "say it in the caller's words"
    words = {
        RequestStatus.FINISHED_STOPPED: "stop",
        RequestStatus.FINISHED_LENGTH_CAPPED: "length",
        RequestStatus.FINISHED_IGNORED: "length",
        RequestStatus.FINISHED_ABORTED: "abort",
        RequestStatus.FINISHED_ERROR: "error",
        RequestStatus.FINISHED_REPETITION: "repetition",
    }
    return words.get(status)
    # lab: end


def append_until_stop(
    request: Request, new_token_ids: Sequence[int], check: Callable[[Request], bool]
) -> list[int]:
    r"""Append a step's tokens to a request, up to the one that ends it; return those.

    A step may deliver several tokens, as speculative decoding does. Each is appended with
    `request.append_output_token_ids` and checked before the next one is, since the next must not
    exist when this one was the last: it would be counted, shown to the reader and paid for.
    """
    # lab: begin task 4 "drop what comes after the end"
    kept: list[int] = []
    for token in new_token_ids:
        request.append_output_token_ids(token)
        kept.append(token)
        if check(request):
            break
    return kept
    # lab: end


class Cause(enum.Enum):
    r"""Why an answer is not longer, and what, if anything, would make it so."""

    END_OF_SEQUENCE = "the model was done; nothing is missing"
    STOP_TOKEN = "a token in stop_token_ids came up; look at the caller's list and the model's"
    STOP_STRING = "a string in stop was found in the text; look at the caller's list"
    MAX_TOKENS = "the caller's own limit; raise max_tokens"
    MODEL_LIMIT = "the context is full; shorten the prompt, raising max_tokens changes nothing"
    REPETITION = "the answer went in circles; look at the sampling parameters"
    CLIENT_LEFT = "the request was aborted; look at the caller's timeout"
    ENGINE_ERROR = "the engine failed it; retry, and read the server's log"
    NOT_FINISHED = "the answer is still growing; the caller stopped reading too soon"


class Answer(NamedTuple):
    r"""What can be known about an answer from outside the engine.

    `max_tokens` is what the caller had asked for, `None` for no limit.
    """

    finish_reason: str | None
    stop_reason: int | str | None
    num_prompt_tokens: int
    num_output_tokens: int
    max_tokens: int | None
    max_model_len: int


def diagnose(answer: Answer) -> Cause:
    r"""From "my answer got cut off" to the cause, by what the caller can see.

    `stop` has three meanings, told apart by `stop_reason`: nothing, a token id, or the string that
    was found. `length` has two, which need opposite remedies. When an answer fills its `max_tokens`
    and the model's context at once, the context is the cause, because raising `max_tokens` would
    not help.

    Raises `ValueError`, naming it, for a `finish_reason` that is none of the five words.
    """
    # lab: begin task 5 "find out why an answer was cut off"
    if answer.finish_reason == "stop":
        if answer.stop_reason is None:
            return Cause.END_OF_SEQUENCE
        return Cause.STOP_STRING if isinstance(answer.stop_reason, str) else Cause.STOP_TOKEN
    if answer.finish_reason == "length":
        num_tokens = answer.num_prompt_tokens + answer.num_output_tokens
        return Cause.MODEL_LIMIT if num_tokens >= answer.max_model_len else Cause.MAX_TOKENS
    others = {
        "repetition": Cause.REPETITION,
        "abort": Cause.CLIENT_LEFT,
        "error": Cause.ENGINE_ERROR,
        None: Cause.NOT_FINISHED,
    }
    if answer.finish_reason not in others:
        raise ValueError(f"{answer.finish_reason!r} is not a finish reason")
    return others[answer.finish_reason]
    # lab: end
