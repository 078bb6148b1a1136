r"""What open pages are told, in order, and again to a page that was not listening.

A page that was loaded before event 7 and asks after it gets event 7. So nothing is lost between
the loading of a page and its first question, nor while a hidden tab is silent. A page that an
earlier server sent knows another run's numbers: it is told that everything has changed.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

KEPT = 200  # events that a page may have missed; after more it is told to reload
HEARTBEAT = 15.0  # seconds: how soon a tab that has gone is noticed


class Events:
    """A numbered list of events, and the pages that wait for the next."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self._events: deque[tuple[int, str, Any]] = deque(maxlen=KEPT)
        self._last = 0
        self._failure: tuple[int, str, Any] | None = None
        self._closed = False
        self._news = threading.Condition()

    @property
    def mark(self) -> str:
        """Names this moment: what a page that is sent now has seen."""
        return f"{self.run}:{self._last}"

    def tell(self, kind: str, data: Any) -> None:
        """Tell every open page."""
        with self._news:
            self._last += 1
            self._events.append((self._last, kind, data))
            if kind in {"changed", "failed"}:
                self._failure = self._events[-1] if kind == "failed" else None
            self._news.notify_all()

    def close(self) -> None:
        """End all streams."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def stream(self, seen: str) -> Iterator[str]:
        """Server-sent events after `seen`, until `close`; a comment when all is silent."""
        run, _, number = seen.partition(":")
        last = int(number) if run == self.run and number.isdigit() else None
        if last is None or self._forgotten(last):
            last = self._last
            yield self._text(last, "changed", {"paths": [], "all": True})
        elif self._failure is not None and self._failure[0] <= last:
            yield self._text(last, *self._failure[1:])  # as true for a page that came later
        while True:
            with self._news:
                if not self._closed and self._last == last:
                    self._news.wait(HEARTBEAT)
                if self._closed:
                    return
                news = [event for event in self._events if event[0] > last]
                last = self._last
            yield "".join(self._text(*event) for event in news) or ": still here\n\n"

    def _forgotten(self, last: int) -> bool:
        """Whether events after `last` are no longer kept."""
        return last < self._last and (not self._events or self._events[0][0] > last + 1)

    def _text(self, number: int, kind: str, data: Any) -> str:
        return f"id: {self.run}:{number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
