"""The joined stream is the other answer: text, tokens, log-probabilities, offsets, counts, ends."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
from http_servers import ToldEngine, app_over, ask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mini_vllm.entrypoints.openai.logprobs import LOWEST, LogprobsFormatter
from mini_vllm.outputs import Logprob

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\ufffd")
    | st.sampled_from("aé東🚀\n\u2028\x85\u0301\x00"),
    max_size=24,
)
quiet = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def events_of(response):
    """The events of a stream, split as a careless client splits it: by whatever ends a line."""
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.content.isascii()
    lines = [line for line in response.content.decode().splitlines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) for line in lines[:-1]]


def joined(events):
    """What a client has at the end of a stream, by choice."""
    found = defaultdict(lambda: defaultdict(list))
    for event in events:
        assert event["id"] == events[0]["id"]
        for choice in event["choices"]:
            answer = found[choice["index"]]
            assert not answer["finish_reason"], "an event after the end"
            delta = choice.get("delta", choice)
            answer["text"].append(delta.get("content", delta.get("text")) or "")
            answer["token_ids"] += choice.get("token_ids") or []
            if choice["logprobs"]:
                for key, value in choice["logprobs"].items():
                    answer["logprobs/" + key] += value or []
            if choice["finish_reason"]:
                answer["finish_reason"] = [choice["finish_reason"], choice["stop_reason"]]
    texts = {index: "".join(answer["text"]) for index, answer in found.items()}
    return {index: dict(answer) | {"text": texts[index]} for index, answer in found.items()}


def whole(response):
    """The same of an answer that came at once."""
    found = {}
    for choice in response["choices"]:
        message = choice.get("message", choice)
        answer = {
            "text": message.get("content", message.get("text")),
            "token_ids": choice["token_ids"] or [],
            "finish_reason": [choice["finish_reason"], choice["stop_reason"]],
        }
        for key, value in (choice["logprobs"] or {}).items():
            answer["logprobs/" + key] = value or []
        found[choice["index"]] = answer
    return found


def both(app, path, **body):
    body = {"return_token_ids": True, **body}
    at_once = ask(app, "POST", path, json=body)
    assert at_once.status_code == 200, at_once.text
    options = {"include_usage": True, "continuous_usage_stats": True}
    stream = ask(app, "POST", path, json={**body, "stream": True, "stream_options": options})
    assert stream.status_code == 200, stream.text
    return at_once.json(), events_of(stream)


def same(at_once, events):
    *news, last = events
    assert last["choices"] == []
    # The second of two runs may have found the prompt in the cache; all else is equal.
    for usage in (at_once["usage"], last["usage"]):
        assert usage.pop("prompt_tokens_details")["cached_tokens"] <= usage["prompt_tokens"]
    assert at_once["usage"] == last["usage"]
    assert joined(news) == whole(at_once)
    counted = defaultdict(int)
    for event in news:
        (choice,) = event["choices"]
        counted[choice["index"]] += len(choice.get("token_ids") or [])
        assert event["usage"]["completion_tokens"] == counted[choice["index"]]


@quiet
@given(
    told=texts,
    stops=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=3),
    prompt=texts.filter(bool),
    include=st.booleans(),
    min_tokens=st.integers(0, 6),
    max_tokens=st.integers(6, 60),
    chat=st.booleans(),
)
def test_the_joined_stream_is_the_answer(
    told, stops, prompt, include, min_tokens, max_tokens, chat
):
    app = app_over(ToldEngine(told.encode()))
    stop = [told[start : start + length] for start, length in stops]
    body = {
        "stop": [one for one in stop if one],
        "include_stop_str_in_output": include,
        "min_tokens": min_tokens,
        "max_tokens": max_tokens,
    }
    if chat:
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    at_once, events = both(app, CHAT if chat else COMPLETIONS, **body)
    same(at_once, events)
    (answer,) = whole(at_once).values()
    assert told.startswith(answer["text"]), "the answer is what the model said, whole characters"
    if min_tokens == 0 and not include:
        assert not any(one in answer["text"] for one in body["stop"]), "a stop string leaked"


@quiet
@given(told=texts.filter(bool), stop=st.tuples(st.integers(0, 20), st.integers(1, 5)))
def test_no_event_shows_the_beginning_of_a_stop_string_that_then_comes(told, stop):
    start, length = stop
    word = told[start : start + length]
    assume(word)
    app = app_over(ToldEngine(told.encode()))
    body = {"prompt": "a", "stop": word, "max_tokens": 200, "stream": True}
    events = events_of(ask(app, "POST", COMPLETIONS, json=body))
    shown = ""
    for event in events:
        shown += event["choices"][0]["text"]
        assert told[: told.index(word)].startswith(shown)
    assert shown == told[: told.index(word)]
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["choices"][0]["stop_reason"] == word


@quiet
@given(told=texts.filter(bool), count=st.integers(0, 3), chat=st.booleans(), ids=st.booleans())
def test_log_probabilities_are_the_same_in_pieces(told, count, chat, ids):
    # Each place: the byte that is told, and others that are less likely, one of them impossible.
    script = [{b: -0.5, (b + 1) % 256: -1.5, (b + 2) % 256: -2.5, 0: -99.0} for b in told.encode()]
    script = [{**place, told.encode()[i]: -0.5} for i, place in enumerate(script)]
    app = app_over(ToldEngine(script))
    body = {"max_tokens": len(script), "return_tokens_as_token_ids": ids}
    if chat:
        asked = {"logprobs": True, "top_logprobs": count}
        body |= {"messages": [{"role": "user", "content": "a"}], **asked}
    else:
        body |= {"prompt": "a", "logprobs": count}
    at_once, events = both(app, CHAT if chat else COMPLETIONS, **body)
    same(at_once, events)
    (choice,) = at_once["choices"]
    if chat:
        places = choice["logprobs"]["content"]
        assert [len(place["top_logprobs"]) for place in places] == [
            min(count, len(one)) for one in script
        ]
        assert all(place["logprob"] == -0.5 for place in places)
        if not ids:
            spelled = b"".join(bytes(place["bytes"]) for place in places)
            assert spelled.decode() == choice["message"]["content"]
    else:
        lists = choice["logprobs"]
        assert lists["token_logprobs"] == [-0.5] * len(script)
        assert {len(value) for value in lists.values()} == {len(script)}
        if ids:
            assert lists["tokens"] == [f"token_id:{b}" for b in told.encode()]
        else:
            assert "".join(lists["tokens"]) == choice["text"]
            for token, offset in zip(lists["tokens"], lists["text_offset"], strict=True):
                assert choice["text"][offset:].startswith(token)


def test_an_impossible_token_has_a_number_that_json_has():
    position = {7: Logprob(-0.1, 1, "a"), 8: Logprob(float("-inf"), 2, "b")}
    lists = LogprobsFormatter(2).completion([7], [position])
    assert lists.top_logprobs == [{"a": -0.1, "b": LOWEST}]
    record = LogprobsFormatter(2).chat([7], [position]).content[0]
    assert [top.logprob for top in record.top_logprobs] == [-0.1, LOWEST]


def test_of_two_tokens_with_one_text_the_likelier_is_reported():
    position = {7: Logprob(-0.1, 1, "a"), 8: Logprob(-3.0, 2, "a")}
    assert LogprobsFormatter(2).completion([7], [position]).top_logprobs == [{"a": -0.1}]


def test_several_prompts_keep_their_order():
    app = app_over(ToldEngine("né".encode()))
    prompts = ["a", "bb", "ccc"]
    at_once, events = both(app, COMPLETIONS, prompt=prompts, echo=True, max_tokens=3)
    same(at_once, events)
    assert [choice["text"] for choice in at_once["choices"]] == ["ané", "bbné", "cccné"]
    assert at_once["usage"]["prompt_tokens"] == 6
    assert at_once["usage"]["completion_tokens"] == 9
    ids = [[97], [98, 98]]
    at_once, events = both(app, COMPLETIONS, prompt=ids, echo=True, max_tokens=3)
    same(at_once, events)
    assert [choice["prompt_token_ids"] for choice in at_once["choices"]] == ids
    assert [choice["text"] for choice in at_once["choices"]] == ["ané", "bbné"]


@pytest.mark.parametrize(
    ("body", "reason", "stop_reason"),
    [
        ({"max_tokens": 3}, "length", None),
        ({"max_tokens": 9}, "stop", None),
        ({"max_tokens": 9, "stop": "l"}, "stop", "l"),
        ({"max_tokens": 9, "stop_token_ids": [108]}, "stop", 108),
        ({"max_tokens": 9, "ignore_eos": True}, "length", None),
    ],
)
def test_why_an_answer_ended(body, reason, stop_reason):
    app = app_over(ToldEngine(b"hello"))
    choice = ask(app, "POST", COMPLETIONS, json={"prompt": "a", **body}).json()["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == (reason, stop_reason)


def test_a_prefix_that_was_cached_is_counted():
    app = app_over(ToldEngine(b"hello"))
    body = {"prompt": "a" * 40, "max_tokens": 2}
    cached = [
        ask(app, "POST", COMPLETIONS, json=body).json()["usage"]["prompt_tokens_details"]
        for _ in range(2)
    ]
    assert cached == [{"cached_tokens": 0}, {"cached_tokens": 32}]


def test_without_the_option_no_event_counts():
    app = app_over(ToldEngine(b"hello"))
    body = {"prompt": "a", "max_tokens": 3, "stream": True}
    events = events_of(ask(app, "POST", COMPLETIONS, json=body))
    assert all("usage" not in event for event in events)
    assert "system_fingerprint" in events[-1]


def test_a_chat_begins_with_who_speaks():
    app = app_over(ToldEngine(b"hello"))
    body = {"messages": [{"role": "user", "content": "a"}], "stream": True, "max_tokens": 2}
    events = events_of(ask(app, "POST", CHAT, json=body))
    assert [event["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": ""},
        {"content": "h"},
        {"content": "e"},
    ]


def test_a_failure_within_a_stream_is_an_event_and_an_end():
    engine = ToldEngine([104, 105])
    app = app_over(engine)

    async def generate(*args, **kwargs):
        engine_outputs = ToldEngine.generate(engine, *args, **kwargs)
        yield await anext(engine_outputs)
        raise ZeroDivisionError("inside")

    engine.generate = generate
    body = {"prompt": "a", "stream": True}
    events = events_of(ask(app, "POST", COMPLETIONS, json=body))
    assert events[0]["choices"][0]["text"] == "h"
    assert events[1] == {
        "error": {
            "message": "internal server error",
            "type": "InternalServerError",
            "param": None,
            "code": 500,
        }
    }


def test_tokenizing_and_back():
    app = app_over(ToldEngine(b"hello"))
    tokens = ask(app, "POST", "/tokenize", json={"prompt": "né", "return_token_strs": True}).json()
    assert tokens == {
        "count": 3,
        "max_model_len": 4096,
        "tokens": [110, 195, 169],
        "token_strs": ["<6e>", "<c3>", "<a9>"],
    }
    back = ask(app, "POST", "/detokenize", json={"tokens": tokens["tokens"]}).json()
    assert back == {"prompt": "né"}
    messages = [{"role": "user", "content": "né"}]
    tokens = ask(app, "POST", "/tokenize", json={"messages": messages}).json()["tokens"]
    assert bytes(tokens).decode() == "<user>né\n<assistant>"
    told = ask(app, "POST", CHAT, json={"messages": messages, "return_token_ids": True}).json()
    assert told["prompt_token_ids"] == tokens
