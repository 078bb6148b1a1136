"""The built book on loopback, and a headless Chromium in front of it."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Address of the built book."""
    if not (HTML / "index.html").is_file():
        pytest.skip("the book is not built: python book/serve.py --build-only")
    handler = functools.partial(Quiet, directory=str(HTML))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()


@dataclass
class Watched:
    """A tab, and what went wrong in it."""

    page: object
    address: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, name: str) -> object:
        """Go to a page of the book."""
        self.page.goto(self.address + name, wait_until="load")
        return self.page

    def open_first(self, part: str) -> object:
        """Go to the first page whose path has `part` in it; skip where the build has none."""
        return self.open(find_page(part))


@pytest.fixture
def tab(browser, address) -> Iterator[Watched]:
    """A fresh tab of its own profile, 1440 wide, in the light."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    watched = Watched(context.new_page(), address)
    watched.page.on(
        "request",
        lambda r: (
            None if r.url.startswith((address, "data:", "blob:")) else watched.foreign.append(r.url)
        ),
    )
    watched.page.on(
        "console",
        lambda m: watched.errors.append(m.text) if m.type in {"error", "warning"} else None,
    )
    watched.page.on("pageerror", lambda e: watched.errors.append(str(e)))
    watched.page.on("requestfailed", lambda r: watched.errors.append(f"failed: {r.url}"))
    yield watched
    context.close()


def find_page(part: str) -> str:
    """A page whose path has `part` in it."""
    found = next((p for p in all_pages() if part in f"/{p}"), None)
    if found is None:
        pytest.skip(f"no page {part} in this build")
    return found


@pytest.fixture
def first_page():
    """The function that finds a page by a part of its path."""
    return find_page


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`any_page` stands for every page of the build, `page_type` for one of each kind."""
    if "any_page" in metafunc.fixturenames:
        metafunc.parametrize("any_page", all_pages())
    if "page_type" in metafunc.fixturenames:
        metafunc.parametrize("page_type", page_types())


def all_pages() -> list[str]:
    """Every HTML page of the built book, upstream's files aside (`test_local_pages.py`)."""
    if not HTML.is_dir():
        return ["index.html"]
    names = (p.relative_to(HTML) for p in HTML.rglob("*.html"))
    found = sorted(p.as_posix() for p in names if p.parts[0] not in {"_static", "upstream"})
    return found or ["index.html"]


def page_types() -> list[str]:
    """One page of each kind: the tests that drive the browser for long look at these."""
    wanted = [
        "/index.html",
        "/00-guide.html",
        "/01-deep-dive.html",
        "/02-mini-build.html",
        "/EXERCISES.html",
        "/INTERVIEW.html",
        "/CHEATSHEET.html",
        "labs/README",
        "lab-",
        "reference/engine.html",
        "reference/invariants.html",
        "reference/anchors.html",
        "reference/anchors-core.html",
        "reference/drift.html",
        "reference/codebase-map.html",
        "reference/believed.html",
        "reference/correspondence.html",
        "reference/recall.html",
        "reference/minutes.html",
        "reference/papers.html",
        "reference/downloads.html",
        "/rehearsal.html",
        "/book/CAREER.html",
        "inference-internals/",
        "/book/model/index.html",
        "genindex.html",
        "search.html",
    ]
    pages = all_pages()
    chosen = []
    for want in wanted:
        found = (p for p in pages if want in f"/{p}" and p not in chosen)
        match = want[1:] if want[1:] in pages else next(found, None)
        if match:
            chosen.append(match)
    upstream = sorted((HTML / "upstream").rglob("*.py.html"))
    return chosen + [p.relative_to(HTML).as_posix() for p in upstream[:1]]
