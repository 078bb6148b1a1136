r"""How is a chat completion made?

The template prints the conversation, the print becomes tokens, and from there on it is one prompt
with `n` answers. A stream begins with an event per answer that says who speaks and nothing else;
then come pieces of content.

Upstream: {up}`vllm/entrypoints/openai/chat_completion/serving.py#OpenAIServingChat`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request, Response

from mini_vllm.engine.input_processor import PromptType
from mini_vllm.entrypoints.openai.chat_completion.protocol import (
    AssistantMessage,
    ChatChoice,
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatCompletionStreamResponse,
    ChatLogprobs,
    ChatMessage,
    ChatStreamChoice,
    DeltaMessage,
)
from mini_vllm.entrypoints.openai.logprobs import LogprobsFormatter
from mini_vllm.entrypoints.openai.protocol import UsageInfo
from mini_vllm.entrypoints.openai.serving import Serving, Usage, new_request_id
from mini_vllm.entrypoints.openai.streaming import begin_stream, event, race
from mini_vllm.errors import RequestError
from mini_vllm.outputs import CompletionOutput


class OpenAIServingChat:
    """`/v1/chat/completions`, over what all routes share."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    async def create_chat_completion(
        self, request: ChatCompletionRequest, raw_request: Request
    ) -> ChatCompletionResponse | Response:
        """Answer, at once or as a stream; errors are raised."""
        job = _Job(self.serving, request)
        if request.stream:
            return await begin_stream(raw_request, job.stream(), self.serving.admission)
        return await race(job.complete(), raw_request.receive, self.serving.admission)


def render_chat(
    serving: Serving,
    messages: list[ChatMessage],
    *,
    add_generation_prompt: bool | None,
    continue_final_message: bool | None,
    variables: dict[str, object] | None = None,
) -> str:
    """Print a conversation with the operator's template; a refusal where there is none."""
    if serving.chat_template is None:
        raise RequestError(
            "this model has no chat template: start the server with --chat-template FILE, or use "
            "/v1/completions",
            parameter="messages",
        )
    return serving.chat_template.render(
        [{"role": message.role, "content": message.text} for message in messages],
        add_generation_prompt=add_generation_prompt is not False and not continue_final_message,
        continue_final_message=bool(continue_final_message),
        variables=variables,
    )


class _Job:
    """One request on its way: what its events have in common, and where each answer stands."""

    def __init__(self, serving: Serving, request: ChatCompletionRequest) -> None:
        self.serving = serving
        self.request = request
        self.model = serving.check_model(request.model)
        self.num_top = (request.top_logprobs or 0) if request.logprobs else None
        self.params = request.to_sampling_params(request.limit, self.num_top)
        self.id = new_request_id("chatcmpl", request.request_id)
        self.created = int(time.time())
        self.usage = Usage(serving.enable_prompt_tokens_details)
        self.formatter = LogprobsFormatter(
            self.num_top or 0, bool(request.return_tokens_as_token_ids)
        )
        # Tokens that were told of each answer so far.
        self.told: dict[int, int] = {}

    async def prompt(self) -> PromptType:
        """The conversation as tokens."""
        request = self.request
        text = render_chat(
            self.serving,
            request.messages,
            add_generation_prompt=request.add_generation_prompt,
            continue_final_message=request.continue_final_message,
            variables=request.chat_template_kwargs,
        )
        token_ids = await self.serving.tokenize(text, bool(request.add_special_tokens))
        name = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        self.serving.check_prompt(token_ids, request.limit, name)
        return {"prompt_token_ids": token_ids}

    async def complete(self) -> ChatCompletionResponse:
        """The whole answer."""
        (output,) = await self.serving.run_to_end(
            self.request, self.id, [await self.prompt()], self.params, self.usage
        )
        choices = [
            ChatChoice(
                index=answer.index,
                message=AssistantMessage(content=answer.text),
                logprobs=self.logprobs(answer),
                finish_reason=answer.finish_reason,
                stop_reason=answer.stop_reason,
                token_ids=list(answer.token_ids) if self.request.return_token_ids else None,
            )
            for answer in output.outputs
        ]
        return ChatCompletionResponse(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=choices,
            system_fingerprint=self.serving.system_fingerprint,
            usage=self.usage.info(),
            prompt_token_ids=output.prompt_token_ids if self.request.return_token_ids else None,
        )

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer, event by event."""
        prompt = await self.prompt()
        has_begun = False
        with self.serving.admission.admit(self.params.n):
            generator = self.serving.generate(self.request, self.id, [prompt], self.params)
            async with aclosing(generator) as outputs:
                async for number, output in outputs:
                    self.usage.add_prompt(number, output)
                    prompt_token_ids = output.prompt_token_ids
                    if not has_begun:
                        has_begun = True
                        for index in range(self.params.n):
                            yield event(self.opening(index, prompt_token_ids))
                    for answer in output.outputs:
                        self.usage.add_answer(answer)
                        yield event(self.news(answer, len(prompt_token_ids)))
        if self.request.includes_usage:
            chunk = self.chunk([])
            chunk.usage = self.usage.info()
            chunk.system_fingerprint = self.serving.system_fingerprint
            yield event(chunk)

    def chunk(self, choices: list[ChatStreamChoice]) -> ChatCompletionStreamResponse:
        """An event with what all events have."""
        return ChatCompletionStreamResponse(
            id=self.id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.model,
            choices=choices,
        )

    def opening(self, index: int, prompt_token_ids: list[int]) -> ChatCompletionStreamResponse:
        """The event that says who speaks."""
        delta = DeltaMessage(role="assistant", content="")
        choice = ChatStreamChoice(index=index, delta=delta, logprobs=None, finish_reason=None)
        chunk = self.chunk([choice])
        if self.request.return_token_ids:
            chunk.prompt_token_ids = prompt_token_ids
        if self.request.counts_continuously:
            chunk.usage = UsageInfo.of(len(prompt_token_ids), 0)
        return chunk

    def news(
        self, answer: CompletionOutput, num_prompt_tokens: int
    ) -> ChatCompletionStreamResponse:
        """The event that tells what is new of one answer."""
        self.told[answer.index] = self.told.get(answer.index, 0) + len(answer.token_ids)
        choice = ChatStreamChoice(
            index=answer.index,
            delta=DeltaMessage(content=answer.text),
            logprobs=self.logprobs(answer),
            finish_reason=answer.finish_reason,
        )
        if answer.finish_reason is not None:
            choice.stop_reason = answer.stop_reason
        if self.request.return_token_ids:
            choice.token_ids = list(answer.token_ids)
        chunk = self.chunk([choice])
        if answer.finish_reason is not None and not self.request.includes_usage:
            chunk.system_fingerprint = self.serving.system_fingerprint
        if self.request.counts_continuously:
            chunk.usage = UsageInfo.of(num_prompt_tokens, self.told[answer.index])
        return chunk

    def logprobs(self, answer: CompletionOutput) -> ChatLogprobs | None:
        """The log-probabilities of these tokens."""
        if self.num_top is None or answer.logprobs is None:
            return None
        return self.formatter.chat(answer.token_ids, answer.logprobs)
