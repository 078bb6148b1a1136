r"""Why does the engine run in a process of its own?

Because Python runs one thread at a time. A server has much to do that is not the model: parse
HTTP, tokenize a prompt of ten thousand words, turn tokens into text for two hundred streams. Done
in the process of the loop, each of these takes its time from the step, and everybody's next token
is late by it. Behind a process border the core sees none of it. It reads small messages, steps,
and writes small messages; and if the front-end is slow, the front-end is slow alone.

The second reason is what happens on a bad day. A model that crashes takes its process with it, and
a process that is still there can say so to everyone who waits.

```text
 front-end process                        |  core process
                                          |
 AsyncLLM ── AsyncMPClient ── PUSH ───────┼──> input thread ──> input_queue ──> busy loop
                │        └─── PULL <──────┼───────────────────────────────────── step, send
                └──────────── lifeline ───┼──> watcher: end of file? then exit
```

## The busy loop

{py:meth}`EngineCoreProc.run_busy_loop` does two things in turn: take in what has arrived, and step.
When there is nobody to step for, it sleeps in the queue until a message comes, and costs nothing.

The *input thread* reads the socket while the model computes, and does there what needs no state of
the scheduler: decode, check, hash the prompt's blocks
({up}`vllm/v1/engine/core.py#EngineCore.preprocess_add_request`). An abort goes two ways at once:
into the queue of messages, where it stands behind the request that it ends, and into the aborts
queue of the {py:mod}`core <mini_vllm.engine.core>`, which is emptied inside a running step. So it
takes effect in the very step that is under way, and is not lost when its request has yet to be
added.

What the core says is sent by the loop itself. Upstream has an output thread, so that encoding
overlaps with the device ({up}`vllm/v1/engine/core.py#EngineCoreProc.process_output_sockets`). Where
the model runs on this very CPU, there is nothing to overlap with, and a second thread that wants
the interpreter waits for it.
And there is something to gain: the socket holds a bounded number of messages, so a core whose
front-end does not read stops by itself rather than fill the memory.

## What happens at each failure

| what fails | what happens |
|---|---|
| one message cannot be read | that request is refused by name; nothing else happens |
| the model cannot be loaded | the reason is sent instead of `READY`; the process exits with 1 |
| an exception inside a step | `ENGINE_CORE_DEAD` with its text is sent; the process exits with 1 |
| the process is killed | the front-end sees the exit code, and fails every open stream |
| the front-end is killed | the lifeline ends, and the core exits |
| Ctrl-C, or SIGTERM to the whole group | nothing here: the front-end decides, and may first drain |

The *lifeline* is the core's standard input. Nothing is written into it after the start, and it ends
when its writer is gone, however that came about; no signal is needed, and no process is polled.
Closing it is also how the front-end ends the core on a good day. There is one way to stop, and it
is used every time, so it works when it is needed.

Upstream, the request is decoded one line before the `try`
({up}`vllm/v1/engine/core.py#EngineCoreProc.process_input_sockets@"EngineCoreRequest = add_req"`),
and decoding checks the parameters once more. What fails there ends the thread, and the engine goes
on, deaf.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import zmq

from mini_vllm.core.engine_core_output import EngineCoreOutputs, RequestRefusal, UtilityOutput
from mini_vllm.core.request import Request
from mini_vllm.engine.core import EngineCore
from mini_vllm.engine.core_messages import (
    MAX_WAITING_MESSAGES,
    CoreReady,
    CoreSetup,
    EngineCoreReplyType,
    EngineCoreRequestType,
    UtilityCall,
    decode_call,
    decode_ids,
    decode_request,
    decode_setup,
    encode,
)
from mini_vllm.engine.executor import Executor
from mini_vllm.engine.scripted_model_runner import ScriptedModelRunner
from mini_vllm.errors import RequestError
from mini_vllm.invariants import check

# How long the last words may take to leave, in milliseconds.
LINGER_MS = 4000

#: What the input thread hands to the loop.
Message = Request | RequestRefusal | UtilityCall | list[str]


class EngineCoreProc(EngineCore):
    r"""An engine core that is spoken to through sockets.

    Built in a process of its own by {py:func}`main`. It listens through a socket of `context`,
    until that is terminated, and speaks through `output`.
    Upstream: {up}`vllm/v1/engine/core.py#EngineCoreProc`.
    """

    #: The methods that a front-end may call by name.
    UTILITIES = ("get_stats", "reset_prefix_cache")

    def __init__(self, setup: CoreSetup, context: zmq.Context, output: zmq.Socket) -> None:
        super().__init__(setup.config, _executor(setup))
        self._check_invariants = setup.check_invariants
        self._output = output
        self.input_queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        # Ended by an abort since the last message: the front-end may use these ids again.
        self._finished_requests: list[str] = []
        self._input = context.socket(zmq.PULL)
        self._input.setsockopt(zmq.RCVHWM, 0)
        self._input.connect(setup.input_address)
        threading.Thread(target=self._process_input_socket, daemon=True).start()

    # ------------------------------------------------------------------ the input thread

    def _process_input_socket(self) -> None:
        while True:
            try:
                frames = self._input.recv_multipart()
            except zmq.ContextTerminated:
                self._input.close()
                return
            try:
                message = self._read(frames)
            except Exception as error:
                # One bad message is one caller's trouble.
                request_id = frames[1].decode(errors="replace") if len(frames) > 1 else ""
                parameter = error.parameter if isinstance(error, RequestError) else None
                message = RequestRefusal(request_id, str(error), parameter)
            self.input_queue.put(message)

    def _read(self, frames: list[bytes]) -> Message:
        """One message from its frames, checked as far as the scheduler's state is not needed."""
        request_type = EngineCoreRequestType(frames[0])
        if request_type == EngineCoreRequestType.ADD:
            return self.preprocess_add_request(decode_request(frames[2]))
        if request_type == EngineCoreRequestType.ABORT:
            request_ids = decode_ids(frames[1])
            # For the step that is under way; the queue has them again, behind their requests.
            self.aborts_queue.extend(request_ids)
            return request_ids
        return decode_call(frames[1])

    # ------------------------------------------------------------------ the loop

    def run_busy_loop(self) -> None:
        """Take in what has arrived, and step; for ever, or until a step raises."""
        while True:
            self._process_input_queue()
            outputs = self.step()
            if self._check_invariants:
                manager = self.scheduler.kv_cache_manager
                check(manager.block_pool, manager, self.scheduler)
            self._send(EngineCoreOutputs(outputs, self.scheduler.make_stats(), time.monotonic()))

    def _process_input_queue(self) -> None:
        """Handle every message there is; with nobody to step for, wait for one."""
        while True:
            try:
                message = self.input_queue.get(block=not self.scheduler.has_requests())
            except queue.Empty:
                return
            self._handle(message)

    def _handle(self, message: Message) -> None:
        if isinstance(message, Request):
            try:
                self.scheduler.add_request(message)
            except RequestError as error:
                self._refuse(RequestRefusal(message.request_id, str(error), error.parameter))
        elif isinstance(message, list):
            for request_id in message:
                # Its twin must not linger, and end a later request of the same name.
                with suppress(ValueError):
                    self.aborts_queue.remove(request_id)
            self.abort_requests(message)
        elif isinstance(message, UtilityCall):
            self._send(EngineCoreOutputs(utility_output=self._call(message)))
        else:
            self._refuse(message)

    def abort_requests(self, request_ids: Iterable[str]) -> list[str]:
        """End requests now, and remember to say so."""
        ended = super().abort_requests(request_ids)
        self._finished_requests += ended
        return ended

    def _refuse(self, refusal: RequestRefusal) -> None:
        self._send(EngineCoreOutputs(refusals=[refusal]))

    # ------------------------------------------------------------------ what a front-end may ask

    def _call(self, call: UtilityCall) -> UtilityOutput:
        if call.method not in self.UTILITIES:
            return UtilityOutput(call.call_id, f"there is no utility {call.method!r}")
        try:
            return UtilityOutput(call.call_id, result=getattr(self, call.method)(*call.args))
        except Exception as error:
            return UtilityOutput(call.call_id, f"{call.method} failed: {error!r}")

    # ------------------------------------------------------------------ out

    def _send(self, outputs: EngineCoreOutputs) -> None:
        # With whatever goes out next: an answer must not overtake what it stands behind.
        outputs.finished_requests, self._finished_requests = self._finished_requests, []
        self._output.send_multipart([EngineCoreReplyType.OUTPUTS.value, encode(outputs)])


