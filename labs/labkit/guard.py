r"""What happens when a learner's loop never ends?

The test fails, after a few seconds, and says so. Without a guard the first forgotten increment
would hang the terminal, and in CI a whole job.

The guard is an interval timer whose signal handler raises in the main thread, so it ends any loop
that runs Python bytecode. It raises a `BaseException`: a learner's `except Exception` around the
loop must not swallow it, and hypothesis must not try to shrink it. Where there are no POSIX signals
a timer thread interrupts the main one instead.
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TimeLimitExceeded(BaseException):
    r"""The guarded block took longer than it may."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    r"""Raise {py:class}`TimeLimitExceeded` in the block once it has run for `seconds`.

    Works in the main thread only; elsewhere the block runs unguarded. Guards do not nest.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seconds = min([seconds, *_ceilings])
    message = f"stopped after {seconds:g} s: is there a loop that never ends?"
    guard = _by_signal if hasattr(signal, "setitimer") else _by_thread
    with guard(seconds, message):
        yield


_ceilings: list[float] = []


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    r"""Inside the block, no guard waits longer than this."""
    _ceilings.append(seconds)
    try:
        yield
    finally:
        _ceilings.pop()


@contextmanager
def _by_signal(seconds: float, message: str) -> Iterator[None]:
    def stop(signum: int, frame: object) -> None:
        raise TimeLimitExceeded(message)

    before = signal.signal(signal.SIGALRM, stop)
    # Once is not enough: an exception raised inside a `__del__` or a bare `except` is lost.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _by_thread(seconds: float, message: str) -> Iterator[None]:
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if expired.is_set():
            raise TimeLimitExceeded(message) from None
        raise
    finally:
        timer.cancel()
