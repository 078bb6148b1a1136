r"""How does a front-end speak to a core, near or far?

Through a client, so that it need not know which. The
{py:class}`~mini_vllm.engine.inproc_client.InprocClient` is the near one: a core in this process,
stepped by whoever asks for outputs. {py:class}`AsyncMPClient` is the far one: a core in another
process that steps by itself, and outputs that arrive when they do. Both speak in the same records,
and that is what makes the second testable: what comes out of it must be what comes out of the
first.

Sending never waits. The socket towards the core is unbounded, and what goes into it is small; so
an abort can be sent from anywhere, also from the clean-up of a task that is being cancelled, where
waiting is a bad idea.

## How a death is noticed

The core sends its last words when it can. When it cannot, because it was killed, its process still
ends; a thread waits for just that, and puts the exit code into the same socket in the core's name.
So there is one place where news arrives, good or bad, and nobody has to ask from time to time. The
words come first when there are both: after an exit code the socket is searched for them.

Upstream: {up}`vllm/v1/engine/core_client.py#EngineCoreClient`,
{up}`vllm/v1/engine/core_client.py#InprocClient`, {up}`vllm/v1/engine/core_client.py#AsyncMPClient`;
its thread is {up}`vllm/v1/engine/core_client.py#MPClient.start_engine_core_monitor`.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

import zmq
import zmq.asyncio

from mini_vllm.core.engine_core_output import EngineCoreOutputs
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.engine.core_messages import (
    ENCODING_ERRORS,
    MAX_WAITING_MESSAGES,
    CoreReady,
    CoreSetup,
    EngineCoreReplyType,
    EngineCoreRequestType,
    UtilityCall,
    decode_outputs,
    decode_ready,
    encode,
)
from mini_vllm.engine.core_process import CoreProcess
from mini_vllm.errors import EngineDeadError, RequestError

# How often the start is interrupted to see whether the child still lives, in milliseconds.
START_POLL_MS = 200
# How long to look for last words after an exit code, in milliseconds.
LAST_WORDS_MS = 200


class AsyncMPClient:
    r"""A client of a core in another process, for one event loop at a time.

    Building one starts the process and returns; {py:meth}`wait_until_ready` blocks until the model
    is loaded. After that, the methods belong to the event loop. Upstream:
    {up}`vllm/v1/engine/core_client.py#AsyncMPClient`.
    """

    def __init__(self, setup: CoreSetup) -> None:
        self.core_process = CoreProcess(setup)
        self._context = zmq.Context()
        addresses = self.core_process.setup
        self._input = self._context.socket(zmq.PUSH)
        self._input.setsockopt(zmq.SNDHWM, 0)
        self._input.bind(addresses.input_address)
        self._output = self._context.socket(zmq.PULL)
        self._output.setsockopt(zmq.RCVHWM, MAX_WAITING_MESSAGES)
        self._output.bind(addresses.output_address)
        self._async_output: zmq.asyncio.Socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._num_calls = 0
        self._closing = False
        self.dead_error: EngineDeadError | None = None

    def wait_until_ready(self) -> CoreReady:
        r"""Block until the core has loaded its model; return what it says of itself.

        Raises {py:class}`~mini_vllm.errors.EngineDeadError` with the reason when it could not.
        """
        while not self._output.poll(START_POLL_MS):
            if self.core_process.exit_code is not None and not self._output.poll(LAST_WORDS_MS):
                raise self._died(
                    f"the engine's process ended at the start, exit code "
                    f"{self.core_process.exit_code}"
                )
        kind, body = self._output.recv_multipart()
        if EngineCoreReplyType(kind) == EngineCoreReplyType.DEAD:
            raise self._died(f"the engine could not start: {body.decode()}")
        threading.Thread(target=self._watch_process, daemon=True).start()
        # It speaks already, and may not listen yet: two sockets connect in either order.
        while not self._input.poll(START_POLL_MS, zmq.POLLOUT):
            self._raise_if_gone()
        return decode_ready(body)

    def _watch_process(self) -> None:
        """Wait for the child's end, and say so where its messages would arrive."""
        exit_code = self.core_process.process.wait()
        if self._closing:
            return
        socket = self._context.socket(zmq.PUSH)
        socket.connect(self.core_process.setup.output_address)
        socket.send_multipart([EngineCoreReplyType.DEAD.value, b"", str(exit_code).encode()])
        socket.close()

    # ------------------------------------------------------------------ to the core

    def add_request(self, request: EngineCoreRequest) -> None:
        r"""Send a request; returns at once.

        Raises {py:class}`~mini_vllm.errors.RequestError` when something in it cannot be sent.
        """
        try:
            request_id, body = request.request_id.encode(), encode(request)
        except ENCODING_ERRORS as error:
            raise RequestError(f"the request cannot be sent: {error}") from error
        self._send(EngineCoreRequestType.ADD, request_id, body)

    def abort_requests(self, request_ids: list[str]) -> None:
        r"""Send an abort; returns at once. The core passes over ids it does not know.

        Nothing happens when the core is dead: then there is nothing to end.
        """
        with suppress(EngineDeadError):
            self._send(EngineCoreRequestType.ABORT, encode(request_ids))

    async def call_utility_async(self, method: str, *args: Any) -> Any:
        r"""Ask the core something, and wait for the answer.

        It arrives through {py:meth}`get_output_async`, so somebody must be reading. Raises
        {py:class}`RuntimeError` when the call failed there.
        """
        self._raise_if_dead()
        call_id, self._num_calls = self._num_calls, self._num_calls + 1
        future = asyncio.get_running_loop().create_future()
        self._calls[call_id] = future
        try:
            self._send(
                EngineCoreRequestType.UTILITY, encode(UtilityCall(call_id, method, list(args)))
            )
            return await future
        finally:
            del self._calls[call_id]

    def _send(self, request_type: EngineCoreRequestType, *frames: bytes) -> None:
        self._raise_if_dead()
        try:
            self._input.send_multipart([request_type.value, *frames], zmq.NOBLOCK)
        except zmq.Again:
            # The socket is unbounded, so this means that nobody holds the other end any more.
            raise EngineDeadError("the engine's process does not listen any more") from None

    # ------------------------------------------------------------------ from the core

    async def get_output_async(self) -> EngineCoreOutputs:
        r"""Wait for the core's next message about requests.

        Raises {py:class}`~mini_vllm.errors.EngineDeadError` when there will be none any more.
        """
        loop = asyncio.get_running_loop()
        if self._async_output is None or self._loop is not loop:
            self._async_output = zmq.asyncio.Socket.from_socket(self._output)
            self._loop = loop
        while True:
            self._raise_if_dead()
            kind, body, *rest = await self._async_output.recv_multipart()
            if kind == EngineCoreReplyType.DEAD.value:
                raise await self._last_words(self._async_output, body, *rest)
            outputs = decode_outputs(body)
            answer = outputs.utility_output
            if answer is None:
                return outputs
            future = self._calls.get(answer.call_id)
            if future is not None and not future.done():
                if answer.failure_message is None:
                    future.set_result(answer.result)
                else:
                    future.set_exception(RuntimeError(answer.failure_message))
            if outputs.finished_requests:
                return outputs

    async def _last_words(
        self, socket: zmq.asyncio.Socket, text: bytes, exit_code: bytes | None = None
    ) -> EngineDeadError:
        while not text and await socket.poll(LAST_WORDS_MS):
            kind, body, *_ = await socket.recv_multipart()
            if kind == EngineCoreReplyType.DEAD.value:
                text = body
        if text:
            return self._died(f"a step of the engine failed with {text.decode()}")
        code = exit_code.decode() if exit_code else "unknown"
        return self._died(f"the engine's process ended, exit code {code}")

    # ------------------------------------------------------------------ the end

    def _raise_if_gone(self) -> None:
        exit_code = self.core_process.exit_code
        if exit_code is not None:
            raise self._died(f"the engine's process ended, exit code {exit_code}")

    def _raise_if_dead(self) -> None:
        if self.dead_error is not None:
            raise self.dead_error

    def _died(self, message: str) -> EngineDeadError:
        self.dead_error = EngineDeadError(message)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(self.dead_error)
        return self.dead_error

    def shutdown(self) -> None:
        """End the core's process and close the sockets. Nothing happens the second time."""
        self._closing = True
        if self.dead_error is None:
            self._died("the engine was shut down")
        if self._async_output is not None and self._loop is not None:
            if not self._loop.is_closed():
                self._async_output.close(linger=0)
            self._async_output = None
        self.core_process.shutdown()
        self._context.destroy(linger=0)
