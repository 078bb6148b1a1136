r"""Which types do the routes share, and how strictly are they read?

JSON has one kind of number and Python has a talent for conversion, so a server that is not careful
takes `"max_tokens": "16"`, `16.0`, and even `true`, which is 1. A client that wrote `true` made a
mistake, and finds out by an answer of one token. {py:class}`StrictModel` converts nothing: an
integer is an integer, a flag is a flag, and `NaN`, which is not JSON but which Python's parser
takes, is not a number here either.

What vLLM's clients may leave out, they may leave out here, and `null` means the default, as it
does upstream ({up}`vllm/entrypoints/openai/completion/protocol.py#CompletionRequest`). Ranges are
not repeated: {py:class}`~mini_vllm.sampling_params.SamplingParams` knows them, and its refusal
names the value and the limit.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from mini_vllm.entrypoints.openai import parameters
from mini_vllm.errors import RequestError
from mini_vllm.sampling_params import (
    RepetitionDetectionParams,
    RequestOutputKind,
    SamplingParams,
)

T = TypeVar("T")

#: Most stop strings of a request: each is looked for in the text of every step.
MAX_STOP_STRINGS = 64
#: The largest integer that a seed, a priority or a token id may be.
INT64_MAX = 2**63 - 1

#: A token id as it arrives; whether the model has it is the engine's to say.
TokenId = Annotated[int, Field(ge=0, le=INT64_MAX)]


class StrictModel(BaseModel):
    """What arrives: no conversions, no unknown keys, no numbers that are none."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class StreamOptions(StrictModel):
    r"""What a stream tells besides text.

    `include_usage` adds a last chunk without choices that counts the tokens;
    `continuous_usage_stats` counts in every chunk.
    """

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class RepetitionDetection(StrictModel):
    """When an answer that repeats itself ends; see the engine's record of the same fields."""

    max_pattern_size: Annotated[int, Field(le=INT64_MAX)] = 0
    min_pattern_size: Annotated[int, Field(le=INT64_MAX)] = 0
    min_count: Annotated[int, Field(le=INT64_MAX)] = 0


class GenerationRequest(StrictModel):
    r"""What both generating routes take.

    What each parameter is for stands in
    {py:data}`~mini_vllm.entrypoints.openai.parameters.PARAMETERS`.
    A subclass sets `route`, and so learns which further parameters are let through while they ask
    for nothing.
    """

    route: ClassVar[str]

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = 1
    temperature: float | None = None
    top_p: float | None = None
    top_k: Annotated[int, Field(le=INT64_MAX)] | None = None
    min_p: float | None = None
    presence_penalty: float | None = 0.0
    frequency_penalty: float | None = 0.0
    repetition_penalty: float | None = None
    seed: Annotated[int, Field(ge=0, le=INT64_MAX)] | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOP_STRINGS)] | None = None
    stop_token_ids: list[TokenId] | None = None
    include_stop_str_in_output: bool | None = False
    ignore_eos: bool | None = False
    min_tokens: Annotated[int, Field(ge=0, le=INT64_MAX)] | None = 0
    skip_special_tokens: bool | None = True
    repetition_detection: RepetitionDetection | None = None
    priority: Annotated[int, Field(ge=-INT64_MAX, le=INT64_MAX)] | None = 0
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    add_special_tokens: bool | None = None
    return_token_ids: bool | None = False
    return_tokens_as_token_ids: bool | None = False
    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = None
    user: Annotated[str, Field(max_length=256)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_supported(cls, data: Any) -> Any:
        neutral = parameters.unsupported(cls.route)
        return parameters.strip_neutral(data, cls.model_fields, neutral)

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> GenerationRequest:
        if self.stream_options is not None and not self.stream:
            raise RequestError(
                "stream_options can only be given together with stream=true",
                parameter="stream_options",
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Publish the table: what each parameter is for, and which pass only when neutral."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        properties: dict[str, Any] = schema["properties"]
        for row in parameters.PARAMETERS:
            if cls.route not in row.routes:
                continue
            entry = properties.setdefault(row.name, {"enum": list(row.neutral)})
            entry["description"] = row.about
        return schema

    def to_sampling_params(self, max_tokens: int | None, logprobs: int | None) -> SamplingParams:
        r"""The engine's record of the same wishes.

        Raises {py:class}`~mini_vllm.errors.RequestError` for a value out of its range.
        """
        repetition = self.repetition_detection
        return SamplingParams(
            n=_or(self.n, 1),
            temperature=_or(self.temperature, 1.0),
            top_p=_or(self.top_p, 1.0),
            top_k=_or(self.top_k, 0),
            min_p=_or(self.min_p, 0.0),
            presence_penalty=_or(self.presence_penalty, 0.0),
            frequency_penalty=_or(self.frequency_penalty, 0.0),
            repetition_penalty=_or(self.repetition_penalty, 1.0),
            seed=self.seed,
            stop=self.stop,
            stop_token_ids=self.stop_token_ids,
            include_stop_str_in_output=_or(self.include_stop_str_in_output, False),
            ignore_eos=_or(self.ignore_eos, False),
            max_tokens=max_tokens,
            min_tokens=_or(self.min_tokens, 0),
            logprobs=logprobs,
            skip_special_tokens=_or(self.skip_special_tokens, True),
            output_kind=RequestOutputKind.DELTA if self.stream else RequestOutputKind.FINAL_ONLY,
            repetition_detection=None
            if repetition is None
            else RepetitionDetectionParams(**repetition.model_dump()),
        )

    @property
    def includes_usage(self) -> bool:
        """Whether the stream ends with a count of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def counts_continuously(self) -> bool:
        """Whether every chunk counts tokens; as upstream, only together with `include_usage`."""
        options = self.stream_options
        return self.includes_usage and bool(options and options.continuous_usage_stats)


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


class PromptTokenUsageInfo(BaseModel):
    """How many tokens of the prompt came out of the prefix cache."""

    cached_tokens: int | None = None


class UsageInfo(BaseModel):
    r"""What a request has cost, in tokens.

    A prompt counts once, however many answers it has. `prompt_tokens_details` is given by a server
    that was started with `--enable-prompt-tokens-details`.
    """

    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptTokenUsageInfo | None = None

    @classmethod
    def of(cls, prompt_tokens: int, completion_tokens: int) -> UsageInfo:
        """The count of so many tokens."""
        return cls(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
        )


class ModelCard(BaseModel):
    """One name under which the model answers."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default_factory=lambda: int(time.time()))
    owned_by: str = "mini_vllm"
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class ModelList(BaseModel):
    """All names under which the model answers."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
