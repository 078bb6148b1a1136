"""Who goes, who waits, who is turned away; and how a server ends, by signals and by accident."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from http_servers import HERE, end, start, wait_until

BODY = {"prompt": "a" * 64, "max_tokens": 700, "ignore_eos": True}
STEP = 0.02
SLOW = ("--step-seconds", str(STEP))


@pytest.fixture(scope="module")
def slow():
    """A server whose steps take time, for tests that leave it alive."""
    server = start([HERE / "scripted_server.py", *SLOW])
    yield server
    end(server)


def children_of(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def open_answers(server) -> int:
    return server.get("/load").json()["server_load"]


def running(server) -> int:
    return int(server.metric("vllm:num_requests_running"))


def raw_request(server, body, *, stream) -> socket.socket:
    """A request over a bare socket, which can be cut wherever one likes."""
    url = httpx.URL(server.url)
    connection = socket.create_connection((url.host, url.port), timeout=20)
    content = json.dumps({**body, "stream": stream}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "at once"])
@pytest.mark.parametrize("half", [False, True], ids=["closed", "half-closed"])
def test_a_client_that_goes_away_frees_its_blocks_within_a_step(slow, stream, half):
    server = slow
    connection = raw_request(server, BODY, stream=stream)
    wait_until(lambda: running(server) == 1)
    assert server.metric("vllm:kv_cache_usage_perc") > 0
    before = time.monotonic()
    if half:
        connection.shutdown(socket.SHUT_WR)
    else:
        connection.close()
    # A step, and the way of the news to the metrics and here: far from the 14 s of the answer.
    wait_until(lambda: server.metric("vllm:kv_cache_usage_perc") == 0, STEP + 2)
    assert time.monotonic() - before < STEP + 2
    assert open_answers(server) == 0
    assert running(server) == 0
    drawn = server.metric("vllm:generation_tokens_total")
    time.sleep(5 * STEP)
    assert server.metric("vllm:generation_tokens_total") == drawn, "still drawing for nobody"
    assert server.post("/v1/completions", json={"prompt": "a"}).status_code == 200


def test_a_client_that_goes_away_in_the_middle_of_its_request_costs_nothing(scripted):
    url = httpx.URL(scripted.url)
    for cut in (b"POST /v1/compl", b"POST /v1/completions HTTP/1.1\r\nHost: a\r\n"):
        socket.create_connection((url.host, url.port)).sendall(cut)
    with socket.create_connection((url.host, url.port)) as connection:
        head = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        connection.sendall((head + 'Content-Length: 900\r\n\r\n{"prompt": ').encode())
        time.sleep(0.1)
    scripted.wait_until_idle()
    assert scripted.post("/v1/completions", json={"prompt": "a"}).status_code == 200


def test_a_slow_reader_loses_nothing(scripted):
    body = {"prompt": "a", "max_tokens": 400, "return_token_ids": True}
    at_once = scripted.post("/v1/completions", json=body).json()["choices"][0]
    connection = raw_request(scripted, body, stream=True)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    time.sleep(0.5)
    received = b""
    while b"[DONE]" not in received:
        received += connection.recv(2048)
    lines = [line for line in received.split(b"\n") if line.startswith(b"data: {")]
    choices = [json.loads(line.split(b"\r")[0][6:])["choices"][0] for line in lines]
    assert "".join(choice["text"] for choice in choices) == at_once["text"]
    token_ids = [token_id for choice in choices for token_id in choice["token_ids"]]
    assert token_ids == at_once["token_ids"]


def test_beyond_the_queue_there_is_429_and_a_time_to_try_again(serve):
    server = serve(*SLOW, "--max-num-seqs", "2", "--max-queued-requests", "3")
    connections = [raw_request(server, BODY, stream=True) for _ in range(5)]
    wait_until(lambda: open_answers(server) == 5)
    response = server.post("/v1/completions", json={"prompt": "a"})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    assert response.json()["error"]["type"] == "OverloadedError"
    # Nobody who is inside notices; and what could never fit is told so for good.
    response = server.post("/v1/completions", json={"prompt": "a", "n": 6})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "n")
    assert server.get("/health").status_code == 200
    connections.pop().close()
    wait_until(lambda: open_answers(server) == 4)
    wait_until(lambda: server.metric("vllm:num_requests_waiting") == 2)
    connections.pop(0).close()
    wait_until(lambda: open_answers(server) == 3)
    for connection in connections:
        connection.close()
    server.wait_until_idle()


def test_a_signal_drains(serve):
    server = serve(*SLOW)
    body = {**BODY, "max_tokens": 60}
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(server.post, "/v1/completions", json=body) for _ in range(3)]
        wait_until(lambda: running(server) == 3)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/health").status_code == 503)
        refused = server.post("/v1/completions", json={"prompt": "a"})
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert refused.json()["error"]["type"] == "ServiceUnavailableError"
        for answer in answers:
            assert answer.result().status_code == 200
            assert answer.result().json()["usage"]["completion_tokens"] == 60
    assert server.process.wait(10) == 0


def test_a_drain_that_takes_too_long_cuts_what_is_left_and_says_so(serve):
    server = serve(*SLOW, "--shutdown-timeout", "0.3")
    stream = raw_request(server, BODY, stream=True)
    with ThreadPoolExecutor() as pool:
        at_once = pool.submit(server.post, "/v1/completions", json=BODY)
        wait_until(lambda: running(server) == 2)
        server.process.send_signal(signal.SIGTERM)
        assert at_once.result().status_code == 503
    received = b""
    while piece := stream.recv(65536):
        received += piece
    assert b'"code":503' in received
    assert received.rstrip().endswith(b"0")  # the last chunk: the stream was ended, not torn
    assert b"data: [DONE]" in received
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(serve, number):
    server = serve(*SLOW)
    core = children_of(server.process.pid)
    assert core
    with raw_request(server, BODY, stream=True):
        wait_until(lambda: running(server) == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.get("/health").status_code == 503)
        server.process.send_signal(number)
        assert server.process.wait(5) == 128 + number
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in core))


def test_when_the_engine_dies_everybody_hears_it_at_once_and_the_exit_status_says_so(serve):
    server = serve(*SLOW)
    (core,) = children_of(server.process.pid)
    streams = [raw_request(server, BODY, stream=True) for _ in range(3)]
    ended: list[float] = []
    with ThreadPoolExecutor() as pool:
        at_once = [pool.submit(server.post, "/v1/completions", json=BODY) for _ in range(3)]
        wait_until(lambda: running(server) == 6)
        started = time.monotonic()
        os.kill(core, signal.SIGKILL)
        for answer in at_once:
            assert answer.result().status_code == 503
            assert "engine has died" in answer.result().json()["error"]["message"]
        for stream in streams:
            received = b""
            while piece := stream.recv(65536):
                received += piece
            ended.append(time.monotonic() - started)
            assert b'data: {"error":{"message":"the engine has died' in received
            assert b"data: [DONE]" in received
    assert max(ended) < 3
    assert server.process.wait(10) == 70
    assert any("the engine died" in line for line in server.lines)


def test_between_the_death_and_the_exit_health_says_so(serve):
    server = serve()
    (core,) = children_of(server.process.pid)
    seen: set[int] = set()

    def look():
        # One client: to make one takes longer than a server without its engine stays.
        with httpx.Client() as client, suppress(httpx.TransportError):
            while True:
                seen.add(client.get(server.url + "/health").status_code)

    looker = threading.Thread(target=look)
    looker.start()
    os.kill(core, signal.SIGKILL)
    assert server.process.wait(10) == 70
    looker.join()
    assert 503 in seen


def test_a_port_that_is_taken_is_refused_before_anything_is_loaded(scripted):
    from mini_vllm.entrypoints.launcher import bind
    from mini_vllm.errors import ConfigError

    port = httpx.URL(scripted.url).port
    with pytest.raises(ConfigError, match=f"127.0.0.1 port {port}"):
        bind("127.0.0.1", port)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


@needs_curl
def test_the_raw_bytes_of_a_stream_by_curl(scripted):
    body = json.dumps({"prompt": "a", "max_tokens": 30, "stream": True})
    done = subprocess.run(
        ["curl", "-sSiN", "-H", "content-type: application/json", "-d", body,
         scripted.url + "/v1/completions"],
        capture_output=True,
        timeout=30,
        check=True,
    )  # fmt: skip
    head, _, events = done.stdout.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert b"content-type: text/event-stream; charset=utf-8" in head.lower()
    assert events.isascii()
    blocks = events.split(b"\n\n")
    assert blocks[-2:] == [b"data: [DONE]", b""]
    assert all(block.startswith(b"data: {") and b"\n" not in block for block in blocks[:-2])
    text = "".join(json.loads(block[6:])["choices"][0]["text"] for block in blocks[:-2])
    assert text == ("Straße 東京 🚀 ok.\n" * 2)[: len(text)]
    assert len(text.encode()) in range(27, 31)


@needs_curl
def test_a_curl_that_is_killed_frees_its_blocks(slow):
    server = slow
    body = json.dumps({**BODY, "stream": True})
    curl = subprocess.Popen(
        ["curl", "-sN", "-H", "content-type: application/json", "-d", body,
         server.url + "/v1/completions"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: running(server) == 1)
    curl.kill()
    curl.wait()
    server.wait_until_idle(3)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_either_parser_of_http_serves(serve, http):
    pytest.importorskip(http)
    server = serve("--http", http)
    body = {"prompt": "a", "max_tokens": 20}
    at_once = server.post("/v1/completions", json=body).json()["choices"][0]["text"]
    stream = server.post("/v1/completions", json={**body, "stream": True}).text
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    assert "".join(event["choices"][0]["text"] for event in events) == at_once
    too_long = server.post("/tokenize", content=b"a" * 9_000_000, headers={
        "content-type": "application/json"})  # fmt: skip
    assert too_long.status_code == 413
