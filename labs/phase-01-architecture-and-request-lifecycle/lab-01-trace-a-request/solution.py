r"""Follow one request through the engine, from its arrival to its last token.

A request is two counters racing: `num_tokens`, how many tokens it has, and `num_computed_tokens`,
how many of them have been through the model. You step the engine, write both down after every step,
and read from them everything that has a name elsewhere: prefill, decode, time to first token, the
gap between two tokens, a preemption.

Steps count from 1. Step 0 is the moment before the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from mini_vllm.core.request import Request
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.sampling_params import SamplingParams


class Moment(NamedTuple):
    r"""A request after a step: its status by name, as `RUNNING`, and its two counters."""

    step: int
    status: str
    num_computed_tokens: int
    num_tokens: int

    @property
    def is_end(self) -> bool:
        r"""Whether the request has finished, in whatever way."""
        return self.status.startswith("FINISHED_")


class Latency(NamedTuple):
    r"""When the tokens came, in steps.

    `first_token` is the step of the first one, `None` if there was none. `gaps` are the steps from
    each token to the next: a gap of 1 means that the very next step brought it.
    """

    first_token: int | None
    gaps: list[int]


def moment_of(step: int, request: Request) -> Moment:
    r"""Write down where a request stands, after a step.

    `request.status` is an enum; its name is what we keep.
    """
    # lab: begin task 1 "write down one moment"
    return Moment(step, request.status.name, request.num_computed_tokens, request.num_tokens)
    # lab: end


def trace(
    engine: LLMEngine,
    request_id: str,
    write_down: Callable[[int, Request], Moment] = moment_of,
) -> list[Moment]:
    r"""Step the engine until a request ends; what was written down before, and after every step.

    The requests of the engine stand in `engine.engine_core.scheduler.requests`, by id. Mind that
    the scheduler forgets a request in the step in which it ends, and you want that step's moment
    too. Other requests may be in the engine: every step is a step of all of them.

    Raises `LookupError`, naming the id, when the engine has no such request.
    """
    # lab: begin task 2 "follow a request to its end"
    requests = engine.engine_core.scheduler.requests
    request = requests[request_id]  # a KeyError is a LookupError, and names the id
    moments = [write_down(0, request)]
    while request_id in requests:
        engine.step()
        moments.append(write_down(len(moments), request))
    return moments
    # lab: end


def name_steps(moments: Sequence[Moment]) -> list[str]:
    r"""What each step did to the request, in the words that people use; one word per step.

    The engine knows one rule: move the computed counter toward the other. The words are ours:

    | word | what happened |
    |---|---|
    | `"waited"` | nothing was computed |
    | `"preempted"` | what was computed is lost: the counter went back |
    | `"decode"` | one token was left to compute, it belonged to the answer, and a token came out |
    | `"chunk"` | tokens were computed, and none came out: there are more to read |
    | `"last chunk"` | tokens were computed, the last one among them, and a token came out |

    `moments[0]` is the arrival, when all tokens belong to the prompt. (After a preemption a request
    reads its own answer again, in chunks, as if it were a prompt. And a last chunk that happens to
    be one token of the answer is a decode: no difference is left.)
    """
    # lab: begin task 3 "name what each step did"
    num_prompt_tokens = moments[0].num_tokens
    names = []
    for before, after in pairwise(moments):
        to_compute = before.num_tokens - before.num_computed_tokens
        if after.num_computed_tokens < before.num_computed_tokens:
            names.append("preempted")
        elif after.num_computed_tokens == before.num_computed_tokens:
            names.append("waited")
        elif after.num_tokens == before.num_tokens:
            names.append("chunk")
        elif to_compute == 1 and before.num_tokens > num_prompt_tokens:
            names.append("decode")
        else:
            names.append("last chunk")
    return names
    # lab: end


def latency(moments: Sequence[Moment]) -> Latency:
    r"""When did the tokens come? Counted in steps, since a step is the engine's clock.

    A token came out of a step when the request has one more after it than before.
    """
    # lab: begin task 4 "measure the waits in steps"
    token_steps = [
        after.step for before, after in pairwise(moments) if after.num_tokens > before.num_tokens
    ]
    gaps = [later - earlier for earlier, later in pairwise(token_steps)]
    return Latency(token_steps[0] if token_steps else None, gaps)
    # lab: end


def impossible(moments: Sequence[Moment]) -> list[str]:
    r"""Say what in a trace cannot have happened; an empty list for a trace that can be true.

    A sentence of your own for every violation of one of these:

    1. The request arrives `WAITING`, with nothing computed.
    2. It goes on from `WAITING` to `RUNNING`; from `RUNNING` to `PREEMPTED`; from `PREEMPTED` back
       to `RUNNING`, never to `WAITING`; from each of the three to an end; and it may stay what it
       is. Nothing comes after an end.
    3. Who is `WAITING` or `PREEMPTED` has nothing computed.
    4. After a step, a token is always left to compute: the one that was drawn last, or the rest of
       the prompt.
    5. A step adds one token at most, and takes none away.
    6. The computed counter goes back only when the request is preempted.

    (Rule 2 lets a request go from `WAITING` to an end: it is written down only after the step, and
    may have run and ended within it.)
    """
    # lab: begin task 5 "say which traces cannot be"
    problems = []
    arrival = moments[0]
    if arrival.status != "WAITING":
        problems.append(f"arrives {arrival.status}")
    follows = {
        "WAITING": {"WAITING", "RUNNING"},
        "RUNNING": {"RUNNING", "PREEMPTED"},
        "PREEMPTED": {"PREEMPTED", "RUNNING"},
    }
    for moment in moments:
        if moment.status in ("WAITING", "PREEMPTED") and moment.num_computed_tokens:
            problems.append(f"{moment} has computed tokens")
        if moment.num_computed_tokens >= moment.num_tokens:
            problems.append(f"{moment} has nothing left to compute")
    for before, after in pairwise(moments):
        if before.is_end:
            problems.append(f"{after} comes after the end")
        elif not after.is_end and after.status not in follows[before.status]:
            problems.append(f"from {before.status} to {after.status} in step {after.step}")
        if after.num_tokens - before.num_tokens not in (0, 1):
            problems.append(f"step {after.step} adds {after.num_tokens - before.num_tokens} tokens")
        went_back = after.num_computed_tokens < before.num_computed_tokens
        if went_back and after.status != "PREEMPTED":
            problems.append(f"step {after.step} loses computed tokens")
    return problems
    # lab: end


def main() -> None:
    r"""Print the trace of a request that is cut and preempted. Nothing to fill in."""
    engine = LLMEngine.from_scripted(
        default=lambda place: 1000 + place,
        block_size=4,
        num_gpu_blocks=9,  # one of them is never handed out: room for 32 tokens
        max_model_len=64,
        max_num_batched_tokens=8,
        max_num_seqs=2,
        enable_prefix_caching=False,
    )
    for request_id, num_prompt_tokens, max_tokens in (("first", 7, 12), ("second", 14, 5)):
        prompt = {"prompt_token_ids": list(range(1, num_prompt_tokens + 1))}
        params = SamplingParams(temperature=0, max_tokens=max_tokens)
        engine.add_request(request_id, prompt, params)
    moments = trace(engine, "second")
    print("step  status                  computed  tokens  what happened")
    for moment, name in zip(moments, ["arrived", *name_steps(moments)]):
        step, status, num_computed_tokens, num_tokens = moment
        print(f"{step:>4}  {status:<22}  {num_computed_tokens:>8}  {num_tokens:>6}  {name}")


if __name__ == "__main__":
    main()
