r"""How does a server begin, and how does it end?

**It begins** by taking its port, before it loads anything: a port that is in use should cost a
second and not a minute. It listens when the engine is ready, and then prints one line,
`READY http://127.0.0.1:8000`, which a script can wait for; with `--port 0` the system chooses, and
the line is how you learn which.

**It ends** in one of these ways, and the exit status says in which:

| status | what happened |
|---|---|
| 0 | SIGTERM or SIGINT came, and no answer is open any more |
| 1 | it never began: a flag, the checkpoint or the port was refused |
| 70 | the engine died, and every open answer with it |
| 128 + n | a second signal came while it was draining: it ended at once |

Draining is the long one. From the first signal new requests hear 503 and `/health` says 503, so
that a balancer looks elsewhere, while the answers that are open are finished. After
`--shutdown-timeout` seconds those that are left are cut, each with an error.

A dead engine is found twice: by every open request, which fails at once, and by a watchdog that
looks between requests ({up}`vllm/entrypoints/launcher.py#watchdog_loop`, every five seconds there).
The server exits rather than stay up and refuse: whoever started it knows how to start it again.

Upstream: {up}`vllm/entrypoints/launcher.py#serve_http`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from mini_vllm.entrypoints.openai.admission import Admission
from mini_vllm.errors import ConfigError

logger = logging.getLogger("mini_vllm.server")

#: Exit status when the engine died; `sysexits.h` calls it `EX_SOFTWARE`.
ENGINE_DEAD = 70
#: Seconds between two looks at the engine.
WATCHDOG_INTERVAL = 0.2
#: Seconds that open connections have to take their last bytes.
LAST_BYTES = 2.0


class QuietServer(uvicorn.Server):
    """Uvicorn without its own signal handlers: what a signal means is decided here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


def bind(host: str, port: int) -> socket.socket:
    r"""Take a port; nothing is accepted on it yet.

    Raises {py:class}`~mini_vllm.errors.ConfigError` when it cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        taken = socket.socket(family, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host} port {port}: {error}") from error
    return taken


def address(taken: socket.socket) -> str:
    """The URL of a port that was taken."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_http(
    app: FastAPI,
    taken: socket.socket,
    engine: Any,
    admission: Admission,
    *,
    shutdown_timeout: float,
    **uvicorn_options: Any,
) -> int:
    r"""Serve until a signal, or until the engine dies; returns the exit status.

    Does not shut the engine down.
    """
    options = {"timeout_graceful_shutdown": int(LAST_BYTES), "ws": "none", **uvicorn_options}
    server = QuietServer(uvicorn.Config(app, lifespan="off", **options))
    signals: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _signalled, signals, number)
    serving = asyncio.ensure_future(server.serve(sockets=[taken]))
    ending = asyncio.ensure_future(_end(engine, admission, signals, shutdown_timeout))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        print(f"READY {address(taken)}", flush=True)
        await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
            return 1
        status = ending.result()
        server.should_exit = True
        server.force_exit = status > 128
        await serving
        return status
    finally:
        ending.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _signalled(signals: asyncio.Queue[int], number: int) -> None:
    if not signals.empty():
        # The first has not even been looked at: the loop is stuck, or somebody is in a hurry.
        os._exit(128 + number)
    signals.put_nowait(number)


async def _end(
    engine: Any, admission: Admission, signals: asyncio.Queue[int], shutdown_timeout: float
) -> int:
    """Wait for a reason to end; bring the open answers to theirs; return the exit status."""
    status = 0
    first = asyncio.ensure_future(signals.get())
    died = asyncio.ensure_future(_watch(engine))
    await asyncio.wait((first, died), return_when=asyncio.FIRST_COMPLETED)
    if first.done():
        name = signal.Signals(first.result()).name
        logger.warning("%s: draining, %d answers are open", name, admission.open)
        second = asyncio.ensure_future(signals.get())
        drained = asyncio.ensure_future(admission.drain(shutdown_timeout))
        await asyncio.wait((second, drained, died), return_when=asyncio.FIRST_COMPLETED)
        if second.done():
            status = 128 + second.result()
        elif drained.done() and not drained.result():
            logger.warning("after %g s, %d answers are cut", shutdown_timeout, admission.open)
        second.cancel()
        drained.cancel()
    if died.done():
        logger.critical("the engine died: %s", engine.dead_error)
        # Every open request hears it from the engine; cut only what does not listen.
        await admission.drain(LAST_BYTES)
        status = ENGINE_DEAD
    first.cancel()
    died.cancel()
    admission.cut_all()
    return status


async def _watch(engine: Any) -> None:
    """Return when the engine has died."""
    while not engine.errored:
        await asyncio.sleep(WATCHDOG_INTERVAL)
