r"""A request that never ends: how to foresee it, find it, repair it, and keep it out.

At the pinned release one comparison stands one line too high. A request that asks for more tokens
than fit into the model reaches the limit, is not allowed to stop, and is not allowed to go on. You
have the ladder of that release in {py:func}`check_stop_at_the_pin`; put into our engine, it makes
the request as immortal as it is in the real one.
"""

from __future__ import annotations

from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.core.stopping import check_sequence_repetition
from mini_vllm.sampling_params import SamplingParams


def check_stop_at_the_pin(request: Request, max_model_len: int) -> bool:
    r"""The ladder with its rungs as the pinned release has them. Nothing to fill in here."""
    params = request.sampling_params
    if request.num_output_tokens < params.min_tokens:
        return False
    return ends_by_token(request) or ends_by_length(request, max_model_len) or repeats(request)


def ends_by_token(request: Request) -> bool:
    r"""The two rungs that look at the last token; they set the status. Given."""
    params, last_token = request.sampling_params, request.output_token_ids[-1]
    if last_token != params.eos_token_id and last_token not in params.stop_token_ids:
        return False
    request.status = RequestStatus.FINISHED_STOPPED
    if last_token != params.eos_token_id:
        request.stop_reason = last_token
    return True


def ends_by_length(request: Request, max_model_len: int) -> bool:
    r"""The rung that counts: the model's limit or `max_tokens`; it sets the status. Given."""
    if request.num_tokens < max_model_len and request.num_output_tokens < request.max_tokens:
        return False
    request.status = RequestStatus.FINISHED_LENGTH_CAPPED
    return True


def repeats(request: Request) -> bool:
    r"""The rung that looks for circles, if the caller asked for it; it sets the status. Given."""
    detection = request.sampling_params.repetition_detection
    if not detection or not check_sequence_repetition(request.output_token_ids, detection):
        return False
    request.status = RequestStatus.FINISHED_REPETITION
    request.stop_reason = "repetition_detected"
    return True


def never_ends(num_prompt_tokens: int, min_tokens: int, max_model_len: int) -> bool:
    r"""Will a request with these numbers live for ever, at the pin, whatever the model says?

    The prompt fits: `num_prompt_tokens < max_model_len`. (`max_tokens` does not enter: it is never
    smaller than `min_tokens`.)
    """
    # lab: begin task 1 "say which requests never end"
    return max_model_len - num_prompt_tokens < min_tokens
    # lab: end


def stuck(scheduler: Scheduler, orders: SchedulerOutput) -> set[str]:
    r"""Who was just planned for and can never move again? Ids of requests.

    Called when a step has been planned. A stuck request runs, holds its blocks, and is asked in
    every step; it gets nothing because no position is left for another token to be computed at. Not
    stuck, though they got nothing either: who waits, who was preempted, and who runs and was passed
    over because the budget was spent. An immortal can be preempted as well; then it is stuck
    again once it has been read again: as far as before or, if in a single step, one token further.

    `scheduler.requests`, `scheduler.max_model_len`. Changes nothing.
    """
    # lab: begin task 2 "find one in a running engine"
    last_position = scheduler.max_model_len - 1
    return {
        req_id
        for req_id, request in scheduler.requests.items()
        if req_id not in orders.num_scheduled_tokens
        and request.num_computed_tokens >= last_position
    }
    # lab: end


def check_stop_later(request: Request, max_model_len: int) -> bool:
    r"""The ladder as the later releases have it: `min_tokens` gates nothing but repetition.

    The end-of-sequence token and the stop tokens are asked about first, then length, then
    `min_tokens`, then repetition. (The sampler draws no end below `min_tokens`, so there the first
    two have nothing to say, as a rule.) Uses the rungs that are given above.
    """
    # lab: begin task 3 "repair it as the later releases did"
    if ends_by_token(request) or ends_by_length(request, max_model_len):
        return True
    if request.num_output_tokens < request.sampling_params.min_tokens:
        return False
    return repeats(request)
    # lab: end


def check_stop_contained(request: Request, max_model_len: int) -> bool:
    r"""The ladder of the pin, except that a request at the limit ends, with `length`.

    For every request that ends at the pin, this ladder says the same as the pin's: at the same
    token, with the same status and the same reason. Uses the rungs that are given above.
    """
    # lab: begin task 4 "repair it and change nothing else"
    if request.num_output_tokens < request.sampling_params.min_tokens:
        return ends_by_length(request, max_model_len)
    return ends_by_token(request) or ends_by_length(request, max_model_len) or repeats(request)
    # lab: end


def make_safe(params: SamplingParams, num_prompt_tokens: int, max_model_len: int) -> SamplingParams:
    r"""What a gateway in front of a server at the pin should pass on.

    The caller's parameters, as a `params.clone()`, with `min_tokens` lowered just as far as needed
    for the request to end. Everything else stays, and `params` itself is not changed. A prompt that
    leaves no room for a single token is refused with a `ValueError` that names both numbers.
    """
    # lab: begin task 5 "keep it out at the door"
    room = max_model_len - num_prompt_tokens
    if room < 1:
        raise ValueError(
            f"a prompt of {num_prompt_tokens} leaves no room in {max_model_len} tokens"
        )
    safe = params.clone()
    safe.min_tokens = min(params.min_tokens, room)
    return safe
    # lab: end
