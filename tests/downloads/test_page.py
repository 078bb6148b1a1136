"""The order of reading, and the site's page of downloads: what is there, and only that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes

from book._ext import downloads
from book._ext.contents import AfterTheSections, in_order


def environment(includes: dict[str, list[str]]):
    """What Sphinx knows of pages, as far as an order needs it."""
    names = {"index", *includes, *(n for below in includes.values() for n in below)}
    titles = {name: nodes.title("", name.upper()) for name in names}
    config = SimpleNamespace(root_doc="index")
    return SimpleNamespace(config=config, titles=titles, toctree_includes=includes)


def test_pages_come_in_the_order_of_the_tables_of_contents():
    env = environment({"index": ["a", "b"], "a": ["a/x"], "a/x": ["a/x/y"]})
    rows = [(r["page"], r["title"], r["depth"]) for r in in_order(env, "index")]
    assert rows == [
        ("index", "INDEX", 0),
        ("a", "A", 0),
        ("a/x", "A/X", 1),
        ("a/x/y", "A/X/Y", 2),
        ("b", "B", 0),
    ]


def listed(hidden: bool, *entries: str) -> nodes.compound:
    """A list of pages, as the directive leaves it."""
    wrapper = nodes.compound(classes=["toctree-wrapper"])
    wrapper += addnodes.toctree(hidden=hidden, entries=[(None, entry) for entry in entries])
    return wrapper


def test_a_hidden_list_of_pages_comes_after_the_sections():
    document = new_document("guide")
    shown, first, second = listed(False, "x"), listed(True, "a", "b"), listed(True, "c")
    inner = nodes.section("", nodes.title("", "Two"), second, ids=["two"])
    one = nodes.section("", nodes.title("", "One"), ids=["one"])
    document += nodes.section("", nodes.title("", "Guide"), shown, first, one, inner)
    AfterTheSections(document).apply()
    page = document[0]
    assert list(page)[1:] == [shown, one, inner, first, second]
    assert list(inner) == [inner[0]]


@pytest.fixture
def app(tmp_path):
    """An application with an empty build folder."""
    folder = tmp_path / "_build" / "downloads"
    folder.mkdir(parents=True)
    return SimpleNamespace(
        srcdir=tmp_path,
        outdir=tmp_path / "html",
        config=SimpleNamespace(build_state="_build"),
        builder=SimpleNamespace(name="html"),
        env=SimpleNamespace(metadata={"book/reference/downloads": {"downloads": "{}"}}),
        folder=folder,
    )


def page_with(kind: str):
    document = nodes.container()
    document += nodes.paragraph("", "", nodes.strong(kind, kind))
    return document


def test_a_file_that_is_there_is_linked_and_taken_along(app):
    (app.folder / "inside-the-engine.epub").write_bytes(b"x" * 1_250_000)
    app.outdir.mkdir()
    page = page_with("ePub")
    downloads.link(app, page, "book/reference/downloads")
    downloads.take_along(app, None)
    reference = next(page.findall(nodes.reference))
    assert reference["refuri"] == "../../downloads/inside-the-engine.epub"
    assert reference.astext() == "ePub"
    assert (app.outdir / "downloads" / "inside-the-engine.epub").is_file()
    assert downloads.found(app) == {"inside-the-engine.epub": "1.2 MB"}


def test_nothing_is_linked_that_is_not_there(app):
    app.outdir.mkdir()
    page = page_with("ePub")
    downloads.link(app, page, "book/reference/downloads")
    downloads.take_along(app, None)
    assert not list(page.findall(nodes.reference))
    assert not (app.outdir / "downloads").exists()


def test_an_edition_does_not_link_to_itself(app):
    (app.folder / "inside-the-engine.epub").write_bytes(b"x")
    app.builder.name = "epub"
    page = page_with("ePub")
    downloads.link(app, page, "book/reference/downloads")
    assert not list(page.findall(nodes.reference))


def test_the_page_is_read_again_when_a_file_came(app):
    page = "book/reference/downloads"
    env = SimpleNamespace(metadata=app.env.metadata, found_docs={page})
    assert downloads.outdated(app, env) == []
    (app.folder / "inside-the-engine.apkg").write_bytes(b"x")
    assert downloads.outdated(app, env) == [page]
