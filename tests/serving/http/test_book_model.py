"""The book's model behind the real command: what HTTP adds must not change a token."""

from __future__ import annotations

import json

import pytest
from http_servers import CHECKPOINT, end, start, wait_until

openai = pytest.importorskip("openai")

PROMPTS = ["def schedule(self", "import torch\n", "The scheduler decides", "# Überschrift 東京\n"]


@pytest.fixture(scope="module")
def client(book_server):
    with openai.OpenAI(base_url=book_server.url + "/v1", api_key="-", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def offline():
    """What the engine answers without a server."""
    from mini_vllm import LLM, SamplingParams

    llm = LLM(
        model=str(CHECKPOINT), dtype="float32", max_model_len=1024, num_gpu_blocks_override=256
    )
    params = SamplingParams(temperature=0, max_tokens=24, logprobs=2)
    return dict(zip(PROMPTS, llm.generate(PROMPTS, params), strict=True))


def test_the_start_says_which_attention_backend_and_why(book_server):
    """From the engine's process, on the stream that an operator reads, once."""
    lines = [line for line in book_server.lines if "attention backend" in line]
    assert len(lines) == 1
    assert lines[0].startswith("INFO mini_vllm.model_runner (engine core, pid ")
    assert lines[0].endswith(
        ": Using cpu_numba attention backend: the first of cpu_numba, torch_reference that fits"
    )


def test_how_steps_were_run_is_told_in_a_table():
    """A server of its own, since graphs are chosen at the start; its counts cross the border.

    Its last step has no tokens and is not counted. What is left is told at the end.
    """
    graphs = {"cudagraph_mode": "FULL", "cudagraph_stand_in": True, "cudagraph_capture_sizes": [2]}
    command = ["-m", "mini_vllm.entrypoints.cli", "serve", CHECKPOINT, "--port", "0"]
    flags = ["--cudagraph-metrics", "--compilation-config", json.dumps(graphs)]
    flags += ["--attention-backend", "torch_static", "--dtype", "float32", "--max-model-len", "16"]
    flags += ["--num-gpu-blocks-override", "8", "--disable-uvicorn-access-log"]
    server = start([*command, *flags])
    try:
        body = {"prompt": [5] * 7, "max_tokens": 3, "ignore_eos": True, "temperature": 0}
        assert server.post("/v1/completions", json=body).status_code == 200
        server.wait_until_idle()
        server.process.terminate()
        assert server.process.wait(60) == 0
    finally:
        end(server)

    def counts() -> dict[tuple[str, ...], int]:
        rows = [line.strip("| ").split("|") for line in server.lines if line.startswith("| ")]
        cells = [tuple(cell.strip() for cell in row) for row in rows if row[0].strip().isdigit()]
        # Of more than one table, where the machine was so busy.
        return {row[:-1]: sum(int(r[-1]) for r in cells if r[:-1] == row[:-1]) for row in cells}

    wait_until(lambda: sum(counts().values()) >= 3)
    assert counts() == {("1", "2", "1", "FULL"): 2, ("7", "7", "0", "NONE"): 1}
    assert "INFO mini_vllm.cudagraph: CUDAGraph Stats:" in server.lines


def test_the_server_says_what_the_engine_says(client, offline):
    for prompt, output in offline.items():
        made = client.completions.create(
            model="book",
            prompt=prompt,
            max_tokens=24,
            temperature=0,
            logprobs=2,
            extra_body={"return_token_ids": True},
        ).choices[0]
        want = output.outputs[0]
        assert made.text == want.text
        assert made.token_ids == list(want.token_ids)
        assert made.prompt_token_ids == output.prompt_token_ids
        chosen = [place[token].logprob for place, token in zip(want.logprobs, want.token_ids)]
        assert made.logprobs.token_logprobs == pytest.approx(chosen, abs=1e-3)
        assert "".join(made.logprobs.tokens) == made.text


def test_a_stream_says_the_same(client, offline):
    for prompt, output in offline.items():
        stream = client.completions.create(
            model="book", prompt=prompt, max_tokens=24, temperature=0, stream=True
        )
        assert "".join(chunk.choices[0].text for chunk in stream) == output.outputs[0].text


def test_a_seed_makes_a_draw_repeatable_and_n_draws_differ(client):
    options = {"model": "book", "prompt": "class ", "max_tokens": 16, "seed": 7, "n": 3}
    first, second = (client.completions.create(**options) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in second.choices]
    assert len(set(texts)) == 3
    stream = client.completions.create(**options, stream=True)
    joined = ["", "", ""]
    for chunk in stream:
        joined[chunk.choices[0].index] += chunk.choices[0].text
    assert joined == texts


def test_penalties_and_filters_reach_the_sampler(client):
    base = {"model": "book", "prompt": "a a a a a a a a a a", "max_tokens": 24, "temperature": 0}
    plain = client.completions.create(**base).choices[0].text
    penal = client.completions.create(**base, extra_body={"repetition_penalty": 2.0})
    assert penal.choices[0].text != plain
    hot = {**base, "temperature": 2.0}
    narrow = client.completions.create(**hot, extra_body={"top_k": 1}).choices[0].text
    assert narrow == plain
    assert client.completions.create(**hot, extra_body={"min_p": 1.0}).choices[0].text == plain


def test_a_chat_goes_through_the_checkpoints_template(book_server, client):
    messages = [{"role": "user", "content": "What is a block?"}]
    tokens = book_server.post("/tokenize", json={"messages": messages}).json()["tokens"]
    text = book_server.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
    assert text == "<|im_start|>user\nWhat is a block?<|im_end|>\n<|im_start|>assistant\n"
    chat = client.chat.completions.create(
        model="book", messages=messages, max_tokens=12, temperature=0
    )
    plain = client.completions.create(model="book", prompt=tokens, max_tokens=12, temperature=0)
    assert chat.choices[0].message.content == plain.choices[0].text
    assert chat.usage == plain.usage


def test_what_the_server_tells_of_itself(book_server):
    assert book_server.get("/health").status_code == 200
    assert book_server.get("/ping").status_code == 200
    card = book_server.get("/v1/models").json()["data"][0]
    assert (card["id"], card["max_model_len"]) == ("book", 1024)
    config = json.loads((CHECKPOINT / "config.json").read_text())
    error = book_server.post("/detokenize", json={"tokens": [config["vocab_size"]]}).json()
    assert f"0 to {config['vocab_size'] - 1}" in error["error"]["message"]
    metrics = book_server.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert book_server.metric("vllm:request_success_total") > 0


def test_nothing_is_left_behind(book_server):
    book_server.wait_until_idle()
