r"""The search of the book: an index made at build, and a few scripts that ask it.

Why not one that exists? Three were looked at, each with the thirty queries of
`tests/site/search/queries.toml`, which were written before.

- *Sphinx's own search*, with the theme's dialog, has the right page among its first three for 20
  of 30. It sorts by fixed points for a title, an object or a text, so the page with the most names
  on it wins; it cannot mend a misspelt word; and its index is in the head of every page.
- *Pagefind* 1.5.2 has 26 of 30. It knows no misspelt word, no path (`vllm/v1/sample/sampler.py`),
  and not which page is the home of a name. It reads its index with `fetch`, so on a page opened
  from a folder it does not work, and its program is 10 MB for each platform.
- *MiniSearch* would do as the side that asks. It is published for npm, which a clone of this
  repository does not need; it would index in the browser, at each opening; and the names, anchors
  and questions would be as much code as here.

So the index is ours, and as little else as possible: the stemmer is Snowball's, in Python and for
the browser as Sphinx brings it, the formula is BM25F, and the dialog is the theme's.

| part | what it does |
|---|---|
| `words` | cuts a text, a name, a path into terms |
| `pages` | takes a page apart: its sections, objects, questions; titles, names, anchors, prose |
| `index` | weighs and writes the lists |
| `writing` | follows Sphinx's build |
| `_static/js/search.js` | the dialog and `search.html`; the only part that every page loads |
| `_static/js/search-words.js` | `words`, once more, for the query |
| `_static/js/search-ranking.js` | which pages, and in which order |
| `_static/js/search-results.js` | titles, snippets, marks |
"""

from __future__ import annotations

from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, object]:
    """Follow the build."""
    from book._ext.search.writing import connect

    connect(app)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
