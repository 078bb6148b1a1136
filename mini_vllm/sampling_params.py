r"""What may a caller ask for?

One request carries one {py:class}`SamplingParams`: how to draw each next token, and when to stop
drawing. Names, defaults and ranges are vLLM's, so that the same object can be typed against either
engine; what this engine cannot do yet is refused when the object is made, by name, since a
parameter that is accepted and ignored gives wrong answers to somebody who asked precisely.

Two of its fields are not the caller's. The engine fills in which token ends an answer, with
{py:meth}`SamplingParams.update_from_generation_config`, and it does so on a *clone*: one object
may be shared by a thousand requests.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from mini_vllm.errors import RequestError

# Below this a temperature means "take the best token"; the same bound as upstream.
GREEDY_BELOW = 1e-5
# Dividing logits by less than this overflows float16: what lies between 0 and it is raised to it.
MIN_TEMPERATURE = 1e-2
# The most answers to one prompt; upstream's default for VLLM_MAX_N_SEQUENCES.
MAX_N = 16384
# A signed word of eight bytes, as the API says; a generator takes no more than an unsigned one.
MAX_SEED = 2**63 - 1


class SamplingType(IntEnum):
    """How a row is sampled: the best token, a draw, or a draw from the request's own seed."""

    GREEDY = 0
    RANDOM = 1
    RANDOM_SEED = 2


class RequestOutputKind(Enum):
    """What each output of a stream holds: all so far, only the news, or only the end."""

    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


def _refuse(parameter: str, value: object, rule: str) -> None:
    raise RequestError(
        f"{parameter} must be {rule}, got {value!r}", parameter=parameter, value=value
    )


