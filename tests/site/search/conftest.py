"""The thirty queries, and a tab of the built book in which the search is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def queries() -> list[dict[str, Any]]:
    """What readers ask, and the pages that answer."""
    return tomllib.loads((HERE / "queries.toml").read_text(encoding="utf-8"))["query"]


@pytest.fixture(scope="session")
def questions() -> list[dict[str, Any]]:
    """What somebody asks who does not know the book's words, and the pages that answer."""
    return tomllib.loads((HERE / "questions.toml").read_text(encoding="utf-8"))["query"]


class Asked:
    """The search of the built book, asked from a test."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def pages(self, *queries: str, most: int = 60) -> list[list[str]]:
        """For each query the names of the pages, best first."""
        return self.page.evaluate(
            "([queries, most]) => queries.map("
            "(q) => BookSearch.ranking.rank(q, most).map((page) => page.name))",
            [list(queries), most],
        )

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """Run a script where the search is loaded."""
        return self.page.evaluate(script, argument)


@pytest.fixture(scope="session")
def search(browser, address) -> Iterator[Asked]:
    """The ranking code and the index, as a browser loads them from the built book."""
    page = browser.new_page()
    page.goto(address + "search.html?q=engine")
    page.wait_for_selector("#search-results li")
    # The index is let go of once it has been taken apart; the tests read it as it was written.
    raw = page.evaluate(
        "async () => { await new Promise((done) => { const s = document.createElement('script');"
        " s.src = 'search-index.js'; s.onload = done; document.head.append(s); });"
        " return BookSearch.index; }"
    )
    asked = Asked(page)
    asked.raw = raw  # type: ignore[attr-defined]
    yield asked
    page.close()
