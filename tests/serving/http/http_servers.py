"""Servers to talk to: one in this process with an engine that tells a given text, one behind TCP
with a scripted engine, and one with the book's model.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from mini_vllm.core.stats import SchedulerStats
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.entrypoints.openai.api_server import build_app
from mini_vllm.entrypoints.openai.cli_args import ServerArgs
from mini_vllm.entrypoints.openai.serve import make_serving

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CHECKPOINT = ROOT / "book" / "model" / "checkpoint"
MODEL = "told"


class ByteTokenizer:
    """A token is a byte: every character that is not ASCII is cut into pieces. 256 ends."""

    eos_token_id = 256
    chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}{{ mood | default('') }}"
    )

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return bytes(t for t in token_ids if t < 256).decode(errors="replace")

    def convert_ids_to_tokens(self, token_ids: Sequence[int]) -> list[str]:
        return [f"<{t:02x}>" for t in token_ids]


class ToldEngine:
    """The real engine, told what to answer, stepped on this loop: no process, no waiting."""

    def __init__(self, told: Sequence[Any], **config: Any) -> None:
        script = [*told, *[256] * 64]
        self.tokenizer = ByteTokenizer()
        self.engine = LLMEngine.from_scripted(
            default=script,
            tokenizer=self.tokenizer,
            vocab_size=257,
            **{"max_model_len": 4096, "num_gpu_blocks": 2048, "max_num_seqs": 16} | config,
        )
        self.config = self.engine.config
        self.stat_loggers: list[Any] = []
        self.news: dict[str, list[Any]] = {}
        self.errored, self.dead_error = False, None

    async def generate(self, prompt, params, request_id, *, priority=0, arrival_time=None):
        self.engine.add_request(request_id, prompt, params, priority=priority)
        self.news[request_id] = []
        finished = False
        try:
            while not finished:
                # Whoever gets a turn takes a step, for all.
                for output in self.engine.step():
                    self.news[output.request_id].append(output)
                for output in self.news[request_id]:
                    finished = finished or output.finished
                    yield output
                self.news[request_id] = []
                await asyncio.sleep(0)
        finally:
            if not finished:
                self.engine.abort_request(request_id)

    async def check_health(self) -> None:
        return None

    async def get_stats(self) -> SchedulerStats:
        return SchedulerStats()


def app_over(engine: Any, **server: Any) -> Any:
    args = ServerArgs(served_model_name=[MODEL, "alias"], enable_prompt_tokens_details=True)
    for name, value in server.items():
        setattr(args, name, value)
    serving = make_serving(engine, MODEL, args)
    return build_app(
        serving, max_body_bytes=args.max_body_bytes, api_keys=tuple(args.api_key or ())
    )


# One loop for all: an application belongs to the loop that it was first used on.
_LOOP = asyncio.Runner()


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    """One request to an application in this process."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return _LOOP.run(send())


@dataclass
class Server:
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str]

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=60, **options)

    def metric(self, name: str) -> float:
        """The sum over all labels of one metric, as Prometheus would read it."""
        found = [
            float(line.rpartition(" ")[2])
            for line in self.get("/metrics").text.splitlines()
            if line.startswith((name + "{", name + " "))
        ]
        assert found, f"/metrics has no {name}"
        return sum(found)

    def wait_until_idle(self, seconds: float = 10.0) -> None:
        wait_until(lambda: self.get("/load").json()["server_load"] == 0, seconds)
        wait_until(lambda: self.metric("vllm:kv_cache_usage_perc") == 0.0, seconds)
        assert self.metric("vllm:num_requests_running") == 0
        assert self.metric("vllm:num_requests_waiting") == 0


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not true after {seconds} s"
        time.sleep(0.02)


def start(command: Sequence[str], **environment: str) -> Server:
    """Start a server and wait for its READY line."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process, "", [])
    ready = threading.Event()

    def read() -> None:
        for line in process.stdout:
            server.lines.append(line.rstrip())
            if line.startswith("READY "):
                server.url = line.split()[1]
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    if not ready.wait(120) or not server.url:
        process.kill()
        raise AssertionError("the server did not begin:\n" + "\n".join(server.lines))
    return server


def end(server: Server) -> None:
    if server.process.poll() is None:
        server.process.terminate()
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
