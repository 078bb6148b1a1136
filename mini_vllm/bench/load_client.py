r"""How does one ask a server, and note when each token came?

The stream of an OpenAI-compatible server is plain HTTP: a head, then lines that begin with
`data: `, each a small JSON object, the last one `[DONE]`. The client here reads exactly that, from
a socket, with nothing between: a library's pool and buffers would be in the figures. The clock of a
request starts before its connection is made and is read when a line is complete.

What counts as a token is the server's affair. A chunk may carry two, or half a character and none.
So the number of tokens is taken from the `usage` that the last chunk carries, and the number of
chunks stands in only where a server sends none. The gaps between chunks are called inter-token
latency, here as upstream, and are that if each chunk has one token.

A request ends as `ok` or as one of the ways to fail, by name, with what the server said. Nobody is
asked twice, and nothing is dropped.
Upstream: {up}`vllm/benchmarks/lib/endpoint_request_func.py#async_request_openai_completions`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

#: The longest line of a head or of a stream that is still believed, in bytes.
_LINE_LIMIT = 1 << 20


class OddAnswer(Exception):
    """The server said something that is not in the protocol."""


class Refused(Exception):
    """The server answered with a status other than 200."""


@dataclass
class Outcome:
    r"""What became of one request; all times in seconds of the monotonic clock.

    `status` is `ok`, `refused` (another HTTP status than 200), `odd` (not in the protocol),
    `broken` (the connection ended early or was never made), `timeout`, or `cut` (the whole run's
    time was over). `due` is when it should have been sent, `sent` when it was.
    """

    due: float
    sent: float = 0.0
    status: str = "cut"
    error: str = ""
    chunk_times: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    asked_tokens: int = 0
    usage_reported: bool = False

    @property
    def ok(self) -> bool:
        """Whether the answer came whole."""
        return self.status == "ok"

    @property
    def ttft(self) -> float:
        """Sending to the first chunk with text."""
        return self.chunk_times[0] - self.sent

    @property
    def latency(self) -> float:
        """Sending to the last chunk with text."""
        return self.chunk_times[-1] - self.sent

    @property
    def itls(self) -> list[float]:
        """Gaps between chunks."""
        return [b - a for a, b in pairwise(self.chunk_times)]

    @property
    def tpot(self) -> float | None:
        """Time per token after the first; `None` for an answer of a single token."""
        if self.output_tokens < 2:
            return None
        return (self.latency - self.ttft) / (self.output_tokens - 1)


class Server:
    """Where to send requests: `http://host:port`, with an optional path before `/v1`."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"base URL {base_url!r}: expected http://host:port")
        self.host, self.port = parts.hostname, parts.port or 80
        self.prefix = parts.path.rstrip("/").removesuffix("/v1")

    async def first_model(self) -> str:
        r"""The name of the first model that the server offers.

        Raises {py:class}`OddAnswer` or {py:class}`Refused` where it does not say, and an `OSError`
        where there is no server.
        """
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=_LINE_LIMIT)
        try:
            writer.write(self._head("GET", "/v1/models"))
            await writer.drain()
            status, headers = await _head(reader)
            said = "".join([line async for line in _lines(reader, headers)])
        finally:
            writer.close()
        if status != 200:
            raise Refused(f"/v1/models answers {status}: {said[:300]}")
        try:
            return str(json.loads(said)["data"][0]["id"])
        except (ValueError, LookupError, TypeError):
            raise OddAnswer(f"/v1/models names no model: {said[:300]}") from None

    def _head(self, method: str, path: str, length: int = 0) -> bytes:
        return (
            f"{method} {self.prefix}{path} HTTP/1.1\r\n"
            f"Host: {self.host}:{self.port}\r\n"
            "Content-Type: application/json\r\nAccept: text/event-stream, application/json\r\n"
            f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
        ).encode()

    async def complete(self, body: dict[str, Any], outcome: Outcome, timeout_s: float) -> None:
        r"""Send one request for a streamed completion, and write into `outcome` what became of it.

        Never raises for what a server or a network does.
        """
        outcome.sent = time.perf_counter()
        try:
            await asyncio.wait_for(self._complete(body, outcome), timeout_s)
            outcome.status = "ok"
        except TimeoutError:
            outcome.status, outcome.error = "timeout", f"no end after {timeout_s:g} s"
        except Refused as error:
            outcome.status, outcome.error = "refused", str(error)
        except (OddAnswer, KeyError, TypeError) as error:
            outcome.status, outcome.error = "odd", str(error)
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            outcome.status, outcome.error = "broken", f"{type(error).__name__}: {error}"

    async def _complete(self, body: dict[str, Any], outcome: Outcome) -> None:
        payload = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=_LINE_LIMIT)
        try:
            writer.write(self._head("POST", "/v1/completions", len(payload)) + payload)
            await writer.drain()
            status, headers = await _head(reader)
            lines = _lines(reader, headers)
            if status != 200:
                said = " ".join([line async for line in lines])
                raise Refused(f"{status}: {said[:300]}")
            await _read_stream(lines, outcome)
        finally:
            writer.close()


async def _read_stream(lines: AsyncIterator[str], outcome: Outcome) -> None:
    """Note the time of each chunk with a choice in it, and the usage, up to `[DONE]`."""
    done = False
    async for line in lines:
        # Empty lines part the events, and a colon begins a comment: a ping.
        if not line or line.startswith(":"):
            continue
        if not line.startswith("data:"):
            raise OddAnswer(f"a line of the stream that is no data: {line[:100]!r}")
        data = line[5:].strip()
        if data == "[DONE]":
            done = True
            break
        now = time.perf_counter()
        try:
            chunk = json.loads(data)
        except ValueError:
            raise OddAnswer(f"a chunk that is no JSON: {data[:100]!r}") from None
        if not isinstance(chunk, dict) or "error" in chunk:
            raise OddAnswer(f"an error in the stream: {data[:300]}")
        if chunk.get("choices"):
            outcome.chunk_times.append(now)
        if usage := chunk.get("usage"):
            outcome.output_tokens = usage["completion_tokens"]
            outcome.prompt_tokens = usage["prompt_tokens"]
            outcome.usage_reported = True
    if not done:
        raise OddAnswer("the stream ended without [DONE]")
    if not outcome.chunk_times:
        raise OddAnswer("a stream without a token")
    if not outcome.usage_reported:
        outcome.output_tokens = len(outcome.chunk_times)


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first = (await reader.readline()).decode("latin-1").split(maxsplit=2)
    if not first:
        raise EOFError("the server closed the connection without an answer")
    if len(first) < 2 or not first[0].startswith("HTTP/") or not first[1].isdigit():
        raise OddAnswer(f"no HTTP answer: {' '.join(first)[:100]!r}")
    headers = {}
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(first[1]), headers


async def _lines(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[str]:
    """The lines of the body, as each becomes complete."""
    rest = b""
    async for piece in _pieces(reader, headers):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", errors="replace").rstrip("\r")
    if rest:
        yield rest.decode("utf-8", errors="replace")


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body in the pieces it comes in: chunked, of a known length, or up to the end."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0] or b"x", 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while piece := await reader.read(1 << 16):
            yield piece
