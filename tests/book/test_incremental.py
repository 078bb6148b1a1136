"""After an edit, what was built on top of the last build is what a build from nothing makes."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from book._ext import quantities

THEME = """
html_theme = "sphinx_book_theme"
extensions += ["book._ext.sidebar"]
templates_path = [os.environ["BOOK_ROOT"] + "/book/_templates"]
html_context = {"book_mark": ""}
html_theme_options = {"use_source_button": False}
"""
LISTED = (
    "# Listed\n\n```{listing} sample.shapes.Box.grow\n```\n\nSee {py:func}`sample.shapes.pack`.\n"
)


@pytest.fixture
def book(site):
    """The sample site as the book is built: the theme, the contents, a chapter with a listing."""
    site.write("conf.py", (site.source / "conf.py").read_text() + THEME)
    site.write("listed.md", LISTED)
    site.write("going.md", "# Going\n")
    edit(site, "index.md", "rest\n", "rest\nlisted\ngoing\n")
    site.build()
    return site


def edit(site, name: str, old: str, new: str) -> None:
    text = (site.source / name).read_text()
    assert old in text
    site.write(name, text.replace(old, new, 1))


def pages(site) -> dict[str, str]:
    """Every page by its name; the theme has snippets among its static files."""
    files = [p for p in site.html.rglob("*.html") if "_static" not in p.parts]
    return {p.relative_to(site.html).as_posix(): p.read_text() for p in files}


def test_an_edit_reads_what_it_concerns_and_leaves_no_page_behind(book):
    """Four builds, since all that a build remembers is to be used, and once nothing of it."""
    edit(book, "questions.md", "Why is it", "But why is it")
    # Below the lines that a chapter lists, of an object that the reference page prints.
    edit(book, "sample/shapes.py", "How much room", "How much room, in all,")
    book.build()
    assert book.read == {"questions", "rest", "woven"}
    assert "in all" in book.page("rest")

    # Above them: the listing shows other line numbers. An id, a line of code, a title changes, a
    # page goes, and one comes.
    edit(book, "sample/shapes.py", "Width times height;", "Width\n        times height;")
    edit(book, "questions.md", "{question} first", "{question} renamed")
    edit(book, "woven.md", "{q}`first`", "{q}`renamed`")
    edit(book, "sample/shapes.py", "taller += step", "taller += step + 0")
    edit(book, "woven.md", "taller += step", "taller += step + 0")
    (book.source / "going.md").unlink()
    book.write("coming.md", "# Coming\n")
    edit(book, "index.md", "going\n", "coming\n")
    edit(book, "rest.md", "# The rest", "# All the rest")
    book.build()
    assert {"listed", "woven", "questions", "coming"} <= book.read
    (book.html / "going.html").unlink()  # Sphinx leaves what it wrote before

    built = pages(book)
    assert all("Coming</a>" in text and "All the rest</a>" in text for text in built.values())
    shutil.rmtree(book.source / "_build")
    book.build()
    fresh = pages(book)
    assert sorted(built) == sorted(fresh)
    assert [name for name in built if built[name] != fresh[name]] == []


def numbers(env, monkeypatch, code: dict[str, str]) -> list[str]:
    monkeypatch.setattr(quantities, "code_by_module", lambda tree: code)
    return quantities.outdated(SimpleNamespace(srcdir="."), env)


def test_a_page_is_read_again_if_a_number_a_description_or_a_table_would_differ(monkeypatch):
    module = "book.quantities.llama"
    env = SimpleNamespace(docname="page", found_docs={"page"})
    quantities.note_print(env, "llama3-8b-kv-bytes-per-token in KiB")
    quantities.note_print(env, "table 2")
    assert numbers(env, monkeypatch, {module: "1"}) == []  # computed anew, and the same
    printed = env.quantity_prints["page"]
    for request in printed:
        for where, text in list(printed[request].items()):
            printed[request][where] = f"{text} as it was"
            assert numbers(env, monkeypatch, {module: "1", where: str(env.quantity_code)}) != []
            assert numbers(env, monkeypatch, dict(env.quantity_code)) == []  # no code has changed
            printed[request][where] = text
    # A number more in a table, a module less.
    env.quantity_prints["page"]["table 2"].pop(next(iter(printed["table 2"])))
    assert numbers(env, monkeypatch, dict.fromkeys(env.quantity_code, "2")) == ["page"]