@dataclass(frozen=True, slots=True)
class RepetitionDetectionParams:
    r"""When does an answer that repeats itself count as finished?

    The last `min_count` repetitions of one pattern, of `min_pattern_size` to `max_pattern_size`
    tokens, end the request with finish reason `repetition`.
    Upstream: {up}`vllm/sampling_params.py#RepetitionDetectionParams`.
    """

    max_pattern_size: int = 0
    min_pattern_size: int = 0
    min_count: int = 0

    def __post_init__(self) -> None:
        # They end up in a `range`, which would complain in the middle of everybody's step.
        for name in ("max_pattern_size", "min_pattern_size", "min_count"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                _refuse(name, value, "an integer")
        if self.min_pattern_size < 0:
            _refuse("min_pattern_size", self.min_pattern_size, "at least 0")
        if self.max_pattern_size < self.min_pattern_size:
            _refuse(
                "max_pattern_size",
                self.max_pattern_size,
                f"at least min_pattern_size={self.min_pattern_size}",
            )
        if self.max_pattern_size > 0 and self.min_count < 2:
            _refuse("min_count", self.min_count, "at least 2")


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    r"""How to draw each next token, and when to stop.

    **Drawing.** The three penalties change the scores of tokens that have occurred:
    `presence_penalty` and `frequency_penalty` in the answer, `repetition_penalty` in the prompt as
    well. `temperature` divides the logits; at 0 the best token is taken and the three filters are
    switched off, since they could not change it, and between 0 and {py:data}`MIN_TEMPERATURE` it is
    raised to that. `top_k` (`0` or `-1`: off),
    `top_p` in (0, 1] and `min_p` in [0, 1] keep the likely part of the distribution. `seed` gives
    the request a generator of its own, so that its draws do not depend on who shares the batch.

    **Stopping.** `max_tokens` (`None`: as many as fit), `min_tokens`, `stop` (strings, found in
    the text and cut from it unless `include_stop_str_in_output`), `stop_token_ids`, `ignore_eos`,
    `repetition_detection`. In which order they are asked is an API decision with a module of its
    own, {py:mod}`mini_vllm.core.stopping`.

    **Several answers.** `n` answers to one prompt, each with a seed of its own when there is a
    seed; at most {py:data}`MAX_N`, and only 1 when the best token is always taken.

    **Reporting.** `logprobs` is how many alternatives to report for each token (`None`: no
    log-probabilities at all; `0`: the chosen token's only; `-1`: the whole vocabulary).
    `detokenize=False` leaves `text` empty; `skip_special_tokens` leaves them out of the text.
    `output_kind` says what each output of a stream holds.

    Raises {py:class}`~mini_vllm.errors.RequestError` for a value out of range, and for one that
    only the real engine can honour: `prompt_logprobs`.
    Upstream: {up}`vllm/sampling_params.py#SamplingParams`.
    """

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE
    repetition_detection: RepetitionDetectionParams | None = None

    #: The token that ends an answer; set by the engine, and left `None` under `ignore_eos`.
    eos_token_id: int | None = field(default=None, init=False)
    #: Every token that could end the answer: what the sampler masks until `min_tokens` is reached.
    all_stop_token_ids: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.stop = [self.stop] if isinstance(self.stop, str) else list(self.stop or ())
        self.stop_token_ids = list(self.stop_token_ids or ())
        if self.seed == -1:
            self.seed = None
        if self.logprobs is True:
            self.logprobs = 1
        self._verify_numbers()
        # As upstream: what is meant to be a draw stays one, however cold.
        if 0.0 < self.temperature < MIN_TEMPERATURE:
            self.temperature = MIN_TEMPERATURE
        self._verify_stops()
        self._verify_supported()
        if self.temperature < GREEDY_BELOW:
            self.top_p, self.top_k, self.min_p = 1.0, 0, 0.0
        self.all_stop_token_ids.update(self.stop_token_ids)

    @property
    def sampling_type(self) -> SamplingType:
        """Whether a row of this request is greedy, drawn, or drawn from its own seed."""
        if self.temperature < GREEDY_BELOW:
            return SamplingType.GREEDY
        return SamplingType.RANDOM if self.seed is None else SamplingType.RANDOM_SEED

    def clone(self) -> SamplingParams:
        """Copy, so that the engine may fill in its fields and leave the caller's alone."""
        other = copy.copy(self)
        other.stop = list(self.stop or ())
        other.stop_token_ids = list(self.stop_token_ids or ())
        other.all_stop_token_ids = set(self.all_stop_token_ids)
        return other

    def update_from_generation_config(
        self, eos_token_ids: Iterable[int] = (), eos_token_id: int | None = None
    ) -> None:
        r"""Tell the parameters which tokens end an answer of this model.

        `eos_token_id` is the tokenizer's, `eos_token_ids` are those of the generation config. The
        first stops without a `stop_reason`; the others are added to `stop_token_ids`, and so
        report themselves. `ignore_eos` works by absence: neither is set, so the check that would
        stop never matches, while all of them still go to `all_stop_token_ids`. A user who lists
        the same id in `stop_token_ids` is therefore stopped by it even under `ignore_eos`.

        Changes this object: call it on a {py:meth}`clone`.
        Upstream: {up}`vllm/sampling_params.py#SamplingParams.update_from_generation_config`.
        """
        further = [t for t in eos_token_ids if t != eos_token_id]
        if eos_token_id is not None:
            self.all_stop_token_ids.add(eos_token_id)
        self.all_stop_token_ids.update(further)
        if not self.ignore_eos:
            self.eos_token_id = eos_token_id
            stop_token_ids = self.stop_token_ids or []
            self.stop_token_ids = stop_token_ids + [t for t in further if t not in stop_token_ids]

    def _verify_numbers(self) -> None:
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2.0 <= getattr(self, name) <= 2.0:
                _refuse(name, getattr(self, name), "in [-2, 2]")
        if not self.repetition_penalty > 0.0:
            _refuse("repetition_penalty", self.repetition_penalty, "greater than 0")
        # Written so that NaN, for which every comparison is false, is refused as well.
        if not 0.0 <= self.temperature < float("inf"):
            _refuse("temperature", self.temperature, "non-negative and finite")
        if not 0.0 < self.top_p <= 1.0:
            _refuse("top_p", self.top_p, "in (0, 1]")
        if not isinstance(self.top_k, int) or self.top_k < -1:
            _refuse("top_k", self.top_k, "an integer: 0 or -1 (off), or at least 1")
        if not 0.0 <= self.min_p <= 1.0:
            _refuse("min_p", self.min_p, "in [0, 1]")
        if self.seed is not None and (
            not isinstance(self.seed, int) or not 0 <= self.seed <= MAX_SEED
        ):
            _refuse("seed", self.seed, f"an integer of 0 to {MAX_SEED}, or None")
        if self.max_tokens is not None and (
            not isinstance(self.max_tokens, int) or self.max_tokens < 1
        ):
            _refuse("max_tokens", self.max_tokens, "an integer of at least 1, or None")
        if not isinstance(self.min_tokens, int) or self.min_tokens < 0:
            _refuse("min_tokens", self.min_tokens, "an integer of at least 0")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            _refuse("min_tokens", self.min_tokens, f"at most max_tokens={self.max_tokens}")
        if self.logprobs is not None and (not isinstance(self.logprobs, int) or self.logprobs < -1):
            _refuse("logprobs", self.logprobs, "at least 0, or -1 for the whole vocabulary")

    def _verify_stops(self) -> None:
        if any(not isinstance(s, str) or not s for s in self.stop or ()):
            _refuse("stop", self.stop, "a list of non-empty strings")
        if self.stop and not self.detokenize:
            _refuse("stop", self.stop, "empty when detokenize=False: it is looked for in the text")
        if any(isinstance(t, bool) or not isinstance(t, int) for t in self.stop_token_ids or ()):
            _refuse("stop_token_ids", self.stop_token_ids, "a list of integers")

    def _verify_supported(self) -> None:
        if not isinstance(self.n, int) or self.n < 1:
            _refuse("n", self.n, "an integer of at least 1")
        if self.n > MAX_N:
            _refuse("n", self.n, f"at most {MAX_N}")
        if self.n > 1 and self.temperature < GREEDY_BELOW:
            _refuse("n", self.n, "1 when temperature is 0: all answers would be the same")
        if self.prompt_logprobs is not None:
            _refuse(
                "prompt_logprobs", self.prompt_logprobs, "None: this engine keeps no prompt logits"
            )
