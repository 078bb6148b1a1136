r"""How does a conversation become one prompt?

By a program that came with the checkpoint. A chat template is Jinja, written by whoever trained the
model, and it prints the messages with the markers that the model has seen in training. It decides
whether an answer makes sense, and it is foreign code that runs in the server, on text that
strangers send.

Therefore it runs in a sandbox: no attribute that begins with an underscore, nothing that changes an
object, no module, no file. What a template may see beyond the messages is what `transformers` gives
it, since templates are written for that: `raise_exception`, `tojson`, `strftime_now`, and the
special tokens by name. A test renders with both and compares.

The template belongs to the operator. It comes from the checkpoint or from `--chat-template FILE`; a
request cannot bring its own, as it cannot upstream unless the operator says so
({up}`flag:--trust-request-chat-template`). A model without one answers chats with a 400 that says
what to do. Variables for it may come with the request (`chat_template_kwargs`), and one that the
template never reads is refused, since it would have done nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.utils
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mini_vllm.errors import ConfigError, RequestError

# Marks where the last message ends, to be found again in what the template made of it.
_HERE = "CONTINUE-FROM-HERE "

#: Names that a request may not set: the renderer does.
RESERVED = frozenset({"messages", "add_generation_prompt", "tools", "documents"})


class ChatTemplate:
    r"""A compiled template; raises {py:class}`~mini_vllm.errors.ConfigError` if it is none.

    `special_tokens` are names and texts, such as `{"bos_token": "<s>"}`.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        environment = _environment()
        try:
            tree = environment.parse(source)
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ConfigError(f"the chat template is not valid: {error}") from error
        self.variables = jinja2.meta.find_undeclared_variables(tree)
        self.special_tokens = dict(special_tokens or {})

    def render(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        r"""The prompt for these messages.

        With `add_generation_prompt` it ends where the assistant begins to speak, with
        `continue_final_message` where the last message's content ends. Raises
        {py:class}`~mini_vllm.errors.RequestError` for a conversation that the template does not
        take, and for a variable that it does not know.
        """
        variables = dict(variables or {})
        for name in variables:
            if name in RESERVED or name not in self.variables:
                raise RequestError(
                    f"the chat template has no variable {name[:64]!r}",
                    parameter="chat_template_kwargs",
                    value=name,
                )
        rendered = [dict(message) for message in messages]
        if continue_final_message:
            rendered[-1]["content"] += _HERE
        try:
            text = self._template.render(
                **{
                    **self.special_tokens,
                    **variables,
                    "messages": rendered,
                    "add_generation_prompt": add_generation_prompt,
                }
            )
        except Exception as error:  # foreign code, on a stranger's text: it may raise anything
            raise RequestError(
                f"the chat template does not take this conversation: {error}", parameter="messages"
            ) from error
        if not continue_final_message:
            return text
        # A template may strip what it prints, so the mark may have lost its space, and the content
        # the blanks at its end.
        end = text.rfind(_HERE.strip())
        if end < 0:
            raise RequestError(
                "the last message cannot be continued: the template does not print its content",
                parameter="continue_final_message",
            )
        return text[:end] if text.startswith(_HERE, end) else text[:end].rstrip()


def _environment() -> ImmutableSandboxedEnvironment:
    """The sandbox, with what templates may count on."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    # Jinja's own tojson escapes for HTML, and there is no HTML here.
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    # A function in the place of the type: a type has attributes that lead out of the sandbox.
    environment.globals["dict"] = lambda *args, **kwargs: dict(*args, **kwargs)
    environment.globals["namespace"] = _Namespace
    return environment


class _Namespace(jinja2.utils.Namespace):
    """What a template may assign to, attribute by attribute; none with an underscore before it."""

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise jinja2.TemplateError(f"a template may not set {name!r}")
        super().__setitem__(name, value)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def template_of_tokenizer(tokenizer: Any) -> ChatTemplate | None:
    """The template that came with a checkpoint's tokenizer; `None` where there is none."""
    source = getattr(tokenizer, "chat_template", None)
    if isinstance(source, Mapping):
        source = source.get("default")
    if not isinstance(source, str):
        return None
    special = getattr(tokenizer, "special_tokens_map", None) or {}
    return ChatTemplate(source, {k: v for k, v in special.items() if isinstance(v, str)})
