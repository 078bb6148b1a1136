"""The contents that are made once for all pages are, on each page, those of the theme."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("sphinx", reason="the book's own requirements are not installed")

from sphinx.testing.util import SphinxTestApp

from book._ext.sidebar import of_theme

OPTIONS: dict[str, Any] = {
    "maxdepth": 4,
    "collapse": False,
    "includehidden": True,
    "titles_only": True,
}
PAGES = {
    "index": "# Home\n\n```{toctree}\n:hidden:\n:caption: Parts & more\n\none/guide\nlast\n"
    "Elsewhere <https://example.org/>\n```\n\n```{toctree}\n:caption: Again\n\nagain\n```\n",
    "one/guide": "# One `code` & <more>\n\n```{toctree}\n:hidden:\n\nlabs/list\nend\n```\n",
    "one/labs/list": "# Labs\n\n```{toctree}\n\nlab\n```\n",
    "one/labs/lab": "# A lab\n\n## A section\n",
    "one/end": "# The end\n",
    "last": "# Last\n\n```{toctree}\nbelow\n```\n",
    "below": "# Below\n",
    "again": "# Again, with *the same* below\n\n```{toctree}\nOther words <below>\n```\n",
    "alone": "---\norphan: true\n---\n# In no table\n",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Page to what ours and what the theme's function gives, while the site is written."""
    source = tmp_path_factory.mktemp("contents")
    for name, text in PAGES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    (source / "conf.py").write_text(
        "extensions = ['myst_parser', 'book._ext.sidebar']\nhtml_theme = 'sphinx_book_theme'\n"
    )
    app = SphinxTestApp(buildername="html", srcdir=source)
    found: dict[str, tuple[str, str]] = {}

    def take(app, page, template, context, doctree):
        ours = context["book_contents"](**OPTIONS)
        theirs = of_theme(app, context, page, **OPTIONS)
        found[page] = (ours, str(theirs))

    app.connect("html-page-context", take)
    app.build()
    yield found
    app.cleanup()


@pytest.mark.parametrize("page", [*PAGES, "genindex", "search"])
def test_the_table_is_the_themes(tables, page):
    ours, theirs = tables[page]
    assert ours == theirs
    assert "Pages of Labs" in ours
    assert "data-slot" not in ours


def test_the_way_to_a_page_is_open_and_its_own_link_leads_nowhere(tables):
    ours = tables["one/labs/lab"][0]
    assert ours.count('<details open="open">') == 2
    assert ours.count('href="#"') == 1
    assert tables["alone"][0].count("current") == 0
    # A page that stands in two places is current in both.
    assert tables["below"][0].count('class="current reference internal"') == 2
