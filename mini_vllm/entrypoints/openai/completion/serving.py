r"""How is a completion made?

Each prompt becomes tokens, all run at once, and the answers are put in order: choice `i * n + k` is
answer `k` to prompt `i`. In a stream the choices come interleaved, each event with the news of one.
The two forms are made by the same formatter from the same pieces, so the joined stream *is* the
other answer: text, tokens, log-probabilities, offsets and counts.

Upstream: {up}`vllm/entrypoints/openai/completion/serving.py#OpenAIServingCompletion`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request, Response

from mini_vllm.engine.input_processor import PromptType
from mini_vllm.entrypoints.openai.completion.protocol import (
    CompletionChoice,
    CompletionLogProbs,
    CompletionRequest,
    CompletionResponse,
    CompletionStreamResponse,
)
from mini_vllm.entrypoints.openai.logprobs import LogprobsFormatter
from mini_vllm.entrypoints.openai.protocol import UsageInfo
from mini_vllm.entrypoints.openai.serving import Serving, Usage, new_request_id
from mini_vllm.entrypoints.openai.streaming import begin_stream, event, race
from mini_vllm.outputs import CompletionOutput


class OpenAIServingCompletion:
    """`/v1/completions`, over what all routes share."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    async def create_completion(
        self, request: CompletionRequest, raw_request: Request
    ) -> CompletionResponse | Response:
        """Answer, at once or as a stream; errors are raised."""
        job = _Job(self.serving, request)
        if request.stream:
            return await begin_stream(raw_request, job.stream(), self.serving.admission)
        return await race(job.complete(), raw_request.receive, self.serving.admission)


class _Job:
    """One request on its way: what its events have in common, and where each answer stands."""

    def __init__(self, serving: Serving, request: CompletionRequest) -> None:
        self.serving = serving
        self.request = request
        self.model = serving.check_model(request.model)
        self.params = request.to_sampling_params(request.max_tokens, request.logprobs)
        self.id = new_request_id("cmpl", request.request_id)
        self.created = int(time.time())
        self.usage = Usage(serving.enable_prompt_tokens_details)
        # What `echo` puts before the answers, by prompt.
        self.echoes: list[str] = []
        # Tokens that were told of each choice so far, and the format of its log-probabilities.
        self.told: dict[int, int] = {}
        self.formatters: dict[int, LogprobsFormatter] = {}

    async def complete(self) -> CompletionResponse:
        """The whole answer."""
        outputs = await self.serving.run_to_end(
            self.request, self.id, await self.prompts(), self.params, self.usage
        )
        choices = [
            self.choice(number, output.prompt_token_ids, answer)
            for number, output in enumerate(outputs)
            for answer in output.outputs
        ]
        return CompletionResponse(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=choices,
            system_fingerprint=self.serving.system_fingerprint,
            usage=self.usage.info(),
        )

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The answer, event by event."""
        prompts = await self.prompts()
        with self.serving.admission.admit(len(prompts) * self.params.n):
            generator = self.serving.generate(self.request, self.id, prompts, self.params)
            async with aclosing(generator) as outputs:
                async for number, output in outputs:
                    self.usage.add_prompt(number, output)
                    for answer in output.outputs:
                        self.usage.add_answer(answer)
                        yield event(self.chunk(number, output.prompt_token_ids, answer))
        if self.request.includes_usage:
            yield event(
                CompletionStreamResponse(
                    id=self.id,
                    object="text_completion",
                    created=self.created,
                    model=self.model,
                    choices=[],
                    usage=self.usage.info(),
                    system_fingerprint=self.serving.system_fingerprint,
                )
            )

    async def prompts(self) -> list[PromptType]:
        """The prompts as tokens; what `echo` needs is kept."""
        prompts: list[PromptType] = []
        for prompt in self.request.prompts:
            if isinstance(prompt, str):
                special = self.request.add_special_tokens is not False
                token_ids = await self.serving.tokenize(prompt, special)
            else:
                token_ids = prompt
            prompts.append({"prompt_token_ids": token_ids})
            self.serving.check_prompt(token_ids, self.request.max_tokens, "max_tokens")
            if self.request.echo:
                decode = self.serving.tokenizer("echo").decode
                self.echoes.append(prompt if isinstance(prompt, str) else decode(token_ids))
        return prompts

    def chunk(
        self, number: int, prompt_token_ids: list[int], answer: CompletionOutput
    ) -> CompletionStreamResponse:
        """The event that tells the news of one answer."""
        choice = self.choice(number, prompt_token_ids, answer)
        chunk = CompletionStreamResponse(
            id=self.id,
            object="text_completion",
            created=self.created,
            model=self.model,
            choices=[choice],
        )
        if answer.finish_reason is not None and not self.request.includes_usage:
            chunk.system_fingerprint = self.serving.system_fingerprint
        if self.request.counts_continuously:
            chunk.usage = UsageInfo.of(len(prompt_token_ids), self.told[choice.index])
        return chunk

    def choice(
        self, number: int, prompt_token_ids: list[int], answer: CompletionOutput
    ) -> CompletionChoice:
        """An answer, or what is new of it, to prompt `number`."""
        index = number * self.params.n + answer.index
        is_first = index not in self.told
        self.told[index] = self.told.get(index, 0) + len(answer.token_ids)
        echo = self.echoes[number] if self.echoes and is_first else ""
        choice = CompletionChoice(
            index=index,
            text=echo + answer.text,
            logprobs=self.logprobs(index, answer),
            finish_reason=answer.finish_reason,
            stop_reason=answer.stop_reason,
        )
        if self.request.return_token_ids:
            choice.token_ids = list(answer.token_ids)
            if is_first:
                choice.prompt_token_ids = prompt_token_ids
        return choice

    def logprobs(self, index: int, answer: CompletionOutput) -> CompletionLogProbs | None:
        """The log-probabilities of these tokens; offsets go on from the choice's last."""
        if self.request.logprobs is None or answer.logprobs is None:
            return None
        if index not in self.formatters:
            as_token_ids = bool(self.request.return_tokens_as_token_ids)
            self.formatters[index] = LogprobsFormatter(self.request.logprobs, as_token_ids)
        return self.formatters[index].completion(answer.token_ids, answer.logprobs)
