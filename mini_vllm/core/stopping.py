r"""Why does an answer end here and not one token later?

After each drawn token somebody asks five questions, in this order, and the first yes decides:

| rung | question | `finish_reason` | `stop_reason` |
|---|---|---|---|
| 1 | is the answer shorter than `min_tokens`? then none of 2, 3 and 5 may fire | | |
| 2 | is this the end-of-sequence token? | `stop` | `None` |
| 3 | is this one of `stop_token_ids`? | `stop` | the id |
| 4 | is the model's limit reached, or `max_tokens`? | `length` | `None` |
| 5 | does the answer go in circles? | `repetition` | `"repetition_detected"` |

The order is not an implementation detail. Let an answer's last allowed token be the
end-of-sequence token: rungs 2 and 4 are both true. Asked in this order, the caller reads `stop`, a
complete answer; asked in the other, `length`, and whatever retries truncated answers will send a
finished one again. Somebody's retry logic depends on two lines being in this order, so the order
is API.

Two stops are not on this ladder. A *stop string* is found in text, and the text is made by the
{py:mod}`detokenizer <mini_vllm.engine.detokenizer>`, in vLLM in another process than this code.
The hit comes back as an abort; where the next step is already under way, as in vLLM, a token or
two are drawn in vain. And an *abort* ends a request from outside, at any time, with no question
asked.

## How `ignore_eos` works

There is no `if` for it below. The parameters say which token ends an answer, and with `ignore_eos`
the engine leaves that field empty, so rung 2 compares with `None` and never fires
({py:meth}`~mini_vllm.sampling_params.SamplingParams.update_from_generation_config`). Rung 3 knows
nothing of the flag: a caller who names the same id in `stop_token_ids` is stopped by it, flag or
not.

## The request that never ended

At the pin, rung 1 is a gate in front of *everything*: below `min_tokens` the function returns
before it asks about length
({up}`vllm/v1/core/sched/utils.py#check_stop@"< sampling_params.min_tokens"`). Take
`max_model_len=32`, a prompt of {given}`20 tokens`, `min_tokens=50`. The twelfth token fills the
model's 32 positions, and the ladder says "go on". In the next step the scheduler may move the
request at most to position 31
({up}`vllm/v1/core/sched/scheduler.py#Scheduler.schedule@"self.max_model_len - 1 -"`), where it
already is: it schedules nothing. The request is `RUNNING`, holds its blocks, is asked in every
step, and never ends.

Here the gate does not cover rung 4. A request at the model's limit ends with `length`, however
many tokens it was promised. Later releases of vLLM repair it by moving the test for `min_tokens`
below the length check. This is the one place where the ladder below differs from the pin's on
purpose, and it differs in that case only.
"""

from __future__ import annotations

from collections.abc import Sequence

from mini_vllm.core.request import Request, RequestStatus
from mini_vllm.sampling_params import RepetitionDetectionParams


def check_stop(request: Request, max_model_len: int) -> bool:
    r"""Ask the five questions about the last token; return whether the request ended with it.

    On a yes, sets `request.status` and, on rungs 3 and 5, `request.stop_reason`; changes nothing
    else. Call it once after each token, before the next is appended.
    Upstream: {up}`vllm/v1/core/sched/utils.py#check_stop`.
    """
    params = request.sampling_params
    output_token_ids = request.output_token_ids
    num_output_tokens = len(output_token_ids)
    may_stop = num_output_tokens >= params.min_tokens

    if may_stop:
        last_token_id = output_token_ids[-1]
        if last_token_id == params.eos_token_id:
            request.status = RequestStatus.FINISHED_STOPPED
            return True
        if params.stop_token_ids and last_token_id in params.stop_token_ids:
            request.status = RequestStatus.FINISHED_STOPPED
            request.stop_reason = last_token_id
            return True

    # Outside the gate: the model has no position left, whatever was promised.
    if request.num_tokens >= max_model_len or num_output_tokens >= request.max_tokens:
        request.status = RequestStatus.FINISHED_LENGTH_CAPPED
        return True

    if (
        may_stop
        and params.repetition_detection is not None
        and check_sequence_repetition(output_token_ids, params.repetition_detection)
    ):
        request.status = RequestStatus.FINISHED_REPETITION
        request.stop_reason = "repetition_detected"
        return True
    return False


def check_sequence_repetition(token_ids: Sequence[int], params: RepetitionDetectionParams) -> bool:
    r"""Whether the end of `token_ids` is one pattern, `min_count` times in a row.

    Tries every pattern length from `min_pattern_size` (at least 1) to `max_pattern_size`, the
    shortest first. Off while `max_pattern_size` is 0.
    Upstream: {up}`vllm/v1/core/sched/utils.py#check_sequence_repetition`.
    """
    if params.max_pattern_size <= 0 or params.min_count < 2:
        return False
    for size in range(max(1, params.min_pattern_size), params.max_pattern_size + 1):
        length = size * params.min_count
        if length > len(token_ids):
            return False
        # A sequence repeats with period `size` when it equals itself shifted by `size`.
        tail = token_ids[-length:]
        if tail[size:] == tail[:-size]:
            return True
    return False
