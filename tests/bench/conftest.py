"""A server that says what it is told to, when it is told to: the clock for the client's clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest


@dataclass
class Scripted:
    """Answers the k-th request by `script(k, body)`: raw pieces, numbers are pauses in seconds."""

    script: Callable[[int, dict], list]
    bodies: list[dict] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    url: str = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().split("content-length:")[1].split()[0])
            body = json.loads(await reader.readexactly(length)) if length else {}
            if head.startswith("GET"):
                said = b'{"data": [{"id": "scripted"}]}'
                ok = f"HTTP/1.1 200 OK\r\nContent-Length: {len(said)}\r\n\r\n".encode()
                writer.write(ok + said)
                return
            self.bodies.append(body)
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            for part in self.script(len(self.bodies) - 1, body):
                if isinstance(part, (int, float)):
                    await asyncio.sleep(part)
                else:
                    writer.write(part)
                    await writer.drain()
            self.open_now -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.open_now -= 1
        finally:
            writer.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def piece(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(**fields: object) -> bytes:
    return piece(b"data: " + json.dumps(fields).encode() + b"\n\n")


def token(text: str = "x") -> bytes:
    return event(choices=[{"text": text}])


def usage(prompt: int, completion: int) -> bytes:
    return event(choices=[], usage={"prompt_tokens": prompt, "completion_tokens": completion})


END = piece(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def stream(first: float, between: float, count: int, prompt: int = 5) -> list:
    """A whole answer: `first` seconds to the first token, `between` to each of the others."""
    parts: list = [first, HEAD, token()]
    for _ in range(count - 1):
        parts += [between, token()]
    return [*parts, usage(prompt, count), END]


@pytest.fixture
def wire() -> SimpleNamespace:
    """The pieces that answers are made of."""
    return SimpleNamespace(
        HEAD=HEAD, END=END, piece=piece, event=event, token=token, usage=usage, stream=stream
    )


@pytest.fixture
def serving():
    """Make a server that listens on the loopback; `async with` what this returns."""

    @asynccontextmanager
    async def run(script: Callable[[int, dict], list]) -> AsyncIterator[Scripted]:
        scripted = Scripted(script)
        listener = await asyncio.start_server(scripted.answer, "127.0.0.1", 0)
        scripted.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield scripted
        finally:
            listener.close()
            await listener.wait_closed()

    return run
