"""When the index is made: collect while pages are read, write when all are."""

from __future__ import annotations

import json
from pathlib import Path

import sphinx.search
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.search.index import build
from book._ext.search.pages import Page, PageReader

INDEX = "search-index.js"
STEMMER = "search-stemmer.js"
# What Sphinx copies for its own search, which is off.
_LEFT_OVER = ("searchtools.js", "language_data.js")


def collected(env: BuildEnvironment) -> dict[str, Page]:
    """What is known of each page that was read."""
    if not hasattr(env, "book_search"):
        env.book_search = {}  # type: ignore[attr-defined]
    return env.book_search  # type: ignore[attr-defined,no-any-return]


def _read(app: Sphinx, document: nodes.document) -> None:
    title = app.env.titles.get(app.env.docname)
    name = title.astext() if title is not None else app.env.docname
    collected(app.env)[app.env.docname] = PageReader(name).read(document)


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    collected(env).pop(docname, None)


def _merge(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
    collected(env).update({k: v for k, v in collected(other).items() if k in docnames})


def _without_sphinx_search(app: Sphinx) -> None:
    """One index is enough: Sphinx's costs every page a third of a megabyte."""
    if app.builder.format == "html":
        app.builder.search = False  # type: ignore[attr-defined]


def _write(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    data = json.dumps(build(collected(app.env)), ensure_ascii=False, separators=(",", ":"))
    # A script and not a .json: a page that was opened from a folder may load a script.
    script = f"BookSearch.index = JSON.parse({json.dumps(data, ensure_ascii=False)});\n"
    script = script.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
    (out / INDEX).write_text(script, encoding="utf-8")
    stemmers = Path(sphinx.search.__file__).parent / "minified-js"
    texts = [(stemmers / f"{n}-stemmer.js").read_text("utf-8") for n in ("base", "english")]
    made = "\n".join([*texts, "BookSearch.stemmer = new EnglishStemmer();\n"])
    (out / "_static" / STEMMER).write_text(made, encoding="utf-8")
    for name in _LEFT_OVER:
        (out / "_static" / name).unlink(missing_ok=True)
    (out / "searchindex.js").unlink(missing_ok=True)


def connect(app: Sphinx) -> None:
    """Follow a build from its first page to its last."""
    app.connect("builder-inited", _without_sphinx_search)
    app.connect("doctree-read", _read)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("build-finished", _write)
