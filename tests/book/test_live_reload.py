"""A saved source in front of an open page: it reloads by itself, and nothing is left at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from book.serving.building import Book, complete
from book.serving.session import Session

psutil = pytest.importorskip("psutil", reason="comes with the book's own requirements")

ENDLESS = """\
---
file_format: mystnb
kernelspec: {name: python3, display_name: Python 3, language: python}
---
# Endless

```{code-cell} python
import pathlib, time
pathlib.Path("begun").touch()
time.sleep(60)
```
"""
SERVE = """\
import signal, sys
# A shell without a terminal starts what runs in the background deaf to Ctrl+C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
sys.path.insert(0, {root!r})
from book.serve import main
from book.serving.building import Book
source = Path({source!r})
sys.exit(main([], Book(source, source / "_build")))
"""


@pytest.fixture
def session(site, monkeypatch):
    """The small site, built, served and watched."""
    monkeypatch.setenv("BOOK_ROOT", str(site.root))
    lines = "\n\n".join(f"Line {n}." for n in range(200))
    site.write("long.md", f"# Long\n\nThe first.\n\n{lines}\n")
    site.write("index.md", "# Sample\n\n```{toctree}\nwoven\nquestions\nrest\nlong\n```\n")
    book = Book(site.source, site.source / "_build")
    made = Session(book, None)
    thread = threading.Thread(target=made.run, kwargs={"watch": True}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not complete(book.shown):
        assert time.monotonic() < deadline, "the small site was not built"
        time.sleep(0.1)
    yield made
    made.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.browser
def test_a_page_reloads_by_itself_where_it_was_and_only_for_its_own_sake(site, session, browser):
    page = browser.new_page()
    page.goto(f"{session.address}long.html")
    page.evaluate("window.sameDocument = true; scrollTo(0, 1500)")

    site.write("rest.md", (site.source / "rest.md").read_text() + "\nA sentence elsewhere.\n")
    other = browser.new_page()
    other.goto(f"{session.address}rest.html")
    other.get_by_text("A sentence elsewhere.").wait_for(timeout=60_000)
    assert page.evaluate("window.sameDocument")

    before = (site.source / "long.md").read_text()
    site.write("long.md", before.replace("The first.", "The second."))
    page.get_by_text("The second.").wait_for(timeout=60_000)
    page.wait_for_function("Math.abs(scrollY - 1500) < 40")
    assert page.evaluate("window.sameDocument") is None

    # A page that does not build stays as it was, and says so until it is mended.
    page.evaluate("window.sameDocument = true")
    site.write("long.md", before.replace("The first.", "See {ref}`nowhere`."))
    banner = page.locator(".live-banner")
    banner.wait_for(timeout=60_000)
    banner.locator("summary").click()
    assert "long.md" in banner.inner_text()
    assert page.get_by_text("The second.").count() == 1
    # Another page that is saved meanwhile does not make it good.
    site.write("rest.md", (site.source / "rest.md").read_text() + "\nOne more.\n")
    other.wait_for_selector(".live-banner", timeout=60_000)
    time.sleep(3)
    assert banner.count() == 1
    assert page.evaluate("window.sameDocument")
    site.write("long.md", before.replace("The first.", "The third."))
    page.get_by_text("The third.").wait_for(timeout=60_000)
    assert page.locator(".live-banner").count() == 0
    page.close()
    other.close()


@pytest.mark.browser
def test_a_graded_lab_reaches_the_page_without_a_build(site, session, browser):
    page = browser.new_page()
    page.add_init_script(
        "window.told = [];"
        "document.addEventListener('labs-state', (e) => window.told.push(e.detail))"
    )
    page.goto(session.address)
    page.wait_for_function("window.told.length === 1")
    (site.source / ".labs").mkdir(exist_ok=True)
    (site.source / ".labs" / "progress.json").write_text("{}")
    page.wait_for_function("window.told.length === 2")
    assert page.evaluate("window.told[1].version") == 1
    page.close()


def test_ctrl_c_in_the_middle_of_a_notebook_leaves_no_process(site):
    site.write("endless.md", ENDLESS)
    site.write("index.md", "# Sample\n\n```{toctree}\nwoven\nquestions\nrest\nendless\n```\n")
    code = SERVE.format(root=str(site.root), source=str(site.source))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "BOOK_ROOT": str(site.root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not (site.source / "begun").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2  # Sphinx and a kernel
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    finally:
        process.kill()