#: As the server's own lines, and from which process.
LOG_FORMAT = "%(levelname)s %(name)s (engine core, pid %(process)d): %(message)s"


def _executor(setup: CoreSetup) -> Executor:
    scripted = setup.scripted
    if scripted is None:
        if setup.num_threads is not None:
            import torch

            torch.set_num_threads(setup.num_threads)
        return Executor(setup.config)
    runner = ScriptedModelRunner(
        scripted.scripts,
        default=scripted.default,
        block_size=setup.config.cache_config.block_size,
        step_seconds=scripted.step_seconds,
    )
    return Executor(setup.config, runner)


def _watch_lifeline(lifeline: int, directory: str) -> None:
    """Wait until nobody holds the other end any more; then leave nothing behind, and exit."""
    while os.read(lifeline, 1):
        pass
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(0)


def _read_setup(lifeline: int) -> CoreSetup:
    """The first and only message on the lifeline: its length in eight bytes, and the setup."""

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = os.read(lifeline, count - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return data

    return decode_setup(read(int.from_bytes(read(8), "little")))


def main() -> Any:
    r"""The life of a core's process: be told the setup, load, say `READY`, run, say why it ended.

    Signals that a terminal or an init system sends to the whole group are ignored: the front-end
    gets them as well, and decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # Nobody else shall read from the lifeline by accident.
    lifeline = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    setup = _read_setup(lifeline)
    logging.basicConfig(stream=sys.stderr, format=LOG_FORMAT)
    logging.getLogger("mini_vllm").setLevel(setup.log_level)
    threading.Thread(target=_watch_lifeline, args=(lifeline, setup.directory), daemon=True).start()

    # A context of its own: the end waits until it has sent all, and for nothing else.
    output_context = zmq.Context()
    output = output_context.socket(zmq.PUSH)
    output.setsockopt(zmq.SNDHWM, MAX_WAITING_MESSAGES)
    output.setsockopt(zmq.LINGER, LINGER_MS)
    output.connect(setup.output_address)
    try:
        core = EngineCoreProc(setup, zmq.Context(), output)
        ready = CoreReady(
            num_gpu_blocks=core.scheduler.kv_cache_manager.block_pool.num_gpu_blocks,
            max_num_tokens=core.scheduler.max_num_tokens,
        )
        output.send_multipart([EngineCoreReplyType.READY.value, encode(ready)])
        core.run_busy_loop()
    except Exception as error:
        traceback.print_exc()
        last_words = f"{type(error).__name__}: {error}"
        output.send_multipart([EngineCoreReplyType.DEAD.value, last_words.encode(errors="replace")])
        output.close()
        output_context.term()
        sys.stderr.flush()
        # Not sys.exit: threads of the model's libraries may be in no state to be waited for.
        os._exit(1)


if __name__ == "__main__":
    main()
