r"""The guard: it ends what never ends, and leaves everything else alone."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time

import pytest
from labkit import guard
from labkit.guard import TimeLimitExceeded, at_most, time_limit


def spin():
    while True:
        with contextlib.suppress(Exception):
            time.perf_counter()


@pytest.fixture(params=["signals", "a thread"])
def by(request, monkeypatch):
    if request.param == "a thread":
        monkeypatch.delattr(signal, "setitimer")
        monkeypatch.setattr(guard, "PATIENCE", 1)
    return request.param


def test_a_loop_is_ended_though_it_catches_exceptions(by):
    with pytest.raises(TimeLimitExceeded, match=r"stopped after 0.1 s"), time_limit(0.1):
        spin()


def test_a_loop_is_ended_where_interrupts_are_ignored(by):
    """As they are in a job that a script started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(TimeLimitExceeded), time_limit(0.1):
            spin()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def search(haystack):
    found = 0
    for straw in haystack:
        if straw:
            found += 1


def search_and_stumble(haystack):
    try:
        search(haystack)
    finally:
        raise KeyError("the farm")


@pytest.mark.parametrize("looking", [search, search_and_stumble])
def test_who_is_stopped_at_a_jump_is_at_the_head_of_the_loop_or_where_the_jump_has_a_line(looking):
    r"""In Python 3.11 the jump back from a condition that fails belongs to no line.

    `tb_lineno` is `None` there, and the loop's head takes its place. In 3.13 the jump belongs to
    the condition, and that line stays.
    """
    with pytest.raises((TimeLimitExceeded, KeyError)) as raised, time_limit(0.1):
        looking(itertools.repeat(0))
    stopped = raised.value if looking is search else raised.value.__context__
    assert isinstance(stopped, TimeLimitExceeded)
    code, trace = search.__code__, stopped.__traceback__
    while trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    (own, *_), *_ = itertools.islice(code.co_positions(), trace.tb_lasti // 2, None)
    if sys.version_info < (3, 12):
        assert own is None
    assert trace.tb_lineno == (own or code.co_firstlineno + 2)
    head, condition = "for straw in haystack", "if straw"
    assert (condition if own else head) in str(raised.getrepr(style="short"))


def test_an_exception_that_is_its_own_cause_comes_out():
    caught = []

    def stumble():
        try:
            with time_limit(1):
                try:
                    raise KeyError("the farm")
                except KeyError as error:
                    raise error from error
        except KeyError as error:
            caught.append(error)

    # The guard has let go when causes are followed, so nothing would end this thread.
    thread = threading.Thread(target=stumble, daemon=True)
    thread.start()
    thread.join(10)
    assert [error.__cause__ is error for error in caught] == [True]


def test_waiting_for_nothing_is_ended_by_the_wall_clock(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 2)
    start = time.perf_counter()
    with pytest.raises(TimeLimitExceeded), time_limit(0.1):
        time.sleep(30)
    assert time.perf_counter() - start < 5


def test_what_ends_in_time_is_left_alone(by):
    before = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGPROF)
    with time_limit(0.2):
        pass
    time.sleep(0.3)
    assert (signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGPROF)) == before


def test_an_exception_passes(by):
    with pytest.raises(KeyError), time_limit(5):
        raise KeyError("mine")


def test_a_ceiling_shortens_every_guard_inside():
    with at_most(0.1), pytest.raises(TimeLimitExceeded, match=r"0.1 s"), time_limit(60):
        spin()


def test_outside_the_main_thread_the_block_runs_unguarded():
    ran = []

    def work():
        with time_limit(0.01):
            time.sleep(0.05)
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [True]
