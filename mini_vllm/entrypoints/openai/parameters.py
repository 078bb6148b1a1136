r"""What may a request say, and what happens to the rest?

A client sends `logit_bias`, the server does not know it, drops it, and answers 200. Nothing has
failed, and the answer is wrong in a way that nobody will find. Upstream's models are declared to
allow extra fields, and write the ignored ones to a debug log
({up}`vllm/entrypoints/openai/engine/protocol.py#OpenAIBaseModel@"extra="`). Here the rule is the
one of {py:mod}`mini_vllm.engine.engine_args`: *nothing is accepted and ignored*.

So every parameter that a client of OpenAI or of vLLM is known to send stands in one table,
{py:data}`PARAMETERS`, with its **neutral values**: those that ask for nothing. Three cases follow.

- *Supported*: any valid value is honoured; the neutral one is also the default.
- *Not supported*: a neutral value passes, since it asks for nothing. Any other is refused by name.
- *Not in the table*: refused by name, with the nearest names that exist.

Neutral values are there because clients are generous. `vllm bench serve` sends
`repetition_penalty=1.0` with every request, and client libraries write `null` for what their user
left out.

The table is also what the reference page prints and what the published OpenAPI says.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mini_vllm.errors import RequestError

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
BOTH = (COMPLETIONS, CHAT)


@dataclass(frozen=True, slots=True)
class Parameter:
    r"""One row: a name, the routes that know it, the values that ask for nothing, what it does.

    `supported` says whether other values are honoured too.
    """

    name: str
    routes: tuple[str, ...]
    neutral: tuple[Any, ...]
    about: str
    supported: bool = True


def _supported(routes: tuple[str, ...], *rows: tuple[str, tuple[Any, ...], str]) -> list[Parameter]:
    return [Parameter(name, routes, neutral, about) for name, neutral, about in rows]


def _refused(routes: tuple[str, ...], *rows: tuple[str, tuple[Any, ...], str]) -> list[Parameter]:
    return [
        Parameter(name, routes, neutral, about, supported=False) for name, neutral, about in rows
    ]


#: Every parameter of the two generating routes.
PARAMETERS: tuple[Parameter, ...] = (
    *_supported(
        BOTH,
        ("model", (None,), "which model; one of those that `/v1/models` lists"),
        ("n", (1, None), "answers per prompt"),
        ("temperature", (1.0, None), "divides the logits; 0 takes the likeliest token"),
        ("top_p", (1.0, None), "keep the likeliest tokens that hold this much probability"),
        ("top_k", (0, -1, None), "keep this many of the likeliest tokens"),
        ("min_p", (0.0, None), "drop tokens less likely than this share of the likeliest"),
        ("presence_penalty", (0.0, None), "lower tokens that the answer has"),
        ("frequency_penalty", (0.0, None), "lower tokens by how often the answer has them"),
        ("repetition_penalty", (1.0, None), "lower tokens that prompt or answer have"),
        ("seed", (None,), "a generator of the request's own: the same seed, the same answer"),
        ("stop", (None, []), "strings that end the answer"),
        ("stop_token_ids", (None, []), "token ids that end the answer"),
        ("include_stop_str_in_output", (False, None), "leave what stopped the answer in its text"),
        ("ignore_eos", (False, None), "go on after the end-of-sequence token"),
        ("min_tokens", (0, None), "do not end before this many tokens"),
        ("skip_special_tokens", (True, None), "leave special tokens out of the text"),
        ("repetition_detection", (None,), "end an answer that repeats itself"),
        ("priority", (0, None), "lower goes first; needs `--scheduling-policy priority`"),
        ("stream", (False, None), "answer as server-sent events, token by token"),
        ("stream_options", (None,), "`include_usage`, `continuous_usage_stats`"),
        ("add_special_tokens", (None,), "add the tokens that begin a prompt; chat: default false"),
        ("return_token_ids", (False, None), "add the token ids of prompt and answer"),
        ("return_tokens_as_token_ids", (False, None), "write logprobs' tokens as `token_id:7`"),
        ("request_id", (None,), "a name for the request, part of the answer's `id`"),
        ("user", (None,), "a name for the sender; goes to the log of requests"),
    ),
    *_supported(
        (COMPLETIONS,),
        ("prompt", (), "text, a list of texts, token ids, or a list of token id lists"),
        ("max_tokens", (16,), "most tokens of an answer; null: as many as fit"),
        ("logprobs", (None,), "this many likeliest tokens at each place; 0: the chosen one's only"),
        ("echo", (False, None), "begin the answer with the prompt; not together with `logprobs`"),
    ),
    *_supported(
        (CHAT,),
        ("messages", (), "the conversation: each has a `role` and a `content`"),
        ("max_completion_tokens", (None,), "most tokens of an answer; null: as many as fit"),
        ("max_tokens", (None,), "the older name of `max_completion_tokens`"),
        ("logprobs", (False, None), "report the log-probability of each token"),
        ("top_logprobs", (0, None), "and of this many likeliest ones; needs `logprobs`"),
        ("add_generation_prompt", (True, None), "end the prompt where the assistant begins"),
        ("continue_final_message", (False, None), "let the answer continue the last message"),
        ("chat_template_kwargs", (None, {}), "further variables of the chat template"),
    ),
    *_refused(
        BOTH,
        ("logit_bias", (None, {}), "no bias per token"),
        ("prompt_logprobs", (None,), "the engine keeps no logits of the prompt"),
        ("use_beam_search", (False, None), "no beam search"),
        ("length_penalty", (1.0, None), "belongs to beam search"),
        ("spaces_between_special_tokens", (True, None), "decided by the tokenizer"),
        ("truncate_prompt_tokens", (None,), "a prompt that is too long is refused, not cut"),
        ("truncation_side", (None,), "see `truncate_prompt_tokens`"),
        ("allowed_token_ids", (None,), "no list of allowed tokens"),
        ("bad_words", (None, []), "no list of forbidden words"),
        ("response_format", (None, {"type": "text"}), "no structured output"),
        ("structured_outputs", (None,), "no structured output"),
        ("thinking_token_budget", (None,), "no reasoning parser"),
        ("cache_salt", (None,), "one prefix cache for everybody"),
        ("kv_transfer_params", (None,), "no transfer of keys and values"),
        ("vllm_xargs", (None, {}), "no extensions"),
        ("logits_processors", (None, []), "no code from clients"),
        ("service_tier", (None, "auto", "default"), "one tier"),
        ("metadata", (None, {}), "nothing is stored"),
        ("store", (None, False), "nothing is stored"),
    ),
    *_refused(
        (COMPLETIONS,),
        ("best_of", (None, 1), "every answer is returned"),
        ("suffix", (None,), "no text after the gap"),
        ("prompt_embeds", (None,), "prompts are text or token ids"),
    ),
    *_refused(
        (CHAT,),
        ("tools", (None, []), "no tools"),
        ("tool_choice", (None, "none", "auto"), "no tools"),
        ("parallel_tool_calls", (None, True, False), "no tools, so none in parallel"),
        ("functions", (None, []), "no tools"),
        ("function_call", (None, "none", "auto"), "no tools"),
        ("chat_template", (None,), "the operator's: `--chat-template`"),
        ("documents", (None, []), "no retrieval"),
        ("reasoning_effort", (None, "none"), "no reasoning parser"),
        ("include_reasoning", (None, True, False), "there is no reasoning to include"),
        ("modalities", (None, ["text"]), "text only"),
        ("audio", (None,), "text only"),
        ("prediction", (None,), "no predicted outputs"),
        ("web_search_options", (None,), "nothing is fetched"),
        ("media_io_kwargs", (None, {}), "text only"),
        ("mm_processor_kwargs", (None, {}), "text only"),
        ("echo", (False, None), "the conversation is not repeated"),
        ("return_prompt_text", (False, None), "see `/tokenize`"),
    ),
)

#: What an assistant's message carries when a client sends an answer back, and what asks nothing.
MESSAGE_FIELDS: dict[str, tuple[Any, ...]] = {
    "name": (None,),
    "refusal": (None,),
    "tool_calls": (None, []),
    "tool_call_id": (None,),
    "function_call": (None,),
    "audio": (None,),
    "annotations": (None, []),
    "reasoning": (None,),
    "reasoning_content": (None,),
}


def unsupported(route: str) -> dict[str, tuple[Any, ...]]:
    """The parameters of a route that are not supported, with the values that pass all the same."""
    return {p.name: p.neutral for p in PARAMETERS if route in p.routes and not p.supported}


def is_neutral(value: object, neutral: Iterable[object]) -> bool:
    """Whether a value asks for nothing. `true` is not `1`, and `1` is `1.0`."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in neutral)


def strip_neutral(
    data: object, known: Iterable[str], neutral: Mapping[str, tuple[Any, ...]]
) -> Any:
    r"""Take the unsupported parameters out of a request, if they ask for nothing.

    Raises {py:class}`~mini_vllm.errors.RequestError`, naming the parameter, for one that asks for
    something, and for a name that is neither `known` nor in the table. Does not change `data`;
    whatever is no mapping is returned as it is, for the validator behind this to refuse.
    """
    if not isinstance(data, Mapping):
        return data
    known = set(known)
    kept = {}
    for name, value in data.items():
        if name in known:
            kept[name] = value
        elif name not in neutral:
            near = difflib.get_close_matches(str(name), known | set(neutral), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise RequestError(
                f"there is no parameter {str(name)[:64]!r}{hint}", parameter=str(name)[:64]
            )
        elif not is_neutral(value, neutral[name]):
            allowed = " or ".join(json_text(v) for v in neutral[name])
            raise RequestError(
                f"{name} is not supported: only {allowed} passes", parameter=name, value=value
            )
    return kept


def json_text(value: object) -> str:
    """A neutral value as a client would write it."""
    return json.dumps(value)
