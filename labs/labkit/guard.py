r"""What happens when a learner's loop never ends?

The test fails, after a few seconds, and says so. Without a guard the first forgotten increment
would hang the terminal, and in CI a whole job.

The seconds are those of the processor, since a machine that is busy with something else must fail
nobody; only a test that waits for something which never comes, using no processor at all, is ended
by the clock on the wall, later. Both are interval timers whose signal handler raises in the main
thread, so they end any loop that runs Python bytecode. What is raised is a `BaseException`: a
learner's `except Exception` around the loop must not swallow it, and hypothesis must not try to
shrink it. Where there are no POSIX signals a timer thread interrupts the main one instead.

An exception that comes from outside may strike at an instruction that belongs to no line, such as
the jump back to the head of a loop; its traceback then says `None` where a line number is due (-1
in the first releases of Python 3.11), and whoever prints it fails over that. Such an entry is given
the line that the jump goes to.
"""

from __future__ import annotations

import _thread
import dis
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import CodeType, TracebackType


class TimeLimitExceeded(BaseException):
    r"""The guarded block took longer than it may."""


# A test that sleeps or waits uses no processor; the wall clock gives it this many times as long.
PATIENCE = 10


def time_limit(seconds: float) -> AbstractContextManager[None]:
    r"""Raise {py:class}`TimeLimitExceeded` in the block once it has computed for `seconds`.

    Works in the main thread only; elsewhere the block runs unguarded. Guards do not nest.
    """
    return _WithLines(_guarded(seconds))


@contextmanager
def _guarded(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seconds = min([seconds, *_ceilings])
    message = f"stopped after {seconds:g} s: is there a loop that never ends?"
    guard = _by_signal if hasattr(signal, "setitimer") else _by_thread
    with guard(seconds, message):
        yield


class _WithLines(AbstractContextManager[None]):
    """Enters and leaves a guard, and gives lines to what comes out of it.

    A class, because what a generator does to the traceback, `contextmanager` takes back.
    """

    def __init__(self, guard: AbstractContextManager[None]) -> None:
        self.guard = guard

    def __enter__(self) -> None:
        self.guard.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.guard.__exit__(kind, error, trace)
        _give_lines(error)


def _give_lines(error: BaseException | None) -> None:
    """Put a line number wherever the traceback has none; also in what was raised before."""
    seen: set[int] = set()
    # An exception may be its own cause: `raise error from error`.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        entries, trace = [], error.__traceback__
        while trace is not None:
            entries.append(trace)
            trace = trace.tb_next
        if not all(_has_line(entry) for entry in entries):
            for entry in reversed(entries):
                frame, place = entry.tb_frame, entry.tb_lasti
                line = entry.tb_lineno if _has_line(entry) else _line_of(frame.f_code, place)
                trace = TracebackType(trace, frame, place, line)
            error.__traceback__ = trace
        error = error.__cause__ or error.__context__


def _has_line(entry: TracebackType) -> bool:
    line: int | None = entry.tb_lineno
    return line is not None and line > 0


def _line_of(code: CodeType, place: int) -> int:
    """The line that a jump goes to; of what is no jump, the function's own."""
    instructions = {each.offset: each for each in dis.get_instructions(code)}
    here = instructions.get(place)
    target = instructions.get(here.argval) if here and here.opcode in dis.hasjrel else None
    line = target.positions.lineno if target and target.positions else None
    return line or code.co_firstlineno


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

    timers = [
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, seconds * PATIENCE),
    ]
    before = [signal.signal(number, stop) for number, _, _ in timers]
    for _, timer, limit in timers:
        # Once is not enough: an exception raised inside a `__del__` or a bare `except` is lost.
        signal.setitimer(timer, limit, 1.0)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(timers, before):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


@contextmanager
def _by_thread(seconds: float, message: str) -> Iterator[None]:
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        _thread.interrupt_main()

    # A job in the background of a script is started with Ctrl-C ignored, and then the interruption
    # would be ignored as well.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(seconds * PATIENCE, stop)
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if expired.is_set():
            raise TimeLimitExceeded(message) from None
        raise
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
