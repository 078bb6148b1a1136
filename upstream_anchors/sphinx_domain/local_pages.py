r"""Upstream's files as pages of this site, so that a link can be followed without a network.

A page has the lines under upstream's numbers, each with its own address; who in the book speaks of
which lines, as a list at the top and as marks in the margin; an outline; and upstream's licence.
Nothing of it is committed: the pages are built from the fetched tree, and are not in the search.

Sphinx asks for such pages at every build. There are some hundred and fifty, so a page is written
only if what it is made from has changed: the file, what the book says of it, the templates, this
code. The digests lie beside the doctrees. Colours come from `highlighting`, which keeps its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
from sphinx.application import Sphinx
from sphinx.config import Config

from upstream_anchors.sphinx_domain.highlighting import kept_lines
from upstream_anchors.sphinx_domain.local_files import (
    INDEX,
    LICENCE_FILES,
    LocalFile,
    local_files,
)
from upstream_anchors.sphinx_domain.naming import fragment_of, line_span
from upstream_anchors.sphinx_domain.outline import outline_of
from upstream_anchors.sphinx_domain.preview import snippets_script
from upstream_anchors.sphinx_domain.source import source_of

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)
_HEADER_LINES = 12
_PART = 64  # lines
Page = tuple[str, dict[str, Any], str]


def connect_local_pages(app: Sphinx) -> None:
    r"""Hand the pages to the builder, and give them their own sidebar, style and script."""
    app.connect("config-inited", _add_templates)
    app.connect("html-collect-pages", _collect)
    # Before the theme looks at the sidebars.
    app.connect("html-page-context", _dress, priority=300)


def _add_templates(app: Sphinx, config: Config) -> None:
    # The theme looks for the sidebar among the project's templates.
    here = os.path.relpath(TEMPLATES, app.confdir)
    config.templates_path = [*config.templates_path, here]


def _collect(app: Sphinx) -> Iterator[Page]:
    if app.builder.name != "html":
        return
    files = local_files(app.env)
    store = Path(app.doctreedir) / "upstream-pages.json"
    before: dict[str, str] = {}
    if store.is_file():
        before = json.loads(store.read_text(encoding="utf-8"))
    now: dict[str, str] = {}
    common = _common_digest(app)
    out = Path(app.outdir)
    for file in files.values():
        now[file.page] = _digest(app, file, common)
        written = out / f"{file.page}.html"
        if before.get(file.page) != now[file.page] or not written.is_file():
            yield _page(app, file)
    if files:
        facts = [(f.path, len(f.ranges), sorted(_pages_of(app, f))) for f in files.values()]
        now[INDEX] = hashlib.sha256(repr((common, facts)).encode()).hexdigest()
        if before.get(INDEX) != now[INDEX] or not (out / f"{INDEX}.html").is_file():
            yield _index(app, list(files.values()))
    for gone in sorted(before.keys() - now.keys()):
        for suffix in (".html", ".js"):
            (out / f"{gone}{suffix}").unlink(missing_ok=True)
    store.write_text(json.dumps(now, indent=0, sort_keys=True), encoding="utf-8")


def _common_digest(app: Sphinx) -> str:
    # What every page shows besides its file: our code and templates, the pin, the theme's frame.
    parts = [p.read_bytes() for p in sorted([*HERE.glob("*.py"), *HERE.glob("templates/*")])]
    frame = ("html_title", "html_theme", "html_theme_options", "html_css_files", "html_js_files")
    settings = {name: getattr(app.config, name) for name in frame}
    parts.append(repr((str(source_of(app.env).pin), settings)).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _digest(app: Sphinx, file: LocalFile, common: str) -> str:
    tree = source_of(app.env).tree
    if tree is None:
        raise RuntimeError(f"a local page of {file.path} was asked for without a tree")
    facts = [(mention, app.env.titles[mention.docname].astext()) for mention in file.mentions]
    made_from = repr((common, sorted(file.ranges.items()), facts, tree.lines(file.path)))
    return hashlib.sha256(made_from.encode()).hexdigest()


def _page(app: Sphinx, file: LocalFile) -> Page:
    source = source_of(app.env)
    if source.resolver is None:
        raise RuntimeError(f"a local page of {file.path} was asked for without a tree")
    tree, pin = source.resolver.tree, source.pin
    lines = tree.lines(file.path)
    coloured = kept_lines(Path(app.doctreedir) / "upstream-lines", file.path, lines)
    script = Path(app.outdir) / f"{file.page}.js"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(snippets_script(source.resolver, file, coloured), encoding="utf-8")
    folder, _, name = file.path.rpartition("/")
    header = [line for line in lines[:_HEADER_LINES] if "SPDX-" in line]
    body = _TEMPLATES.get_template("file.html").render(
        folder=f"{folder}/" if folder else "",
        name=name,
        path=file.path,
        pin=pin,
        permalink=pin.permalink(file.path),
        plain="?plain=1" if file.path.endswith(".md") else "",
        count=len(lines),
        notices=[line.strip().lstrip("#/*<!- ").removesuffix("-->").strip() for line in header],
        licences=_licences(app, file),
        index=app.builder.get_relative_uri(file.page, INDEX),
        places=_places(app, file),
        code=_code(app, file, coloured),
        digits=len(str(len(lines))),
    )
    context = {
        "title": f"{name} · {folder}" if folder else name,
        "body": body,
        "up_outline": outline_of(source.resolver, file.path),
        "up_index": app.builder.get_relative_uri(file.page, INDEX),
        "parents": [],
        "meta": {"html_theme.sidebar_secondary.remove": ""},
    }
    return file.page, context, "page.html"


def _index(app: Sphinx, files: list[LocalFile]) -> Page:
    source = source_of(app.env)
    tree = source.tree
    if tree is None:
        raise RuntimeError("the index of local pages was asked for without a tree")
    groups: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        folder, _, name = file.path.rpartition("/")
        entry = {
            "name": name,
            "address": app.builder.get_relative_uri(INDEX, file.page),
            "lines": len(tree.lines(file.path)),
            "places": len(file.ranges),
            "pages": len(_pages_of(app, file)),
        }
        groups.setdefault(folder, []).append(entry)
    groups = dict(sorted(groups.items()))
    body = _TEMPLATES.get_template("index.html").render(
        pin=source.pin,
        groups=groups,
        licences=[(p, f"{p}.html") for p in LICENCE_FILES if tree.is_file(p)],
        count=len(files),
    )
    context = {
        "title": f"Files of the pinned tree, {source.pin.project} {source.pin.version}",
        "body": body,
        "up_folders": list(groups),
        "up_outline": [],
        "up_index": "",
        "parents": [],
        "meta": {"html_theme.sidebar_secondary.remove": ""},
    }
    return INDEX, context, "page.html"


def _pages_of(app: Sphinx, file: LocalFile) -> set[str]:
    return {mention.docname for mention in file.mentions}


def _licences(app: Sphinx, file: LocalFile) -> list[tuple[str, str]]:
    files = local_files(app.env)
    return [
        (path, app.builder.get_relative_uri(file.page, files[path].page))
        for path in LICENCE_FILES
        if path in files and path != file.path
    ]


def _places(app: Sphinx, file: LocalFile) -> list[dict[str, Any]]:
    # The ranges that pages speak of, each with its pages; the ledgers name nothing new.
    places: dict[tuple[int, int], dict[str, Any]] = {}
    for mention in file.mentions:
        key = (mention.start, mention.end)
        place = places.setdefault(
            key,
            {
                "start": mention.start,
                "fragment": fragment_of(*key),
                "lines": line_span(*key) if mention.start else "whole file",
                "name": file.ranges[key] if mention.start else "",
                "links": [],
            },
        )
        address = app.builder.get_relative_uri(file.page, mention.docname)
        title = app.env.titles[mention.docname].astext()
        link = {
            "address": f"{address}#{mention.section}" if mention.section else address,
            "title": title,
            "heading": mention.heading,
        }
        if link not in place["links"]:
            place["links"].append(link)
    return [places[key] for key in sorted(places)]


def _code(app: Sphinx, file: LocalFile, coloured: list[str]) -> str:
    # Each line is an element of its number; ranges that are linked to have one at their first
    # line, so that a link to a range finds it without a script.
    marks: dict[int, list[dict[str, Any]]] = {}
    for place in _places(app, file):
        if place["start"]:
            marks.setdefault(place["start"], []).append(place)
    ranges: dict[int, list[str]] = {}
    for start, end in sorted(file.ranges):
        if start and end != start:
            ranges.setdefault(start, []).append(f'<a id="{fragment_of(start, end)}"></a>')
    rows = []
    for number, line in enumerate(coloured, start=1):
        before = "".join(ranges.get(number, []))
        if number in marks:
            before += _mark(number, marks[number])
        rows.append(f'<span id="L{number}">{before}{line}\n</span>')
    # In parts, so that a browser need not lay out what is out of sight.
    return "".join(
        f'<span class="up-part" style="--before: {i}; --rows: {len(rows[i : i + _PART])}">'
        f"{''.join(rows[i : i + _PART])}</span>"
        for i in range(0, len(rows), _PART)
    )


def _mark(number: int, places: list[dict[str, Any]]) -> str:
    # To the one place that speaks of it, else to the list of them.
    links = [link for place in places for link in place["links"]]
    first = links[0]
    where = f"{first['title']}, {first['heading']}" if first["heading"] else first["title"]
    label, address = f"Discussed in {where}", first["address"]
    if len(links) > 1:
        label, address = f"Discussed in {len(links)} places", f"#d{number}"
    shown = jinja2.filters.do_forceescape(label)
    return f'<a class="up-said" href="{address}" title="{shown}" aria-label="{shown}"></a>'


def _dress(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is not None or "up_outline" not in context:
        return
    app.add_css_file("upstream-file.css", priority=900)  # after the book's own
    app.add_js_file("upstream-file.js", loading_method="defer")
    # The outline stands where other pages have the book's contents.
    context["sidebars"] = [
        "up-outline.html" if name.endswith(("sidebar-nav.html", "navigation.html")) else name
        for name in context.get("sidebars") or []
    ]
