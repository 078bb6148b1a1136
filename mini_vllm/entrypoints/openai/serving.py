r"""What do both generating routes do alike?

Find the model, turn prompts into tokens, take places, run one generator of the engine per prompt,
count tokens, and let go of everything when it is over. The two routes differ before that (a
template, or none) and after it (a text, or a message), and those parts are theirs:
{py:class}`~mini_vllm.entrypoints.openai.completion.serving.OpenAIServingCompletion` and
{py:class}`~mini_vllm.entrypoints.openai.chat_completion.serving.OpenAIServingChat`.

Tokenizing happens here and not in the engine, for two reasons: a chat's prompt must not get a
second beginning-of-text token, and a long text is tokenized in a thread, since the loop that would
wait for it carries everybody's stream.

Upstream: {up}`vllm/entrypoints/openai/engine/serving.py#OpenAIServing`.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from mini_vllm.engine.input_processor import PromptType
from mini_vllm.entrypoints.openai.admission import Admission
from mini_vllm.entrypoints.openai.chat_template import ChatTemplate
from mini_vllm.entrypoints.openai.errors import ApiError
from mini_vllm.entrypoints.openai.protocol import (
    GenerationRequest,
    PromptTokenUsageInfo,
    UsageInfo,
)
from mini_vllm.entrypoints.openai.streaming import merge
from mini_vllm.errors import EngineDeadError, RequestError
from mini_vllm.outputs import CompletionOutput, RequestOutput
from mini_vllm.sampling_params import SamplingParams

logger = logging.getLogger("mini_vllm.server")

#: Texts longer than this many characters are tokenized in a thread.
LONG_TEXT = 2000
# A single one: a tokenizer is not made for several at a time.
_TOKENIZING = ThreadPoolExecutor(1, thread_name_prefix="tokenize-http")


@dataclass(frozen=True)
class Serving:
    r"""What the routes share: the engine, its names, its places, and the switches.

    `engine` is a {py:class}`~mini_vllm.engine.async_llm.AsyncLLM`, or what looks like one.
    """

    engine: Any
    model_names: Sequence[str]
    admission: Admission
    model_path: str
    system_fingerprint: str
    chat_template: ChatTemplate | None = None
    enable_prompt_tokens_details: bool = False
    log_requests: bool = False

    @property
    def max_model_len(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self.engine.config.model_config.max_model_len

    def check_model(self, name: str | None) -> str:
        """The model's name for the answer; a 404 for one that is not served."""
        if name is None:
            return self.model_names[0]
        if name not in self.model_names:
            raise ApiError(404, f"the model {name[:200]!r} does not exist", param="model")
        return name

    def check_prompt(self, token_ids: Sequence[int], limit: int | None, param: str) -> None:
        r"""Refuse ids that the model has not, and an answer that cannot be as long as asked for.

        The engine would end such an answer early; who asked for a number did not ask for that.
        """
        vocab_size = self.engine.config.model_config.vocab_size
        largest = max(token_ids, default=0)
        if largest >= vocab_size:
            raise RequestError(
                f"the prompt has token id {largest}; the model has 0 to {vocab_size - 1}",
                parameter="prompt",
                value=largest,
            )
        # A prompt that is too long by itself is the engine's to refuse.
        is_short = len(token_ids) < self.max_model_len
        if limit is not None and is_short and len(token_ids) + limit > self.max_model_len:
            raise RequestError(
                f"{param}={limit} and the {len(token_ids)} tokens of the prompt exceed "
                f"max_model_len={self.max_model_len}",
                parameter=param,
                value=limit,
            )

    async def tokenize(self, text: str, add_special_tokens: bool) -> list[int]:
        """The tokens of a text; in a thread if it is long."""
        tokenizer = self.tokenizer("prompt")

        def encode() -> list[int]:
            return list(tokenizer.encode(text, add_special_tokens=add_special_tokens))

        if len(text) <= LONG_TEXT:
            return encode()
        return await asyncio.get_running_loop().run_in_executor(_TOKENIZING, encode)

    def tokenizer(self, param: str) -> Any:
        """The engine's tokenizer; refuses the parameter that needs one if there is none."""
        if self.engine.tokenizer is None:
            raise RequestError("this server has no tokenizer: send token ids", parameter=param)
        return self.engine.tokenizer

    def generate(
        self,
        request: GenerationRequest,
        request_id: str,
        prompts: Sequence[PromptType],
        params: SamplingParams,
    ) -> AsyncGenerator[tuple[int, RequestOutput], None]:
        r"""Run the prompts; gives the outputs of all, each with the number of its prompt.

        Closing it aborts whatever still runs.
        """
        if self.log_requests:
            logger.info("%s user=%r %s", request_id, request.user, params)
        # The client chose the name, and may choose it twice; the engine may not see it twice.
        unique = uuid.uuid4().hex[:8]
        generators = [
            self.engine.generate(
                prompt, params, f"{request_id}-{number}-{unique}", priority=request.priority or 0
            )
            for number, prompt in enumerate(prompts)
        ]
        return merge(generators)

    async def run_to_end(
        self,
        request: GenerationRequest,
        request_id: str,
        prompts: Sequence[PromptType],
        params: SamplingParams,
        usage: Usage,
    ) -> list[RequestOutput]:
        r"""Run the prompts to their ends; gives each one's last output, its answers in order.

        Counts their tokens in `usage`.
        """
        ends: list[RequestOutput | None] = [None] * len(prompts)
        with self.admission.admit(len(prompts) * params.n):
            async with aclosing(self.generate(request, request_id, prompts, params)) as outputs:
                async for number, output in outputs:
                    usage.add_prompt(number, output)
                    earlier = ends[number]
                    if earlier is not None:
                        output.outputs = [*earlier.outputs, *output.outputs]
                    ends[number] = output
        for end in ends:
            if end is None:
                raise EngineDeadError("the engine ended a request without an answer")
            end.outputs.sort(key=lambda answer: answer.index)
            for answer in end.outputs:
                usage.add_answer(answer)
        return [end for end in ends if end is not None]


@dataclass
class Usage:
    """The tokens of one HTTP request: each prompt once, each answer as it grows."""

    details: bool
    prompts: dict[int, int] = field(default_factory=dict)
    cached: dict[int, int] = field(default_factory=dict)
    completion_tokens: int = 0

    def add_prompt(self, number: int, output: RequestOutput) -> None:
        """Count a prompt, the first time that it is heard of."""
        if number not in self.prompts:
            self.prompts[number] = len(output.prompt_token_ids)
            self.cached[number] = output.num_cached_tokens or 0

    def add_answer(self, answer: CompletionOutput) -> None:
        """Count the tokens of an answer, or of its news."""
        self.completion_tokens += len(answer.token_ids)

    def info(self) -> UsageInfo:
        """The count so far."""
        usage = UsageInfo.of(sum(self.prompts.values()), self.completion_tokens)
        if self.details:
            cached = sum(self.cached.values())
            usage.prompt_tokens_details = PromptTokenUsageInfo(cached_tokens=cached)
        return usage


def new_request_id(prefix: str, given: str | None) -> str:
    """The `id` of an answer: the client's own name for it, or one that nobody else has."""
    return f"{prefix}-{given or uuid.uuid4().hex}"
