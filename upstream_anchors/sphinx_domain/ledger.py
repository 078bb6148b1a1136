r"""The ledger: which anchors does this page, this phase, this book rest on?

It is a table made from what the other pages used, so it can be filled in only when all of them have
been read, and has to be written again when any of them changes its anchors.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import link_to, upstream_domain
from upstream_anchors.sphinx_domain.local_files import INDEX, local_files
from upstream_anchors.sphinx_domain.naming import shown_name
from upstream_anchors.sphinx_domain.source import source_of


class LedgerNode(nodes.General, nodes.Element):
    r"""Stands where the table will be."""


class AnchorLedger(SphinxDirective):
    r"""`{anchor-ledger}` with `:phase: 1`, with `:page: docname`, or of the whole book.

    `:page:` without a name means the page it stands on. The anchors are grouped by file; each has
    its symbol, its lines and the pages that use it.
    """

    option_spec: ClassVar[dict[str, Any]] = {
        "phase": directives.nonnegative_int,
        "page": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        r"""A placeholder that knows what it was asked."""
        node = LedgerNode()
        node["phase"] = self.options.get("phase")
        page = self.options.get("page")
        node["page"] = self.env.docname if page == "" else page
        if node["page"] is not None and node["page"] not in self.env.found_docs:
            raise self.error(f"there is no page {node['page']!r} to list anchors of")
        self.set_source_info(node)
        return [node]


def connect_ledger(app: Sphinx) -> None:
    r"""Fill the tables in when pages are written, and rewrite them when anchors change."""
    app.add_node(LedgerNode)
    app.connect("doctree-read", _note_ledger)
    app.connect("env-updated", _outdated)
    app.connect("doctree-resolved", _fill)


def _note_ledger(app: Sphinx, doctree: nodes.document) -> None:
    app.env.metadata[app.env.docname].pop("anchor_ledger", None)
    if next(doctree.findall(LedgerNode), None) is not None:
        app.env.metadata[app.env.docname]["anchor_ledger"] = "yes"


def _outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    # A table shows targets and the titles of the pages that use them, not their order on a page.
    shown = {
        page: (env.titles[page].astext(), sorted(targets))
        for page, targets in upstream_domain(env).uses.items()
    }
    before = getattr(env, "anchor_ledger_shown", None)
    env.anchor_ledger_shown = shown  # type: ignore[attr-defined]
    if shown == before:
        return []
    return sorted(name for name, data in env.metadata.items() if "anchor_ledger" in data)


def _fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for node in list(doctree.findall(LedgerNode)):
        pages = _pages(app.env, node["phase"], node["page"])
        table = _table(app, docname, pages)
        if node["phase"] is None and node["page"] is None and local_files(app.env):
            node.parent.insert(node.parent.index(node), _index_of_files(app, docname))
        node.replace_self(table)


def _index_of_files(app: Sphinx, docname: str) -> nodes.paragraph:
    link = nodes.reference("", "their index", internal=True)
    link["refuri"] = app.builder.get_relative_uri(docname, INDEX)
    return nodes.paragraph(
        "",
        "",
        nodes.Text("The files that they stand in are pages of this site: "),
        link,
        nodes.Text("."),
    )


def _pages(env: BuildEnvironment, phase: int | None, page: str | None) -> list[str]:
    uses = upstream_domain(env).uses
    if page is not None:
        return [page] if page in uses else []
    if phase is None:
        return sorted(uses)
    folder = re.compile(rf"(?:.*/)?phase-{phase:02d}-[^/]*/")
    return sorted(name for name in uses if folder.match(name))


def _table(app: Sphinx, docname: str, pages: list[str]) -> nodes.Node:
    users: dict[str, list[str]] = {}
    for page in pages:
        for target in upstream_domain(app.env).uses[page]:
            users.setdefault(target, []).append(page)
    places = []
    for target in users:
        try:
            places.append(source_of(app.env).resolve(target))
        except AnchorError:
            continue  # reported where it is used
    places.sort(key=lambda place: (place.path, place.start or 0, place.end or 0, place.target))
    if not places:
        return nodes.paragraph("", "No anchors yet.")
    return _build(app, docname, places, users if len(pages) > 1 else None)


def _build(
    app: Sphinx, docname: str, places: list[Place], users: dict[str, list[str]] | None
) -> nodes.table:
    # One heading row a file, one row an anchor below it; the pages only if there are several.
    heads = ["Anchor", "Lines", *(["Pages"] if users else [])]
    table = nodes.table(classes=["up-ledger"])
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    group += nodes.thead("", nodes.row("", *(_cell(nodes.Text(head)) for head in heads)))
    body = nodes.tbody()
    path = None
    for place in places:
        if place.path != path:
            path = place.path
            cell = nodes.entry("", nodes.paragraph("", "", nodes.literal("", path)))
            cell["morecols"] = len(heads) - 1
            body += nodes.row("", cell, classes=["up-file"])
        body += _row(app, docname, place, users[place.target] if users else [])
    group += body
    table += group
    return table


def _row(app: Sphinx, docname: str, place: Place, pages: list[str]) -> nodes.row:
    link = link_to(app.env, place, nodes.literal("", _name_below_path(place)))
    lines = "" if place.start is None else f"{place.start}–{place.end}"
    if place.start is not None and place.start == place.end:
        lines = str(place.start)
    row = nodes.row("", _cell(link), _cell(nodes.Text(lines)))
    if pages:
        links: list[nodes.Node] = []
        for page in pages:
            title = nodes.Text(app.env.titles[page].astext())
            links += [nodes.Text(", ")] if links else []
            links.append(make_refnode(app.builder, docname, page, "", title))
        row += _cell(*links)
    return row


def _name_below_path(place: Place) -> str:
    # The path stands in the heading row, so only what follows it in the target is left to say.
    if place.start is None:
        return "the whole folder" if place.kind == "folder" else "the whole file"
    rest = place.target.removeprefix(place.path).lstrip("#@")
    return rest if place.target.startswith(place.path) else shown_name(place)


def _cell(*content: nodes.Node) -> nodes.entry:
    return nodes.entry("", nodes.paragraph("", "", *content))
