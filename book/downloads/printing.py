r"""One HTML page to a PDF, by Chromium.

No browser yet knows `target-counter`, the page number of another place. So the book is printed
once to learn where everything stands, the numbers are written into the page, and it is printed
again. The second print must put everything where the first one did; if a number moved something,
there is another round, and three in a row are an error.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from book.downloads.pdf_file import destinations, page_count

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
ROUNDS = 4
_FILL = """(numbers) => {
  const missing = [];
  for (const link of document.querySelectorAll("a.page-number")) {
    const number = numbers[decodeURIComponent(link.hash.slice(1))];
    if (number === undefined) missing.push(link.hash);
    link.dataset.page = number ?? "?";
  }
  return missing;
}"""
_HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => h.textContent)"


class PrintingFailed(RuntimeError):
    """The browser is missing, or the page numbers do not settle."""


def browser_program() -> str:
    """Where Chromium is; `CHROMIUM` names another."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise PrintingFailed("no Chromium on this machine; the PDF is printed by it")
    return found


def print_page(source: Path, target: Path, say: Any = print) -> list[str]:
    """Print `source` to `target`; its headings, in the order of the book."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser_program(), args=ARGUMENTS)
        try:
            page = chromium.new_page()
            page.set_default_timeout(600_000)
            page.goto(source.resolve().as_uri(), wait_until="load")
            page.evaluate("document.fonts.ready.then(() => true)")
            numbers: dict[str, int] = {}
            for turn in range(1, ROUNDS + 1):
                page.evaluate(_FILL, numbers)
                page.pdf(
                    path=str(target),
                    prefer_css_page_size=True,
                    print_background=True,
                    outline=True,
                    tagged=True,
                )
                found = destinations(target)
                say(f"round {turn}: {page_count(target)} pages")
                if found == numbers:
                    missing = page.evaluate(_FILL, numbers)
                    if missing:
                        raise PrintingFailed(f"no page for {', '.join(missing[:5])}")
                    return page.evaluate(_HEADINGS)
                numbers = found
        finally:
            chromium.close()
    raise PrintingFailed(f"page numbers still move after {ROUNDS} rounds")


def photograph(source: Path, target: Path, width: int, height: int) -> None:
    """A page as a picture of this many pixels."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser_program(), args=ARGUMENTS)
        try:
            page = chromium.new_page(viewport={"width": width, "height": height})
            page.goto(source.resolve().as_uri(), wait_until="load")
            page.screenshot(path=str(target))
        finally:
            chromium.close()
