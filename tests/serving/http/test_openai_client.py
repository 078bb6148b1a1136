"""The `openai` package, which knows nothing of this server, gets what it expects."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

openai = pytest.importorskip("openai")

from http_servers import MODEL, wait_until  # noqa: E402

TEXT = "Straße 東京 🚀 ok.\n" * 40
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Wo?"}]


@pytest.fixture
def client(scripted):
    with openai.OpenAI(base_url=scripted.url + "/v1", api_key="none", max_retries=0) as one:
        yield one


def test_models(client):
    assert [card.id for card in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt")


def test_a_completion(client):
    made = client.completions.create(model=MODEL, prompt="Wo?", max_tokens=12)
    assert made.object == "text_completion"
    assert TEXT.startswith(made.choices[0].text)
    assert made.choices[0].finish_reason == "length"
    usage = made.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (3, 12, 15)
    assert made.model == MODEL
    assert made.system_fingerprint.startswith("mini_vllm-")


def test_a_completion_as_a_stream(client):
    stream = client.completions.create(
        model=MODEL,
        prompt="Wo?",
        max_tokens=30,
        stream=True,
        stream_options={"include_usage": True},
    )
    *news, last = list(stream)
    at_once = client.completions.create(model=MODEL, prompt="Wo?", max_tokens=30)
    assert "".join(chunk.choices[0].text for chunk in news) == at_once.choices[0].text
    assert news[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage.completion_tokens == 30


def test_log_probabilities_of_a_completion(client):
    made = client.completions.create(model=MODEL, prompt="Wo?", max_tokens=8, logprobs=2)
    lists = made.choices[0].logprobs
    assert "".join(lists.tokens) == made.choices[0].text == "Straße "
    assert lists.text_offset == [0, 1, 2, 3, 4, 4, 5, 6]
    assert lists.token_logprobs == [0.0] * 8
    assert lists.top_logprobs[0] == {"S": 0.0}


def test_a_chat_and_its_log_probabilities(client):
    made = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_completion_tokens=8, logprobs=True, top_logprobs=1
    )
    (choice,) = made.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Straße ")
    assert choice.message.refusal is None
    content = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in content).decode() == choice.message.content
    assert content[0].top_logprobs[0].token == "S"
    # The answer may be sent back as it came.
    again = [*MESSAGES, choice.message.model_dump(), {"role": "user", "content": "Und?"}]
    assert client.chat.completions.create(model=MODEL, messages=again, max_tokens=2).choices


def test_a_chat_as_a_stream_with_several_answers(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=20, n=3, stream=True, logprobs=True
    )
    texts, reasons = defaultdict(str), {}
    for chunk in stream:
        assert chunk.object == "chat.completion.chunk"
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        if choice.finish_reason:
            reasons[choice.index] = choice.finish_reason
    at_once = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=20, n=3)
    assert texts == {choice.index: choice.message.content for choice in at_once.choices}
    assert reasons == dict.fromkeys(range(3), "length")
    assert at_once.usage.completion_tokens == 60


def test_the_packages_own_stream_helper(client):
    # It takes an answer that was cut for a failure, so let this one stop.
    options = {"model": MODEL, "messages": MESSAGES, "max_tokens": 30, "stop": "🚀"}
    with client.chat.completions.stream(**options) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        assert stream.get_final_completion().choices[0].message.content == text == "Straße 東京 "


def test_stop_strings_never_show(client):
    for stop in ("東京", ["🚀", "ok"], "e 東"):
        words = [stop] if isinstance(stop, str) else stop
        want = TEXT[: min(TEXT.index(word) for word in words)]
        options = {"model": MODEL, "prompt": "Wo?", "max_tokens": 60, "stop": stop}
        made = client.completions.create(**options).choices[0]
        stream = client.completions.create(**options, stream=True)
        assert made.text == "".join(chunk.choices[0].text for chunk in stream) == want
        assert made.finish_reason == "stop"
        assert made.stop_reason in words


def test_vllms_own_parameters_go_in_the_extra_body(client):
    # The script begins "Straße": token 116, a t, would end it at once.
    options = {"model": MODEL, "prompt": "Wo?", "max_tokens": 9}
    extra = {"top_k": 5, "min_p": 0.1, "ignore_eos": True, "stop_token_ids": [116]}
    (choice,) = client.completions.create(**options, extra_body=extra).choices
    assert (choice.text, choice.stop_reason) == ("S", 116)
    extra["include_stop_str_in_output"] = True
    (choice,) = client.completions.create(**options, extra_body=extra).choices
    assert (choice.text, choice.stop_reason) == ("St", 116)


@pytest.mark.parametrize(
    ("options", "error", "param"),
    [
        ({"model": "gpt"}, "NotFoundError", "model"),
        ({"max_tokens": -1}, "BadRequestError", "max_tokens"),
        ({"logit_bias": {"7": 1}}, "BadRequestError", "logit_bias"),
        ({"extra_body": {"nonsense": 1}}, "BadRequestError", "nonsense"),
        ({"prompt": "a" * 5000}, "BadRequestError", "prompt"),
    ],
)
def test_errors_are_of_the_class_that_the_client_expects(client, options, error, param):
    with pytest.raises(getattr(openai, error)) as caught:
        client.completions.create(**{"model": MODEL, "prompt": "a", **options})
    assert caught.value.param == param
    with pytest.raises(getattr(openai, error)):
        client.completions.create(**{"model": MODEL, "prompt": "a", "stream": True, **options})


def test_a_key(serve):
    server = serve("--api-key", "right")
    with openai.OpenAI(base_url=server.url + "/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()
        assert client.with_options(api_key="right").models.list()


def test_an_overloaded_server_is_tried_again(serve):
    server = serve("--step-seconds", "0.01", "--max-num-seqs", "1", "--max-queued-requests", "0")
    options = {"model": MODEL, "prompt": "a", "max_tokens": 200}

    async def ask():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="-") as client:
            first = asyncio.ensure_future(client.completions.create(**options))
            await asyncio.to_thread(
                wait_until, lambda: server.metric("vllm:num_requests_running") == 1
            )
            with pytest.raises(openai.RateLimitError):
                await client.with_options(max_retries=0).completions.create(**options)
            # The client waits as long as Retry-After says, and is then served.
            return await first, await client.completions.create(**options)

    first, second = asyncio.run(ask())
    assert first.choices[0].text == second.choices[0].text


def test_many_at_once(scripted):
    async def ask():
        async with openai.AsyncOpenAI(base_url=scripted.url + "/v1", api_key="-") as client:

            async def one(number):
                text = ""
                stream = await client.completions.create(
                    model=MODEL, prompt="a" * number, max_tokens=number, stream=True
                )
                async for chunk in stream:
                    text += chunk.choices[0].text
                return text

            return await asyncio.gather(*(one(number) for number in range(1, 60)))

    for number, text in enumerate(asyncio.run(ask()), 1):
        assert text == TEXT.encode()[:number].decode(errors="ignore")


def test_a_client_that_leaves_its_stream(scripted):
    with openai.OpenAI(base_url=scripted.url + "/v1", api_key="-") as client:
        stream = client.completions.create(model=MODEL, prompt="a", max_tokens=900, stream=True)
        next(iter(stream))
        stream.close()
    scripted.wait_until_idle(5)
