"""What the site says in the head of every page is no part of a page of the ePub."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]


def test_a_page_of_the_epub_runs_no_script(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "epub"
    source.mkdir()
    (source / "index.rst").write_text("Title\n=====\n\nText.\n", encoding="utf-8")
    settings = {
        "extensions": ["book._ext.epub_edition"],
        "templates_path": [str(ROOT / "book" / "_templates")],
        "version": "1",
        "epub_uid": "one-page",
    }
    trees = tmp_path / "trees"
    Sphinx(str(source), None, str(out), str(trees), "epub", settings, status=None).build()
    page = (out / "index.xhtml").read_text(encoding="utf-8")
    assert "Text." in page
    assert "<script" not in page
