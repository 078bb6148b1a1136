r"""How does a client count tokens without a tokenizer?

It asks. `/tokenize` takes a text, or messages that go through the chat template first, and answers
with exactly the tokens that the engine would get; `/detokenize` is the way back. A client that
wants to know whether its prompt fits asks here, and need not download a vocabulary.

Upstream: {up}`vllm/entrypoints/serve/tokenize/protocol.py`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, model_validator

from mini_vllm.entrypoints.openai.chat_completion.protocol import Messages
from mini_vllm.entrypoints.openai.chat_completion.serving import render_chat
from mini_vllm.entrypoints.openai.protocol import StrictModel, TokenId
from mini_vllm.entrypoints.openai.serving import Serving
from mini_vllm.errors import RequestError


class TokenizeRequest(StrictModel):
    r"""A text as `prompt`, or a conversation as `messages`; one of the two.

    `add_special_tokens` adds the tokens that begin a prompt: by default for a text, and not for a
    conversation, whose template prints its own.
    """

    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    return_token_strs: bool | None = False

    @model_validator(mode="after")
    def _one_of_two(self) -> TokenizeRequest:
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give either prompt or messages", parameter="prompt")
        chat_only = ("add_generation_prompt", "continue_final_message", "chat_template_kwargs")
        for name in chat_only:
            if self.prompt is not None and getattr(self, name) is not None:
                raise RequestError(f"{name} goes with messages, not with prompt", parameter=name)
        if self.continue_final_message and self.add_generation_prompt:
            raise RequestError(
                "continue_final_message and add_generation_prompt cannot both be true",
                parameter="continue_final_message",
            )
        return self


class TokenizeResponse(BaseModel):
    """The tokens, how many, and how many there may be."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(StrictModel):
    """Token ids."""

    model: str | None = None
    tokens: list[TokenId]


class DetokenizeResponse(BaseModel):
    """Their text."""

    prompt: str


async def tokenize(serving: Serving, request: TokenizeRequest) -> TokenizeResponse:
    """The tokens that the engine would get."""
    serving.check_model(request.model)
    tokenizer = serving.tokenizer("prompt")
    if request.messages is not None:
        text = render_chat(
            serving,
            request.messages,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
            variables=request.chat_template_kwargs,
        )
        special = bool(request.add_special_tokens)
    else:
        text = request.prompt or ""
        special = request.add_special_tokens is not False
    tokens = await serving.tokenize(text, special)
    response = TokenizeResponse(
        count=len(tokens), max_model_len=serving.max_model_len, tokens=tokens
    )
    if request.return_token_strs:
        response.token_strs = list(tokenizer.convert_ids_to_tokens(tokens))
    return response


async def detokenize(serving: Serving, request: DetokenizeRequest) -> DetokenizeResponse:
    """The text of these tokens, special ones included."""
    serving.check_model(request.model)
    tokenizer = serving.tokenizer("tokens")
    vocab_size = serving.engine.config.model_config.vocab_size
    largest = max(request.tokens, default=0)
    if largest >= vocab_size:
        raise RequestError(
            f"token id {largest} does not exist; the model has 0 to {vocab_size - 1}",
            parameter="tokens",
            value=largest,
        )
    return DetokenizeResponse(prompt=tokenizer.decode(request.tokens))
