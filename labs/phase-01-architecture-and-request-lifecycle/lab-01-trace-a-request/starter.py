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
    # TODO task 1: write down one moment
    raise NotImplementedError("task 1: write down one moment")


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
    # TODO task 2: follow a request to its end
    raise NotImplementedError("task 2: follow a request to its end")


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
    # TODO task 3: name what each step did
    raise NotImplementedError("task 3: name what each step did")


def latency(moments: Sequence[Moment]) -> Latency:
    r"""When did the tokens come? Counted in steps, since a step is the engine's clock.

    A token came out of a step when the request has one more after it than before.
    """
    # TODO task 4: measure the waits in steps
    raise NotImplementedError("task 4: measure the waits in steps")


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
    # TODO task 5: say which traces cannot be
    raise NotImplementedError("task 5: say which traces cannot be")


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
