r"""What does `/v1/completions` take and give?

The older of the two routes, and the plainer: text in, text out, no roles and no template. That
makes it the one to measure with, and the one whose answers can be compared token by token. A
prompt may also be token ids, and several prompts may come in one request.

Upstream: {up}`vllm/entrypoints/openai/completion/protocol.py`.
"""

from __future__ import annotations

import time
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from mini_vllm.entrypoints.openai import parameters
from mini_vllm.entrypoints.openai.protocol import (
    INT64_MAX,
    GenerationRequest,
    TokenId,
    UsageInfo,
)
from mini_vllm.errors import RequestError

Count = Annotated[int, Field(ge=0, le=INT64_MAX)]


class CompletionRequest(GenerationRequest):
    """One request, or several prompts that share everything else."""

    route: ClassVar[str] = parameters.COMPLETIONS

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1)]
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1)]
    )
    max_tokens: Annotated[int, Field(ge=1, le=INT64_MAX)] | None = 16
    logprobs: Count | None = None
    echo: bool | None = False

    @model_validator(mode="after")
    def _echo_has_no_logprobs(self) -> CompletionRequest:
        if self.echo and self.logprobs is not None:
            raise RequestError(
                "logprobs cannot be given together with echo: the engine keeps no logits of the "
                "prompt",
                parameter="logprobs",
                value=self.logprobs,
            )
        return self

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """The prompts, as a list even of one."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]  # type: ignore[list-item]
        return self.prompt  # type: ignore[return-value]


class CompletionLogProbs(BaseModel):
    r"""Four lists of one length: the tokens, where each begins, how likely it was, and the others.

    `text_offset` counts characters. `top_logprobs` maps the text of a token to its
    log-probability, the chosen one included; of two tokens with the same text the likelier stays.
    """

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class CompletionChoice(BaseModel):
    r"""One answer, or in a stream what is new of it.

    `stop_reason` is the stop string or token id that ended it, `null` for the model's own end.
    """

    index: int
    text: str
    logprobs: CompletionLogProbs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    prompt_token_ids: list[int] | None = None
    token_ids: list[int] | None = None


class CompletionResponse(BaseModel):
    """All answers, and what they cost."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str
    choices: list[CompletionChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo


class CompletionStreamResponse(BaseModel):
    """One event of a stream; its fields that were not set are not sent."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: UsageInfo | None = None
    system_fingerprint: str | None = None
