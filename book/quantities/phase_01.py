r"""Numbers of phase 01: what the interview answers, the exercises and the guide state.

The inputs are those of the question that asks, and stand in its text.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

from book.quantities.llama import LLAMA3_8B, llama3_8b_flop_per_token
from book.quantities.registry import quantity
from book.quantities.step_counts import (
    SOURCE as RUN,
)
from book.quantities.step_counts import (
    Step,
    first_token,
    request,
    run,
    scheduler,
    take_step,
)
from mini_vllm.core.request import Request
from mini_vllm.core.stopping import check_stop
from mini_vllm.sampling_params import SamplingParams

GIVEN = "arithmetic on the numbers of the question"
_BLOCK = 16


# One request alone


@quantity("p01-life-tokens", unit="token", source=RUN)
def life_tokens() -> int:
    """Tokens scheduled over the life of a request with a prompt of 500 and an answer of 20."""
    return sum(step.total for step in run(scheduler(budget=64), [request("r", 500, 20)]))


@lru_cache(maxsize=1)
def _five_hundred() -> tuple[Step, ...]:
    return tuple(run(scheduler(budget=64, seats=8), [request("r", 500, 3)]))


@quantity("p01-ex500-full", unit="step", source=RUN)
def ex500_full() -> int:
    """Full steps of a prompt of 500 under a budget of 64."""
    return sum(step.total == 64 for step in _five_hundred())


@quantity("p01-ex500-rest", unit="token", source=RUN)
def ex500_rest() -> int:
    """Tokens of the step that ends the prompt of 500."""
    return next(step.total for step in _five_hundred() if step.sampled)


@quantity("p01-ex500-first", unit="", source=RUN)
def ex500_first() -> int:
    """The step of the first token of the prompt of 500."""
    return first_token(_five_hundred(), "r")


@quantity("p01-ex500-last", unit="", source=RUN)
def ex500_last() -> int:
    """The step of its third and last token."""
    return len(_five_hundred())


# A long prompt beside ten decodes


@lru_cache(maxsize=2)
def _busy(budget: int) -> tuple[Step, ...]:
    """Ten requests decode; then a prompt of 6,000 arrives. Only the steps from then on."""
    running = scheduler(budget=budget)
    for i in range(10):
        running.add_request(request(f"d{i}", 1, 100))
    take_step(running)
    running.add_request(request("long", 6000, 1))
    steps = []
    while "long" in running.requests:
        steps.append(take_step(running))
    return tuple(steps)


@quantity("p01-busy-chunk", unit="token", source=RUN)
def busy_chunk() -> int:
    """What a long prompt gets of a budget of 2,048 beside ten decodes."""
    return _busy(2048)[0].granted["long"]


@quantity("p01-busy-ttft-2048", unit="step", source=RUN)
def busy_ttft_2048() -> int:
    """Steps to the first token of 6,000 beside ten decodes, budget 2,048."""
    return first_token(_busy(2048), "long")


@quantity("p01-busy-ttft-16384", unit="step", source=RUN)
def busy_ttft_16384() -> int:
    """Steps to the first token of 6,000 beside ten decodes, budget 16,384."""
    return first_token(_busy(16384), "long")


@quantity("p01-busy-prompt", unit="token", source=RUN)
def busy_prompt() -> int:
    """Tokens that the long prompt was granted in all, whichever the budget."""
    totals = {sum(s.granted.get("long", 0) for s in _busy(b)) for b in (2048, 16384)}
    (total,) = totals
    return total


@quantity("p01-busy-worst-2048", unit="token", source=RUN)
def busy_worst_2048() -> int:
    """The largest step that the ten sit through, budget 2,048."""
    return max(step.total for step in _busy(2048))


@quantity("p01-busy-worst-16384", unit="token", source=RUN)
def busy_worst_16384() -> int:
    """The largest step that the ten sit through, budget 16,384."""
    return max(step.total for step in _busy(16384))


# The ladder of stops


_FACTS = ("below", "eos", "ignore", "stop_id", "full")


def _cases() -> list[dict[str, bool]]:
    """Every combination of the five facts about one token."""
    flags = itertools.product((False, True), repeat=len(_FACTS))
    return [dict(zip(_FACTS, one, strict=True)) for one in flags]


def _asked(case: dict[str, bool]) -> str:
    """What `check_stop` says of a token of which these facts hold."""
    params = SamplingParams(
        max_tokens=3 if case["full"] else 9,
        min_tokens=3,
        ignore_eos=case["ignore"],
        stop_token_ids=[7] if case["stop_id"] else [],
    )
    if case["below"]:
        # Below min_tokens and full at once can only be the model's length.
        params.max_tokens, params.min_tokens = 9, 8
    request = Request("r", [1], params, arrival_time=0.0, eos_token_id=7 if case["eos"] else 8)
    request.append_output_token_ids([5, 6, 7])
    stopped = check_stop(request, max_model_len=4 if case["full"] else 99)
    return str(request.get_finished_reason()) if stopped else "go on"


def _ladder(order: str, case: dict[str, bool]) -> str:
    """A ladder with its rungs in any order: `m`in_tokens, `e`os, `s`top ids, `l`ength."""
    fires = {
        "m": (case["below"], "go on"),
        "e": (case["eos"] and not case["ignore"], "stop"),
        "s": (case["stop_id"], "stop"),
        "l": (case["full"], "length"),
    }
    return next((word for yes, word in map(fires.__getitem__, order) if yes), "go on")


@quantity("p01-tie-cases", unit="", source=GIVEN)
def tie_cases() -> int:
    """Combinations of five yes-or-no facts about one token."""
    return len(_cases())


@quantity("p01-tie-differ", unit="", source="mini_vllm's check_stop, run on every combination")
def tie_differ() -> int:
    """Combinations on which asking for length first gives another word."""
    return sum(_asked(case) != _ladder("lmes", case) for case in _cases())


@quantity("p01-ex-ladder-differ", unit="", source=GIVEN)
def ladder_differ() -> int:
    """Combinations on which asking for min_tokens last gives another word."""
    return sum(_ladder("mesl", case) != _ladder("eslm", case) for case in _cases())


# Sampling what is thrown away


@quantity("p01-lm-head-row", unit="GFLOP", source="shape of Llama-3-8B", phases=(1,))
def lm_head_row() -> float:
    """One row through the output layer of Llama-3-8B."""
    return 2 * LLAMA3_8B.hidden * LLAMA3_8B.vocab / 1e9


@quantity("p01-chunk-2048", unit="TFLOP", source="shape of Llama-3-8B")
def chunk_2048() -> float:
    """2,048 prompt tokens through the layers of Llama-3-8B (no output layer, no attention)."""
    return 2048 * (llama3_8b_flop_per_token() / 1e9 - lm_head_row()) / 1e3


@quantity("p01-discard-share", unit="%", source="shape of Llama-3-8B")
def discard_share() -> float:
    """What the thrown-away row adds to its chunk, in per cent."""
    return 100 * lm_head_row() / (chunk_2048() * 1e3)


# The process boundary, logs, overlap


@quantity("p01-inline-ms", unit="ms", source=GIVEN)
def inline_ms() -> float:
    """Front-end work a step: 256 requests at 12 microseconds each."""
    return 256 * 12e-3


@quantity("p01-inline-share", unit="%", source=GIVEN)
def inline_share() -> float:
    """Throughput left when that work stands between steps of 8 ms."""
    return 100 * 8 / (8 + inline_ms())


@quantity("p01-log-lines", unit="line", source=GIVEN)
def log_lines() -> int:
    """Lines a second: 1,000 requests, 100 steps."""
    return 1000 * 100


@quantity("p01-log-share", unit="%", source=GIVEN)
def log_share() -> float:
    """Share of one core that formats them at 20 microseconds each."""
    return 100 * log_lines() * 20e-6


@quantity("p01-sync-step", unit="ms", source=GIVEN)
def sync_step() -> float:
    """Time between steps when 2 ms of CPU and 6 ms of device follow each other."""
    return 2 + 6


@quantity("p01-async-step", unit="ms", source=GIVEN)
def async_step() -> float:
    """Time between steps when they overlap."""
    return max(2, 6)


@quantity("p01-async-gain", unit="×", source=GIVEN)
def async_gain() -> float:
    """How much more often a step ends."""
    return sync_step() / async_step()


# Stops, holes, preemption


@quantity("p01-room-left", unit="token", source=GIVEN)
def room_left() -> int:
    """What is left of 4,096 after a history of 4,000."""
    return 4096 - 4000


@quantity("p01-hole-outputs", unit="token", source=GIVEN)
def hole_outputs() -> int:
    """Tokens that fit between a prompt of 20 and a model length of 32."""
    return 32 - 20


@quantity("p01-hole-blocks", unit="block", source=GIVEN)
def hole_blocks() -> int:
    """Blocks that hold the 31 computed tokens."""
    return math.ceil(31 / _BLOCK)


@quantity("p01-preempt-debt", unit="token", source=GIVEN)
def preempt_debt() -> int:
    """What a request with 1,000 + 200 tokens must compute again."""
    return 1000 + 200


@quantity("p01-preempt-steps", unit="step", source=RUN)
def preempt_steps() -> int:
    """Steps to its next token under a budget of 512."""
    return first_token(run(scheduler(budget=512), [request("r", preempt_debt(), 1)]), "r")


@quantity("p01-preempt-cached", unit="token", source=GIVEN)
def preempt_cached() -> int:
    """Whole blocks among all its tokens but the last."""
    return (preempt_debt() - 1) // _BLOCK * _BLOCK


@quantity("p01-preempt-steps-cached", unit="step", source=GIVEN)
def preempt_steps_cached() -> int:
    """Steps to its next token when they are all still in the cache."""
    return math.ceil((preempt_debt() - preempt_cached()) / 512)


# Queue or prefill


def _prefill_steps(prompt: int) -> int:
    return math.ceil(prompt / (2048 - 60))


@quantity("p01-prefill-1500", unit="step", source=GIVEN)
def prefill_1500() -> int:
    """Steps of a prompt of 1,500 beside 60 decodes, budget 2,048."""
    return _prefill_steps(1500)


@quantity("p01-prefill-6500", unit="step", source=GIVEN)
def prefill_6500() -> int:
    """Steps of a prompt of 6,500 beside 60 decodes, budget 2,048."""
    return _prefill_steps(6500)


@quantity("p01-prefill-1500-ms", unit="ms", source=GIVEN)
def prefill_1500_ms() -> int:
    """Steps of a prompt of 1,500 beside 60 decodes, at 80 ms each."""
    return prefill_1500() * 80


@quantity("p01-prefill-6500-ms", unit="ms", source=GIVEN)
def prefill_6500_ms() -> int:
    """Steps of a prompt of 6,500 beside 60 decodes, at 80 ms each."""
    return prefill_6500() * 80


# Proving two steps equal


@quantity("p01-mode-combinations", unit="", source=GIVEN)
def mode_combinations() -> int:
    """Five switches with two positions each."""
    return 2**5


@quantity("p01-workloads-per-mode", unit="", source=GIVEN)
def workloads_per_mode() -> int:
    """A thousand workloads over those modes."""
    return 1000 // mode_combinations()
