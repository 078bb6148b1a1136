"""Whatever arrives: a 4xx in the one shape, never a 500, and the next request is served."""

from __future__ import annotations

import json

import pytest
from http_servers import MODEL, ToldEngine, app_over, ask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_vllm.entrypoints.openai.edge import BODY_ROUTES

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def app():
    return app_over(ToldEngine(b"hello"), max_body_bytes=100_000)


def send(app, body, path="/v1/completions", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(app, "POST", path, content=content, headers={**JSON, **headers})


def refused(response, status=400, param=None):
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == status
    assert error["message"]
    if param is not None:
        assert error["param"] == param, error
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"prompt": "a",}',
        b'{"prompt": "a"} trailing',
        b"\xff\xfe",
        b'{"prompt": "\xc3"}',
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"[" * 50_000,
        b'{"prompt": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
        b'{"prompt": "a", "seed": ' + b"9" * 6_000 + b"}",
        b'{"prompt": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"prompt": "a", "stop": "\\udfff"}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_request(app, body):
    refused(send(app, body))
    assert send(app, {"prompt": "a"}).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", True),
        ("max_tokens", "16"),
        ("max_tokens", 16.0),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 10**30),
        ("max_tokens", 4096),
        ("n", 0),
        ("n", True),
        ("n", 10**9),
        ("temperature", "hot"),
        ("temperature", -0.1),
        ("temperature", True),
        ("temperature", 1e400),
        ("temperature", float("nan")),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("top_k", -2),
        ("top_k", 0.5),
        ("min_p", 2),
        ("min_p", float("-inf")),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("repetition_penalty", 0),
        ("repetition_penalty", float("inf")),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", 1.5),
        ("stop", [""]),
        ("stop", 7),
        ("stop", ["a"] * 65),
        ("stop_token_ids", [257]),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", ["a"]),
        ("logprobs", -1),
        ("logprobs", 21),
        ("logprobs", True),
        ("min_tokens", 17),
        ("min_tokens", -1),
        ("ignore_eos", 1),
        ("stream", "yes"),
        ("stream_options", {"include_usage": True}),
        ("priority", 1),
        ("request_id", "a b"),
        ("request_id", "x" * 65),
        ("user", "x" * 257),
        ("repetition_detection", {"max_pattern_size": 2, "min_count": 1}),
        ("prompt", ""),
        ("prompt", []),
        ("prompt", [[]]),
        ("prompt", [257]),
        ("prompt", [-1]),
        ("prompt", [True]),
        ("prompt", [2**70]),
        ("prompt", ["a", 1]),
        ("prompt", [1, "a"]),
        ("prompt", None),
        ("prompt", {"text": "a"}),
        ("prompt", "a" * 4096),
        ("prompt", ["a"] * 5000),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_value_out_of_range_is_refused_by_name(app, name, value):
    # The number of prompts counts against the same limit as n.
    param = "n" if isinstance(value, list) and len(value) == 5000 else name
    param = "min_count" if name == "repetition_detection" else param
    refused(send(app, {"prompt": "a", name: value}), param=param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"stream": True, "stream_options": {"include_usag": True}}, "stream_options"),
        ({"echo": True, "logprobs": 1}, "logprobs"),
        ({"n": 2, "temperature": 0}, "n"),
    ],
)
def test_values_that_do_not_go_together(app, body, param):
    refused(send(app, {"prompt": "a", **body}), param=param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": None}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"add_generation_prompt": True, "continue_final_message": True}, "continue_final_message"),
        ({"chat_template_kwargs": {"unread": 1}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
    ],
)
def test_a_conversation_that_is_none(app, body, param):
    body = {"messages": [{"role": "user", "content": "a"}], **body}
    refused(send(app, body, "/v1/chat/completions"), param=param)


def test_a_model_without_a_template_says_what_to_do():
    engine = ToldEngine(b"hello")
    engine.tokenizer.chat_template = None
    body = {"messages": [{"role": "user", "content": "a"}]}
    error = refused(send(app_over(engine), body, "/v1/chat/completions"), param="messages")
    assert "--chat-template" in error["message"]


def test_the_wrong_type_of_body(app):
    for media_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = send(app, {"prompt": "a"}, **{"content-type": media_type})
        refused(response, 415)
    assert (
        send(app, {"prompt": "a"}, **{"content-type": "Application/JSON; charset=utf-8"})
    ).status_code == 200


def test_a_body_that_is_too_long(app):
    refused(send(app, {"prompt": "a" * 100_000}), 413)
    # Also when its length was not announced.

    async def pieces():
        for _ in range(200):
            yield b"a" * 1000

    response = ask(app, "POST", "/v1/completions", content=pieces(), headers=JSON)
    refused(response, 413)


def test_a_model_that_is_not_served(app):
    refused(send(app, {"prompt": "a", "model": "gpt"}), 404, "model")
    assert send(app, {"prompt": "a", "model": "alias"}).json()["model"] == "alias"
    assert send(app, {"prompt": "a"}).json()["model"] == MODEL
    refused(ask(app, "GET", "/v1/models/gpt"), 404, "model")
    refused(send(app, {"prompt": "a", "model": "x"}, "/tokenize"), 404, "model")


def test_a_probe_may_post_without_a_body(app):
    assert ask(app, "POST", "/ping").status_code == 200


def test_every_route_with_a_body_is_guarded_at_the_edge(app):
    paths = ask(app, "GET", "/openapi.json").json()["paths"]
    assert {p for p, methods in paths.items() if "requestBody" in str(methods)} == BODY_ROUTES


def test_routes_that_are_not_there(app):
    refused(ask(app, "GET", "/v1/nothing"), 404)
    refused(ask(app, "GET", "/v1/completions"), 405)
    refused(ask(app, "GET", "/../etc/passwd"), 404)
    refused(ask(app, "GET", "/docs"), 404)


def test_tokens_that_do_not_exist(app):
    refused(send(app, {"tokens": [257]}, "/detokenize"), param="tokens")
    refused(send(app, {"tokens": "a"}, "/detokenize"), param="tokens")
    refused(send(app, {}, "/tokenize"), param="prompt")
    refused(send(app, {"prompt": "a", "messages": []}, "/tokenize"))
    refused(
        send(app, {"prompt": "a", "add_generation_prompt": True}, "/tokenize"),
        param="add_generation_prompt",
    )


def test_a_key_guards_what_costs_something():
    app = app_over(ToldEngine(b"hello"), api_key=["secret", "other"])
    body = {"prompt": "a"}
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic secret"},
        {"authorization": "secret"},
    ):
        response = send(app, body, **headers)
        refused(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
    assert send(app, body, authorization="Bearer secret").status_code == 200
    assert send(app, body, authorization="bearer other").status_code == 200
    refused(ask(app, "GET", "/v1/models"), 401)
    refused(ask(app, "GET", "/openapi.json"), 401)
    for path in ("/health", "/ping", "/version", "/metrics"):
        assert ask(app, "GET", path).status_code == 200


def test_a_bug_is_a_500_that_tells_nothing(caplog):
    engine = ToldEngine(b"hello")
    app = app_over(engine)

    def generate(*args, **kwargs):
        raise ZeroDivisionError("the secret of the house")

    engine.generate = generate
    response = send(app, {"prompt": "a"})
    assert "secret" not in refused(response, 500)["message"]
    assert "the secret of the house" in caplog.text


keys = st.sampled_from(
    ["prompt", "max_tokens", "stop", "n", "logprobs", "seed", "stream_options", "temperature"]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.dictionaries(keys, values, max_size=4))
def test_no_json_makes_a_500(app, body):
    response = send(app, {"prompt": "a", "max_tokens": 2, **body})
    assert response.status_code in {200, 400}, response.text
    if response.status_code == 400:
        refused(response)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200), path=st.sampled_from(["/v1/completions", "/tokenize"]))
def test_no_bytes_make_a_500(app, body, path):
    refused(send(app, body, path))
