"""Real vLLM on both sides: its benchmark as our client, its server as the oracle of shapes.

Runs in the environment of `nox -s vllm_cpu` and nowhere else.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time

import httpx
import pytest
from http_servers import CHECKPOINT, ROOT, Server, end, start, wait_until

pytestmark = [
    pytest.mark.vllm_cpu,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here"
    ),
]
LABS = ROOT / "labs"


def environment(cache) -> dict[str, str]:
    from vllm_cpu.environment import environment

    return environment(cache, PYTHONPATH=os.pathsep.join([str(LABS), str(ROOT)]))


@pytest.fixture(scope="module")
def ours():
    """`mini_vllm serve`, by the same Python that runs vLLM."""
    flags = ["--port", "0", "--served-model-name", "book", "--dtype", "float32"]
    flags += ["--max-model-len", "1024", "--num-gpu-blocks-override", "1024"]
    server = start(["-m", "mini_vllm.entrypoints.cli", "serve", CHECKPOINT, *flags])
    yield server
    end(server)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """`vllm serve` on the same checkpoint."""
    cache = tmp_path_factory.mktemp("vllm")
    port = 18_000 + os.getpid() % 1000
    command = [sys.executable, "-m", "vllm_cpu.launch", "serve", str(CHECKPOINT)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--served-model-name", "book"]
    command += ["--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"]
    log = (cache / "log").open("w")
    process = subprocess.Popen(command, cwd=cache, env=environment(cache), stdout=log, stderr=log)
    server = Server(process, f"http://127.0.0.1:{port}", [])

    def healthy() -> bool:
        assert process.poll() is None, (cache / "log").read_text()[-3000:]
        time.sleep(0.3)
        try:
            return server.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(healthy, 240)
        yield server
    finally:
        end(server)
        log.close()


def test_vllm_bench_serve_measures_our_server(ours, tmp_path):
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "vllm_cpu.launch", "bench", "serve", "--backend", "openai"]
    command += ["--base-url", ours.url, "--model", "book", "--tokenizer", str(CHECKPOINT)]
    command += ["--dataset-name", "random", "--random-input-len", "48", "--ignore-eos"]
    command += ["--random-output-len", "24", "--num-prompts", "16", "--seed", "7"]
    command += ["--save-result", "--result-filename", str(result)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    measured = json.loads(result.read_text())
    assert measured["completed"] == 16
    assert measured["failed"] == 0
    assert measured["total_output_tokens"] == 16 * 24
    assert measured["output_throughput"] > 0
    assert measured["mean_ttft_ms"] > 0
    ours.wait_until_idle()


def shape(value):
    """The structure of a JSON value: names and types, of a list its first item's."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return (
        "number"
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else (type(value).__name__)
    )


def within(ours, theirs, where="") -> list[str]:
    """Where ours has a name or a type that theirs has not; `null` fits everything."""
    if "NoneType" in (ours, theirs):
        return []
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            found
            for name in ours
            for found in (
                within(ours[name], theirs[name], f"{where}.{name}")
                if name in theirs
                else [f"{where}.{name} is ours alone"]
            )
        ]
    if isinstance(ours, list) and isinstance(theirs, list):
        return within(ours[0], theirs[0], where + "[]") if ours and theirs else []
    return [] if ours == theirs else [f"{where}: {ours} here, {theirs} there"]


GREEDY = {"model": "book", "max_tokens": 24, "temperature": 0}
MESSAGES = [{"role": "user", "content": "What is a block?"}]
REQUESTS = {
    "completion": ("/v1/completions", {**GREEDY, "prompt": "def schedule(self"}),
    "several": ("/v1/completions", {**GREEDY, "prompt": ["import torch\n", "class Foo"]}),
    "logprobs": ("/v1/completions", {**GREEDY, "prompt": "def f", "logprobs": 2}),
    "ids": ("/v1/completions", {**GREEDY, "prompt": [5, 6, 7], "return_token_ids": True}),
    "echo": ("/v1/completions", {**GREEDY, "prompt": "def f", "echo": True}),
    "stop": ("/v1/completions", {**GREEDY, "prompt": "def f", "stop": ["("]}),
    "chat": ("/v1/chat/completions", {**GREEDY, "messages": MESSAGES}),
    "chat logprobs": (
        "/v1/chat/completions",
        {**GREEDY, "messages": MESSAGES, "logprobs": True, "top_logprobs": 2},
    ),
    "tokenize": ("/tokenize", {"model": "book", "prompt": "def f", "return_token_strs": True}),
    "tokenize chat": ("/tokenize", {"model": "book", "messages": MESSAGES}),
    "detokenize": ("/detokenize", {"model": "book", "tokens": [5, 6, 7]}),
    "no such model": ("/v1/completions", {"model": "gpt", "prompt": "a"}),
    "too long": ("/v1/completions", {**GREEDY, "prompt": [5] * 2000}),
    "out of range": ("/v1/completions", {**GREEDY, "prompt": "a", "top_p": 7}),
}


def answers(body):
    """What a client reads: texts, tokens and ends, without names and times."""
    kept = ("tokens", "prompt", "count", "token_strs")
    told = {name: body[name] for name in kept if name in body}
    for choice in body.get("choices", ()):
        message = choice.get("message") or choice
        text = message.get("text", message.get("content"))
        told[choice["index"]] = (text, choice["finish_reason"], choice["stop_reason"])
        logprobs = choice.get("logprobs") or {}
        told[choice["index"], "logprobs"] = (
            logprobs.get("tokens") or [one["token"] for one in logprobs.get("content") or ()],
            logprobs.get("text_offset"),
        )
    if body.get("usage"):
        told["usage"] = [body["usage"][f"{one}_tokens"] for one in ("prompt", "completion")]
    return told


@pytest.mark.parametrize("name", REQUESTS)
def test_both_servers_give_one_answer_in_one_shape(ours, theirs, name):
    path, body = REQUESTS[name]
    here, there = ours.post(path, json=body), theirs.post(path, json=body)
    assert here.status_code == there.status_code, there.text
    assert answers(here.json()) == answers(there.json())
    assert within(shape(here.json()), shape(there.json())) == []


@pytest.mark.parametrize("name", ["completion", "logprobs", "stop", "chat", "chat logprobs"])
def test_both_servers_stream_one_answer_in_one_shape(ours, theirs, name):
    path, body = REQUESTS[name]
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    streams = []
    for server in (ours, theirs):
        lines = [line for line in server.post(path, json=body).text.split("\n") if line]
        assert lines[-1] == "data: [DONE]"
        streams.append([json.loads(line.removeprefix("data: ")) for line in lines[:-1]])
    here, there = streams

    def text(events):
        choices = [choice for event in events for choice in event["choices"]]
        return "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in choices)

    assert text(here) == text(there)
    assert here[-1]["usage"]["completion_tokens"] == there[-1]["usage"]["completion_tokens"]
    assert here[-2]["choices"][0]["finish_reason"] == there[-2]["choices"][0]["finish_reason"]
    for one, other in ((here[0], there[0]), (here[-2], there[-2]), (here[-1], there[-1])):
        assert within(shape(one), shape(other)) == []


def test_our_metrics_are_theirs(ours, theirs):
    def families(server):
        lines = server.get("/metrics").text.splitlines()
        return {tuple(line.split()[2:4]) for line in lines if line.startswith("# TYPE vllm:")}

    mine, real = families(ours), families(theirs)
    assert len(mine) > 10
    assert mine <= real
