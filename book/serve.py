"""Build the book with progress, and serve it on loopback; build again when a source is saved.

The first pass leaves the notebooks unexecuted: in well under a minute every page can be read, with
the outputs of its cells missing. It is served at once. Then the full build runs, warnings as
errors, and takes its place. From then on whatever is saved is built, and the open pages that it
changes reload themselves. A build that fails says so and leaves the pages as they were.

    python book/serve.py [--build-only] [--port N] [--once]
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# As a script, this file finds its own folder on the path and not the repository.
for _folder in (ROOT, ROOT / "labs"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

from book.serving.building import Book, conclude, full_build  # noqa: E402
from book.serving.session import Session  # noqa: E402


def build_only(book: Book) -> int:
    """The full build and nothing else; its exit status."""
    build = full_build(book)
    try:
        code = build.run()
    finally:
        build.stop()
    conclude(book, build, code)
    return code


def stay(book: Book, port: int | None, *, watch: bool) -> int:
    """Serve and build until Ctrl+C."""
    session = Session(book, port)
    print(
        f"\n  The book will be at {session.address} as soon as its first pages are built.\n",
        flush=True,
    )
    try:
        return session.run(watch=watch)
    except KeyboardInterrupt:
        print()
        return 0
    finally:
        session.close()


def main(arguments: list[str] | None = None, book: Book | None = None) -> int:
    """Parse, then build, or build and serve."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--build-only", action="store_true", help="stop after the full build")
    parser.add_argument("--port", type=int, help="serve on this port of loopback")
    parser.add_argument("--once", action="store_true", help="do not build again when one saves")
    chosen = parser.parse_args(arguments)
    if chosen.port is not None and not 1 <= chosen.port <= 65535:
        parser.error(f"--port {chosen.port}: a port is a number from 1 to 65535")

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)  # ends as tidily as Ctrl+C does
    book = book or Book()
    try:
        if chosen.build_only:
            return build_only(book)
        return stay(book, chosen.port, watch=not chosen.once)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
