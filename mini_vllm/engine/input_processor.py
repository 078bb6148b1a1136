r"""What must be true of a request before the engine may see it?

Everything that can be known without running it. The check happens here: behind this border a
request is valid. (Only the scheduler asks again how long the prompt is, since it can be driven by
hand, without this door.) That is what makes one caller's mistake cheap:
the request is refused before a queue has heard of it, so there is nothing to undo and nobody else
to disturb.

A refusal names the value and the limit. What is refused:

| what | limit |
|---|---|
| a prompt of no tokens | 1 |
| a prompt that leaves no room for an answer | `max_model_len - 1` tokens |
| a token id that the model does not have, in the prompt or among the stops | `vocab_size` |
| more log-probabilities than allowed | `max_logprobs` |
| text, or a stop string, without a tokenizer | |
| a priority under first come, first served | 0 |

One check needs the cache's size, and so belongs to the scheduler: prompt and answer together must
fit the pool ({py:meth}`mini_vllm.core.scheduler.Scheduler.add_request`).

Two things are filled in. `max_tokens=None` becomes as many as fit; and the parameters learn which
tokens end an answer of *this* model, on a copy, since the caller may use one object for a thousand
requests.

Upstream: {up}`vllm/v1/engine/input_processor.py#InputProcessor.process_inputs`. There, text has
become tokens before this point (a renderer did it), and the process boundary lies right behind it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mini_vllm.config import EngineConfig
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.engine.detokenizer import Tokenizer
from mini_vllm.errors import RequestError
from mini_vllm.sampling_params import SamplingParams

#: Text; `{"prompt": text}`; or `{"prompt_token_ids": ids}`, with its text beside it or without.
PromptType = str | Mapping[str, Any]


class InputProcessor:
    r"""From what a caller passes to what the core takes.

    `max_num_tokens` is how far a request can get in this engine, by the model's limit and by the
    size of the cache; the scheduler knows it. Without a tokenizer, prompts must be token ids.
    """

    def __init__(
        self, config: EngineConfig, tokenizer: Tokenizer | None, max_num_tokens: int
    ) -> None:
        self.model_config = config.model_config
        self.policy = config.scheduler_config.policy
        self.tokenizer = tokenizer
        self.max_num_tokens = max_num_tokens

    def process_inputs(
        self,
        request_id: str,
        prompt: PromptType,
        params: SamplingParams,
        arrival_time: float | None = None,
        priority: int = 0,
    ) -> tuple[EngineCoreRequest, str | None]:
        r"""Check a request; return the core's message and the prompt's text, if it has one.

        Raises {py:class}`~mini_vllm.errors.RequestError`. Changes neither the prompt nor `params`.
        """
        if not isinstance(request_id, str):
            raise RequestError(
                f"request_id must be a string, got {request_id!r}",
                parameter="request_id",
                value=request_id,
            )
        if priority != 0 and self.policy != "priority":
            raise RequestError(
                f"priority={priority} needs scheduling_policy='priority'; this engine has "
                f"{self.policy!r}",
                parameter="priority",
                value=priority,
            )
        self._validate_params(params)
        text, prompt_token_ids = self._tokenize(prompt)
        self._validate_prompt(prompt_token_ids)

        params = params.clone()
        if params.max_tokens is None:
            params.max_tokens = max(1, self.max_num_tokens - len(prompt_token_ids))
            # More tokens than there is room for cannot be promised: the answer ends by length.
            params.min_tokens = min(params.min_tokens, params.max_tokens)
        source = self.model_config if self.tokenizer is None else self.tokenizer
        params.update_from_generation_config(
            self.model_config.generation_eos_token_ids, source.eos_token_id
        )
        request = EngineCoreRequest(
            request_id=request_id,
            prompt_token_ids=prompt_token_ids,
            sampling_params=params,
            arrival_time=time.time() if arrival_time is None else arrival_time,
            priority=priority,
        )
        return request, text

    def _tokenize(self, prompt: PromptType) -> tuple[str | None, list[int]]:
        """Split a prompt into its text, if it has one, and its tokens."""
        text: Any = prompt
        if isinstance(prompt, Mapping):
            unknown = set(prompt) - {"prompt", "prompt_token_ids"}
            if unknown:
                raise RequestError(
                    f"a prompt has 'prompt' or 'prompt_token_ids', not {sorted(unknown)}",
                    parameter="prompt",
                    value=sorted(unknown),
                )
            text = prompt.get("prompt")
            token_ids = prompt.get("prompt_token_ids")
            if token_ids is not None:
                return text, _as_token_ids(token_ids)
        if not isinstance(text, str):
            raise RequestError(
                "a prompt is text, {'prompt': text} or {'prompt_token_ids': ids}, got "
                f"{type(prompt).__name__}",
                parameter="prompt",
                value=prompt,
            )
        if self.tokenizer is None:
            raise RequestError(
                "this engine has no tokenizer: give {'prompt_token_ids': ids}",
                parameter="prompt",
                value=text,
            )
        return text, list(self.tokenizer.encode(text))

    def _validate_prompt(self, token_ids: list[int]) -> None:
        if not token_ids:
            raise RequestError("the prompt has no tokens", parameter="prompt", value=[])
        limit = self.model_config.max_model_len - 1
        if len(token_ids) > limit:
            raise RequestError(
                f"the prompt has {len(token_ids)} tokens; with "
                f"max_model_len={limit + 1} it may have at most {limit}",
                parameter="prompt",
                value=len(token_ids),
            )
        self._validate_vocabulary("prompt", token_ids)

    def _validate_params(self, params: SamplingParams) -> None:
        if not isinstance(params, SamplingParams):
            raise RequestError(
                f"params must be SamplingParams, got {type(params).__name__}",
                parameter="params",
                value=params,
            )
        limit = self.model_config.max_logprobs
        asked = params.logprobs
        if asked == -1:
            asked = self.model_config.vocab_size
        if asked is not None and limit != -1 and asked > limit:
            raise RequestError(
                f"logprobs={params.logprobs} asks for {asked} tokens; max_logprobs is {limit}",
                parameter="logprobs",
                value=params.logprobs,
            )
        if params.stop and self.tokenizer is None:
            raise RequestError(
                f"stop={params.stop!r} is looked for in text, and this engine has no tokenizer",
                parameter="stop",
                value=params.stop,
            )
        self._validate_vocabulary("stop_token_ids", params.stop_token_ids or ())

    def _validate_vocabulary(self, parameter: str, token_ids: Sequence[int]) -> None:
        if not token_ids:
            return
        vocab_size = self.model_config.vocab_size
        for token_id in (min(token_ids), max(token_ids)):
            if not 0 <= token_id < vocab_size:
                raise RequestError(
                    f"{parameter} has token id {token_id}; the model has 0 to {vocab_size - 1}",
                    parameter=parameter,
                    value=token_id,
                )


def _as_token_ids(value: Any) -> list[int]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        # Tensors and arrays of other libraries say how to become a list.
        value = value.tolist() if hasattr(value, "tolist") else None
    if value is None or any(isinstance(t, bool) or not isinstance(t, int) for t in value):
        raise RequestError(
            "prompt_token_ids must be a list of integers",
            parameter="prompt_token_ids",
            value=value,
        )
    return list(value)
