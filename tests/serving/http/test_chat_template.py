"""The template, rendered beside `transformers`, and what a hostile one cannot do."""

from __future__ import annotations

import pytest
from http_servers import CHECKPOINT
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm.entrypoints.openai.chat_template import ChatTemplate
from mini_vllm.errors import ConfigError, RequestError

USER = [{"role": "user", "content": "a"}]
# What templates in the wild do: whitespace control, loops, namespaces, filters, macros, conditions.
TEMPLATES = {
    "book": (CHECKPOINT / "chat_template.jinja").read_text(encoding="utf-8"),
    "llama-like": (
        "{{- bos_token }}{%- for m in messages %}\n"
        "    {{- '<|' + m['role'] + '|>\\n' + m['content'] | trim + '<|end|>' }}\n"
        "{%- endfor %}\n{%- if add_generation_prompt %}\n{{- '<|assistant|>\\n' }}\n{%- endif %}"
    ),
    "qwen-like": (
        "{%- set ns = namespace(last=-1) %}\n"
        "{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
        "{% endif %}{%- endfor %}\n"
        "{%- for m in messages %}\n"
        "{{- '<|im_start|>' + m.role + ('*' if loop.index0 == ns.last else '') + '\\n' }}"
        "{{- m.content.strip() + '<|im_end|>\\n' }}\n{%- endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "json and macros": (
        "{% macro show(m) %}{{ m | tojson }}\n{% endmacro %}"
        "{% for m in messages %}{% if loop.first and m.role == 'system' %}{% continue %}{% endif %}"
        "{{ show(m) }}{% endfor %}"
        "{{ dict(a=1, b=[1, 2]) | tojson(indent=2) }}{{ messages[-1].content[:3] | upper }}"
    ),
}

conversations = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=12)}
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(messages=conversations, generation=st.booleans())
def test_it_renders_what_transformers_renders(name, messages, generation):
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    want = utils.render_jinja_template(
        [messages],
        chat_template=TEMPLATES[name],
        add_generation_prompt=generation,
        bos_token="<s>",
    )
    want = want[0] if isinstance(want, tuple) else want
    ours = ChatTemplate(TEMPLATES[name], {"bos_token": "<s>"})
    assert [ours.render(messages, add_generation_prompt=generation)] == list(want)


@pytest.mark.parametrize("name", ["book", "llama-like", "qwen-like"])
@settings(max_examples=40, deadline=None)
@given(messages=conversations)
def test_a_message_is_continued_where_transformers_continues_it(name, messages):
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    want = utils.render_jinja_template(
        [messages],
        chat_template=TEMPLATES[name],
        add_generation_prompt=False,
        continue_final_message=True,
        bos_token="<s>",
    )
    want = want[0] if isinstance(want, tuple) else want
    ours = ChatTemplate(TEMPLATES[name], {"bos_token": "<s>"})
    told = ours.render(messages, add_generation_prompt=False, continue_final_message=True)
    assert [told] == list(want)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ namespace.__init__.__globals__ }}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ cycler.__init__.__globals__.os }}",
        "{% include '/etc/passwd' %}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
        "{{ messages[7].content }}",
        "{{ 'a' | nonsense }}",
    ],
)
def test_what_a_template_may_not_do_is_a_refusal(source):
    with pytest.raises((RequestError, ConfigError)):
        ChatTemplate(source).render(USER)


@pytest.mark.parametrize("owner", ["messages", "dict", "lipsum", "raise_exception", "namespace"])
@pytest.mark.parametrize("name", ["__class__", "__globals__", "__base__", "__subclasses__"])
def test_what_lies_behind_an_underscore_is_not_there(owner, name):
    assert ChatTemplate(f"{{{{ {owner}.{name} }}}}").render(USER) == ""
    with pytest.raises(RequestError):
        ChatTemplate(f"{{{{ {owner}.{name}.more }}}}").render(USER)


@pytest.mark.parametrize("source", ["{% for %}", "{{", "{% endfor %}"])
def test_what_is_no_template_is_refused_at_the_start(source):
    with pytest.raises(ConfigError, match="chat template"):
        ChatTemplate(source)


def test_a_variable_that_the_template_does_not_read_is_refused():
    template = ChatTemplate("{{ messages[0].content }}{{ mood | default('calm') }}")
    assert template.render(USER) == "acalm"
    assert template.render(USER, variables={"mood": "merry"}) == "amerry"
    for variables in ({"moods": 1}, {"messages": []}, {"add_generation_prompt": True}):
        with pytest.raises(RequestError, match="no variable"):
            template.render(USER, variables=variables)


def test_the_messages_are_left_as_they_were():
    messages = [{"role": "user", "content": "a "}]
    ChatTemplate(TEMPLATES["qwen-like"]).render(messages, continue_final_message=True)
    assert messages == [{"role": "user", "content": "a "}]
