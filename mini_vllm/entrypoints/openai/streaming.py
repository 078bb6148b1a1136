r"""When does the server stop working for somebody?

When they have gone. A client that closes its connection while its answer is being computed leaves
behind a row in every batch and blocks that nobody else can have; with a thousand tokens to go, that
is a thousand steps for no reader. HTTP does not announce the departure, but the socket does, if
somebody looks at it. So everything that takes long here runs in a race against two other endings:
the client disconnects, or the server is told to cut ({py:func}`race`). Whoever loses is cancelled;
a cancelled generator closes the generator of the engine below it, and that aborts the request
within the step that is under way. A client that closes only its sending half counts as gone too:
its socket says the same.

## Events

A stream is *server-sent events*: lines that begin with `data: `, a blank line after each, `[DONE]`
at the end. Whoever reads such a stream splits it into lines, and the world disagrees on what a line
is: many a client also splits at U+2028, which JSON allows in a string. And a chunk of TCP may end
within a character. So the events are written in ASCII, everything else escaped; no client can then
split a character, or a line where there is none.

## Two kinds of failure

Nothing is sent before the first event is there, so a request that the engine refuses gets a status
of its own, 400 rather than a 200 that turns into an error. What fails later can no longer change
the status: the stream gets an event with an `error` in it, and ends
({up}`vllm/entrypoints/openai/completion/serving.py#OpenAIServingCompletion.completion_stream_generator`
does the same).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi.responses import Response
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from mini_vllm.entrypoints.openai.admission import Admission, shutting_down
from mini_vllm.entrypoints.openai.errors import as_api_error, error_body

T = TypeVar("T")

DONE = b"data: [DONE]\n\n"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class ClientGone(Exception):
    """The client went away before its answer; there is nobody to tell."""


def event(data: BaseModel) -> bytes:
    """One event: the fields that were set, in ASCII."""
    text = data.model_dump_json(exclude_unset=True, ensure_ascii=True)
    return f"data: {text}\n\n".encode("ascii")


async def race(work: Coroutine[Any, Any, T], receive: Receive, admission: Admission) -> T:
    r"""Do the work, unless the client goes away or the server must end.

    Raises {py:class}`ClientGone` or a 503; the work has then been cancelled, and has ended.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    cut = asyncio.ensure_future(admission.cut())
    try:
        await asyncio.wait((task, gone, cut), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientGone
        cut.result()
        raise shutting_down()
    finally:
        for one in (task, gone, cut):
            one.cancel()
        await asyncio.gather(task, gone, cut, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    r"""An answer that is sent event by event, while the client is there.

    `first` is the event that has been made already, `events` makes the others.
    """

    media_type = "text/event-stream"

    def __init__(
        self, first: bytes, events: AsyncGenerator[bytes, None], admission: Admission
    ) -> None:
        self.first = first
        self.events = events
        self.admission = admission
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; whatever happens, the generator is closed at the end, and with it the request."""
        async with aclosing(self.events):
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            try:
                await race(self._send_events(send), receive, self.admission)
            except ClientGone:
                return
            except Exception as error:
                # The status is out; all that is left is to say so in the stream.
                await _send(send, event(error_body(as_api_error(error))))
            await _send(send, DONE)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        await _send(send, self.first)
        async for one in self.events:
            await _send(send, one)


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def begin_stream(
    request: Request, events: AsyncGenerator[bytes, None], admission: Admission
) -> Response:
    """Wait for the first event; what the engine refuses is raised here, with a status to come."""
    try:
        first = await race(_next(events), request.receive, admission)
    except BaseException:
        await events.aclose()
        raise
    return EventStream(first, events, admission)


async def _next(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)


async def merge(
    generators: Sequence[AsyncGenerator[T, None]],
) -> AsyncGenerator[tuple[int, T], None]:
    r"""The items of several generators as they come, each with its generator's number.

    All are closed at the end, however it comes about: an exception out of one of them, or the
    caller's loss of interest. Upstream: {up}`vllm/utils/async_utils.py#merge_async_iterators`.
    """
    pending: dict[asyncio.Task[T], int] = {}

    def ask(number: int) -> None:
        pending[asyncio.ensure_future(_item(generators[number]))] = number

    try:
        if len(generators) == 1:
            async for item in generators[0]:
                yield 0, item
            return
        for number in range(len(generators)):
            ask(number)
        while pending:
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                number = pending.pop(task)
                try:
                    item = task.result()
                except StopAsyncIteration:
                    continue
                yield number, item
                ask(number)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for generator in generators:
            await generator.aclose()


async def _item(generator: AsyncGenerator[T, None]) -> T:
    return await anext(generator)
