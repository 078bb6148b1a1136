r"""What does `/v1/chat/completions` take and give?

A list of messages goes in, and the operator's template turns it into one prompt
({py:mod}`~mini_vllm.entrypoints.openai.chat_template`); from there on it is a completion. What
comes out is a message again, in a stream a *delta* of one: first the role, then pieces of content.

A message has a `role` and a `content`. The other keys that clients carry along when they send an
answer back, `refusal` and `tool_calls` among them, pass while they are empty. Pictures, sounds and
tools are refused by name.

Upstream: {up}`vllm/entrypoints/openai/chat_completion/protocol.py`.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from mini_vllm.entrypoints.openai import parameters
from mini_vllm.entrypoints.openai.protocol import (
    INT64_MAX,
    GenerationRequest,
    StrictModel,
    UsageInfo,
)
from mini_vllm.errors import RequestError

Limit = Annotated[int, Field(ge=1, le=INT64_MAX)]


class TextPart(StrictModel):
    """A piece of a message's content; the only kind there is here."""

    type: Literal["text"]
    text: str


class ChatMessage(StrictModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_supported(cls, data: Any) -> Any:
        return parameters.strip_neutral(data, cls.model_fields, parameters.MESSAGE_FIELDS)

    @property
    def text(self) -> str:
        """The content as one text: parts are lines, as upstream joins them for such templates."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)


Messages = Annotated[list[ChatMessage], Field(min_length=1)]


class ChatCompletionRequest(GenerationRequest):
    """A conversation, and how to go on with it."""

    route: ClassVar[str] = parameters.CHAT

    messages: Messages
    max_completion_tokens: Limit | None = None
    max_tokens: Limit | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=INT64_MAX)] | None = 0
    add_generation_prompt: bool | None = True
    continue_final_message: bool | None = False
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fields_agree(self) -> ChatCompletionRequest:
        if self.top_logprobs and not self.logprobs:
            raise RequestError(
                f"top_logprobs={self.top_logprobs} needs logprobs=true",
                parameter="top_logprobs",
                value=self.top_logprobs,
            )
        old, new = self.max_tokens, self.max_completion_tokens
        if old is not None and new is not None and old != new:
            raise RequestError(
                f"max_tokens={old} and max_completion_tokens={new} disagree; give the latter",
                parameter="max_tokens",
                value=old,
            )
        asks = "add_generation_prompt" in self.model_fields_set
        if self.continue_final_message and self.add_generation_prompt and asks:
            raise RequestError(
                "continue_final_message and add_generation_prompt cannot both be true",
                parameter="continue_final_message",
            )
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens of an answer, under either name; `None` for as many as fit."""
        new = self.max_completion_tokens
        return self.max_tokens if new is None else new


class TopLogprob(BaseModel):
    r"""A token that could have been, and how likely it was.

    `bytes` are those of its text in UTF-8. The first tokens of a character that takes several have
    none, and the last has them all: put together in order, they spell the answer.
    """

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """The token that was drawn, and the likeliest ones beside it."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """The tokens of an answer, or of a delta."""

    content: list[TokenLogprob] | None = None


class AssistantMessage(BaseModel):
    """An answer; `refusal` and `tool_calls` are there for clients that look at them."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    tool_calls: list[Any] = Field(default_factory=list)


class ChatChoice(BaseModel):
    """One answer, and why it ended."""

    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None


class ChatCompletionResponse(BaseModel):
    """All answers, and what they cost."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str
    choices: list[ChatChoice]
    system_fingerprint: str | None = None
    usage: UsageInfo
    prompt_token_ids: list[int] | None = None


class DeltaMessage(BaseModel):
    """What is new of a message."""

    role: str | None = None
    content: str | None = None


class ChatStreamChoice(BaseModel):
    """What is new of one answer."""

    index: int
    delta: DeltaMessage
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None


class ChatCompletionStreamResponse(BaseModel):
    """One event of a stream; its fields that were not set are not sent."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatStreamChoice]
    usage: UsageInfo | None = None
    prompt_token_ids: list[int] | None = None
    system_fingerprint: str | None = None
