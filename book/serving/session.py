r"""An evening with the book: serve it, build it, watch, build again, until Ctrl+C.

One build at a time. What is saved while a build runs waits for the next. A `labs` command that
grades in another terminal builds nothing: the pages are told, and ask for the new state.
"""

from __future__ import annotations

import threading
from pathlib import Path

from book.labs_state import labs_state
from book.serving.building import Book, Build, complete, conclude, full_build, quick_build
from book.serving.events import Events
from book.serving.mirror import refresh
from book.serving.server import HOST, serve
from book.serving.watching import Watcher

_COMPLAINTS = 8  # that a page is told; the terminal has them all


class Session:
    """A server, a watcher and the builds, with one way to end them all."""

    def __init__(self, book: Book, port: int | None) -> None:
        self.book = book
        self.events = Events()
        self.server = serve(book, self.events, lambda: labs_state(book.source), port)
        self.address = f"http://{HOST}:{self.server.server_address[1]}/"
        self.watcher: Watcher | None = None
        self.build: Build | None = None
        if complete(book.finished):
            self._show()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def run(self, *, watch: bool) -> int:
        """Build, then follow the sources; the exit status of the first full build."""
        # Before the first build, so that nothing saved meanwhile is missed.
        self.watcher = Watcher(self.book.source) if watch else None
        if not complete(self.book.shown):
            self.build = quick_build(self.book)
            if self.build.run() == 0:
                (self.book.quick / ".complete").touch()
                self.events.tell("changed", {"paths": [], "all": True})
        code = self.rebuild()
        note = "" if code == 0 else " The full build failed; what you see is older or incomplete."
        print(f"\n  Reading: {self.address}  (Ctrl+C ends.){note}\n", flush=True)
        if self.watcher is None:
            threading.Event().wait()
        else:
            self.follow(self.watcher)
        return code

    def follow(self, watcher: Watcher) -> None:
        """Build whenever something was saved, until the watcher is stopped."""
        while not watcher.stopped:
            changed = watcher.next()
            if any(watcher.is_labs_state(path) for path in changed):
                self.events.tell("labs", {})
            sources = sorted(p for p in changed if not watcher.is_labs_state(p))
            if sources:
                print(f"saved: {_names(sources, self.book.source)}", flush=True)
                self.rebuild()

    def rebuild(self) -> int:
        """The full build; good pages are shown and told, a failure is told."""
        self.build = full_build(self.book)
        code = self.build.run()
        conclude(self.book, self.build, code)
        if code == 0:
            self._show()
        else:
            complaints = [self._short(line) for line in self.build.complaints[:_COMPLAINTS]]
            self.events.tell("failed", {"complaints": complaints})
        return code

    def close(self) -> None:
        """End the build, the streams, the watcher and the server."""
        if self.build is not None:
            self.build.stop()
        if self.watcher is not None:
            self.watcher.stop()
        self.events.close()
        self.server.shutdown()
        self.server.server_close()

    def _show(self) -> None:
        first = not complete(self.book.shown)
        paths = refresh(self.book.finished, self.book.shown)
        self.events.tell("changed", {"paths": paths, "all": first})

    def _short(self, line: str) -> str:
        return line.replace(f"{self.book.source}/", "")


def _names(paths: list[Path], root: Path) -> str:
    shown = [p.relative_to(root).as_posix() for p in paths[:3]]
    return ", ".join(shown) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
