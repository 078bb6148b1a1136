"""One table of parameters: neutral values pass, others are refused by name, none is ignored."""

from __future__ import annotations

import json

import pytest
from http_servers import ToldEngine, app_over, ask
from hypothesis import given
from hypothesis import strategies as st

from mini_vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatMessage,
)
from mini_vllm.entrypoints.openai.completion.protocol import CompletionRequest
from mini_vllm.entrypoints.openai.parameters import (
    CHAT,
    COMPLETIONS,
    MESSAGE_FIELDS,
    PARAMETERS,
    is_neutral,
    strip_neutral,
)
from mini_vllm.errors import RequestError

MODELS = {COMPLETIONS: CompletionRequest, CHAT: ChatCompletionRequest}
BODIES = {
    COMPLETIONS: {"prompt": "go", "max_tokens": 2},
    CHAT: {"messages": [{"role": "user", "content": "go"}], "max_completion_tokens": 2},
}
ROWS = [(route, row) for row in PARAMETERS for route in row.routes]
SUPPORTED = [(route, row) for route, row in ROWS if row.supported and row.neutral]
REFUSED = [(route, row) for route, row in ROWS if not row.supported]
# What asks for something, for each parameter that is not supported and takes no number.
ASKING = {
    "logit_bias": {"7": 3.0},
    "use_beam_search": True,
    "spaces_between_special_tokens": False,
    "truncation_side": "left",
    "bad_words": ["no"],
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "parallel_tool_calls": 1,
    "service_tier": "flex",
    "store": True,
    "include_reasoning": 0,
    "reasoning_effort": "high",
    "modalities": ["text", "audio"],
    "return_prompt_text": True,
    "echo": True,
}


def name_of(value):
    return value if isinstance(value, str) else value.name


@pytest.fixture(scope="module")
def app():
    return app_over(ToldEngine(b"hello"))


def post(app, route, **more):
    return ask(app, "POST", route, json={**BODIES[route], **more})


@pytest.mark.parametrize("route", MODELS)
def test_the_table_and_the_types_know_the_same_parameters(route):
    supported = {row.name for row in PARAMETERS if row.supported and route in row.routes}
    assert supported == set(MODELS[route].model_fields)
    refused = {row.name for row in PARAMETERS if not row.supported and route in row.routes}
    assert not refused & supported
    names = [row.name for row in PARAMETERS if route in row.routes]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("route", "row"), SUPPORTED, ids=name_of)
def test_a_neutral_value_of_a_supported_parameter_passes(app, route, row):
    for value in row.neutral:
        body = {row.name: value}
        if row.name == "stream":
            body["stream"] = False
        if row.name in {"max_tokens", "max_completion_tokens"} and route == CHAT:
            # Null is as many as fit, under either name; the script ends by itself.
            body = {"max_tokens": None, "max_completion_tokens": None}
        response = post(app, route, **body)
        assert response.status_code == 200, response.text


@pytest.mark.parametrize(("route", "row"), REFUSED, ids=name_of)
def test_a_neutral_value_of_an_unsupported_parameter_passes(app, route, row):
    for value in row.neutral:
        assert post(app, route, **{row.name: value}).status_code == 200


@pytest.mark.parametrize(("route", "row"), REFUSED, ids=name_of)
def test_any_other_value_of_an_unsupported_parameter_is_refused_by_name(app, route, row):
    value = ASKING.get(row.name, 7)
    response = post(app, route, **{row.name: value})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == row.name
    assert row.name in error["message"]
    assert error["type"] == "BadRequestError"
    assert error["code"] == 400


@pytest.mark.parametrize("route", MODELS)
def test_an_unknown_parameter_is_refused_with_the_nearest_names(app, route):
    error = post(app, route, temprature=1.0).json()["error"]
    assert error["param"] == "temprature"
    assert "temperature" in error["message"]


def test_true_is_not_one_and_one_is_one_point_zero():
    assert is_neutral(1, (1.0,))
    assert is_neutral(1.0, (1,))
    assert not is_neutral(True, (1,))
    assert not is_neutral(1, (True,))
    assert not is_neutral(0, (False, None))
    assert is_neutral([], (None, []))


@pytest.mark.parametrize("name", MESSAGE_FIELDS)
def test_what_an_assistants_message_carries_passes_only_while_it_is_empty(app, name):
    message = {"role": "assistant", "content": "yes"}
    for value in MESSAGE_FIELDS[name]:
        ChatMessage.model_validate({**message, name: value})
    messages = [{**message, name: "something"}]
    response = ask(app, "POST", CHAT, json={"messages": messages, "max_tokens": 1})
    assert response.status_code == 400
    assert name in response.json()["error"]["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_whatever_is_let_through_is_known(data):
    known, neutral = {"a", "b"}, {"c": (None, 1), "d": ([],)}
    try:
        kept = strip_neutral(data, known, neutral)
    except RequestError as error:
        named = error.parameter
    else:
        named = None
    if named is not None:
        assert named in {str(name)[:64] for name in data}
        return
    assert set(kept) <= known
    for name, value in data.items():
        assert name in kept or value in neutral[name]


def test_the_published_description_says_what_the_table_says(app):
    schemas = ask(app, "GET", "/openapi.json").json()["components"]["schemas"]
    for route, model in MODELS.items():
        properties = schemas[model.__name__]["properties"]
        for row in PARAMETERS:
            if route not in row.routes:
                continue
            assert properties[row.name]["description"] == row.about
            if not row.supported:
                assert properties[row.name]["enum"] == json.loads(json.dumps(row.neutral))
        assert schemas[model.__name__]["additionalProperties"] is False
