r"""The pages over HTTP, on loopback: the last good build, and what keeps an open page fresh.

| address | answer |
|---|---|
| `/_live/live.js` | the script that listens and reloads |
| `/_live/events` | server-sent events: which pages changed, whether the build failed |
| `/_live/labs.json` | what the `labs` command has graded |
| any other | a file of the build; in a page, a reference to the script |

Only the machine itself is answered, and under `/_live/` only under its own name: a page of another
site that has a name of its own lead here is refused.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from book.serving.building import Book, complete
from book.serving.events import Events

HOST = "127.0.0.1"
PORTS = range(8000, 8100)
SCRIPT = Path(__file__).with_name("live.js")
_NAMES = {"127.0.0.1", "localhost"}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves one book; says nothing about hits, the terminal is for the builds."""

    protocol_version = "HTTP/1.1"
    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".woff2": "font/woff2",
    }

    def __init__(
        self,
        *args: Any,
        book: Book,
        events: Events,
        labs: Callable[[], dict[str, Any]],
        **settings: Any,
    ) -> None:
        self.book, self.events, self.labs = book, events, labs
        super().__init__(*args, directory=str(book.shown), **settings)

    def do_GET(self) -> None:
        """A file, or one of the three live answers."""
        parts = urlsplit(self.path)
        if not parts.path.startswith("/_live/"):
            super().do_GET()
        elif urlsplit(f"//{self.headers.get('Host', '')}").hostname not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN)
        elif parts.path == "/_live/live.js":
            self._send(SCRIPT.read_bytes(), self.extensions_map[".js"])
        elif parts.path == "/_live/labs.json":
            self._send(json.dumps(self.labs()).encode(), "application/json")
        elif parts.path == "/_live/events":
            self._stream(parse_qs(parts.query).get("seen", [""])[0])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def translate_path(self, path: str) -> str:
        """Decide at every request, so that the full build replaces the quick one under way."""
        shown = complete(self.book.shown)
        self.directory = str(self.book.shown if shown else self.book.quick)
        return super().translate_path(path)

    def send_head(self) -> Any:
        """A page is sent with the script, whose mark changes: it is never "not modified"."""
        path = Path(self.translate_path(self.path))
        address = urlsplit(self.path).path
        if path.is_dir() and address.endswith("/"):
            path /= "index.html"
        if path.suffix != ".html" or not path.is_file():
            return super().send_head()
        script = f'<script defer src="/_live/live.js" data-seen="{self.events.mark}"></script>'
        page = path.read_bytes().replace(b"</head>", script.encode() + b"</head>", 1)
        self._head(page, self.extensions_map[".html"])
        return io.BytesIO(page)

    def list_directory(self, path: Any) -> None:
        """Folders are not listed."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """A rebuilt page is seen at the next reload."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the build's own progress."""

    def _head(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()

    def _send(self, body: bytes, kind: str) -> None:
        self._head(body, kind)
        self.wfile.write(body)

    def _stream(self, seen: str) -> None:
        self.close_connection = True
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):  # the tab has gone
            for text in self.events.stream(self.headers.get("Last-Event-ID") or seen):
                self.wfile.write(text.encode())
                self.wfile.flush()


def serve(
    book: Book, events: Events, labs: Callable[[], dict[str, Any]], port: int | None
) -> http.server.ThreadingHTTPServer:
    """A server on loopback; without a wish, on the first free port from 8000."""
    handler = functools.partial(Handler, book=book, events=events, labs=labs)
    for candidate in [port] if port is not None else PORTS:
        with contextlib.suppress(OSError):
            return http.server.ThreadingHTTPServer((HOST, candidate), handler)
    wish = f"port {port} is" if port is not None else f"ports {PORTS[0]} to {PORTS[-1]} are"
    raise SystemExit(f"{wish} taken on {HOST}; choose another with --port")
