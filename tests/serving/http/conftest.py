"""Servers for tests: one per test, one per session, and the one with the book's model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from http_servers import CHECKPOINT, HERE, ROOT, Server, end, start


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start scripted servers for one test: `serve("--step-seconds", "0.05")`."""
    servers: list[Server] = []

    def begin(*flags: str, **environment: str) -> Server:
        servers.append(start([HERE / "scripted_server.py", *flags], **environment))
        return servers[-1]

    yield begin
    for server in servers:
        end(server)


@pytest.fixture(scope="session")
def scripted() -> Iterator[Server]:
    """One scripted server for all tests that do not end it."""
    server = start([HERE / "scripted_server.py"])
    yield server
    end(server)


@pytest.fixture(scope="session")
def book_server() -> Iterator[Server]:
    """The real thing: `mini_vllm serve` on the book's model, in fp32."""
    if not (CHECKPOINT / "model.safetensors").is_file():
        pytest.skip(f"no checkpoint: {CHECKPOINT.relative_to(ROOT)}")
    command = ["-m", "mini_vllm.entrypoints.cli", "serve", CHECKPOINT, "--port", "0"]
    flags = ["--served-model-name", "book", "--dtype", "float32", "--max-model-len", "1024"]
    flags += ["--num-gpu-blocks-override", "1024", "--disable-uvicorn-access-log"]
    server = start([*command, *flags])
    yield server
    end(server)
