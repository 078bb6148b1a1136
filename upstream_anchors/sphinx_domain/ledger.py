r"""The ledger: which anchors does this page, this phase, this book rest on?

It is a table made from what the other pages used, so it can be filled in only when all of them have
been read, and has to be written again when any of them changes what it shows.
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import link_to
from upstream_anchors.sphinx_domain.local_files import INDEX, local_files
from upstream_anchors.sphinx_domain.naming import line_span, shown_name
from upstream_anchors.sphinx_domain.scope import (
    Scope,
    holders,
    left_over,
    places_of,
    scopes_of,
)

logger = logging.getLogger(__name__)


class LedgerNode(nodes.General, nodes.Element):
    r"""Stands where the table will be."""


class RoomsNode(nodes.General, nodes.Element):
    r"""Stands where the table of ledgers will be."""


class AnchorLedger(SphinxDirective):
    r"""`{anchor-ledger}` with `:phase: 1`, `:page: docname` or `:under: vllm/v1 csrc`, or of all.

    `:page:` without a name means the page it stands on. `:under:` names folders and files of the
    tree, `.` for its root; of several ledgers, the one with the nearest folder has an anchor. The
    anchors are grouped by file; each has its symbol, its lines and the pages that use it.
    """

    option_spec: ClassVar[dict[str, Any]] = {
        "phase": directives.nonnegative_int,
        "page": directives.unchanged,
        "under": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        r"""A placeholder that knows what it was asked."""
        if len(self.options) > 1:
            raise self.error("one of :phase:, :page:, :under: at a time")
        page = self.options.get("page")
        page = self.env.docname if page == "" else page
        if page is not None and page not in self.env.found_docs:
            raise self.error(f"there is no page {page!r} to list anchors of")
        under = tuple(self.options.get("under", "").split())
        node = LedgerNode(scope=Scope(self.options.get("phase"), page, under))
        self.set_source_info(node)
        return [node]


class AnchorRooms(SphinxDirective):
    r"""`{anchor-rooms}`: the ledgers that divide the tree, with their folders and counts."""

    def run(self) -> list[nodes.Node]:
        r"""A placeholder: the counts are known when all pages have been read."""
        node = RoomsNode()
        self.set_source_info(node)
        return [node]


def connect_ledger(app: Sphinx) -> None:
    r"""Fill the tables in when pages are written, and rewrite those that would change."""
    app.add_node(LedgerNode)
    app.add_node(RoomsNode)
    app.connect("doctree-read", _note_ledger)
    app.connect("env-updated", _outdated)
    app.connect("env-check-consistency", _check_whole)
    app.connect("doctree-resolved", _fill)


def _note_ledger(app: Sphinx, doctree: nodes.document) -> None:
    metadata = app.env.metadata[app.env.docname]
    metadata["anchor_ledgers"] = [node["scope"] for node in doctree.findall(LedgerNode)]
    metadata["anchor_rooms"] = next(doctree.findall(RoomsNode), None) is not None


def _outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    # A table shows places and the titles of the pages that use them, not their order on a page.
    shown = {
        docname: _shown(env, docname)
        for docname, data in env.metadata.items()
        if data.get("anchor_ledgers") or data.get("anchor_rooms")
    }
    before = getattr(env, "anchor_ledger_shown", {})
    env.anchor_ledger_shown = shown  # type: ignore[attr-defined]
    return sorted(name for name, what in shown.items() if before.get(name) != what)


def _shown(env: BuildEnvironment, docname: str) -> list[Any]:
    rows: list[Any] = [
        (place, [env.titles[page].astext() for page in pages])
        for scope in scopes_of(env, docname)
        for place, pages in places_of(env, scope).items()
    ]
    return rows + (_rooms(env, docname) if env.metadata[docname].get("anchor_rooms") else [])


def _check_whole(app: Sphinx, env: BuildEnvironment) -> None:
    for prefix, pages in holders(env).items():
        if len(pages) > 1:
            message = "%r is in the ledgers of %s"
            names = " and ".join(pages)
            logger.warning(message, prefix, names, type="upstream", subtype="ledger")
    for place in left_over(env):
        message = "%s is below none of the folders that the ledgers have (:under:)"
        logger.warning(message, place.path, type="upstream", subtype="ledger")


def _fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for node in list(doctree.findall(LedgerNode)):
        if node["scope"] == Scope():
            _insert_index(app, docname, node)
        node.replace_self(_table(app, docname, node["scope"]))
    for room in list(doctree.findall(RoomsNode)):
        _insert_index(app, docname, room)
        room.replace_self(_table_of_rooms(app, docname))


def _insert_index(app: Sphinx, docname: str, before: nodes.Element) -> None:
    if not local_files(app.env):
        return
    link = nodes.reference("", "their index", internal=True)
    link["refuri"] = app.builder.get_relative_uri(docname, INDEX)
    text = nodes.Text("The files that they stand in are pages of this site: ")
    paragraph = nodes.paragraph("", "", text, link, nodes.Text("."))
    before.parent.insert(before.parent.index(before), paragraph)


def _table(app: Sphinx, docname: str, scope: Scope) -> nodes.Node:
    users = places_of(app.env, scope)
    if not users:
        return nodes.paragraph("", "No anchors yet.")
    # One heading row a file, one row an anchor below it; the pages only if there are several.
    several = len(scope.pages(app.env)) > 1
    table, body = _frame(["Anchor", "Lines", *(["Pages"] if several else [])], "up-ledger")
    path = None
    for place, pages in users.items():
        if place.path != path:
            path = place.path
            cell = _cell(nodes.literal("", path))
            cell["morecols"] = 1 + several
            body += nodes.row("", cell, classes=["up-file"])
        body += _row(app, docname, place, pages if several else [])
    return table


def _rooms(env: BuildEnvironment, docname: str) -> list[tuple[str, str, tuple[str, ...], int, int]]:
    # Page, its title, its folders, how many files and anchors: in the order of our own contents.
    order = env.toctree_includes.get(docname, [])
    pages = sorted({page for pages in holders(env).values() for page in pages})
    pages.sort(key=lambda page: order.index(page) if page in order else len(order))
    found = []
    for page in pages:
        for scope in scopes_of(env, page):
            places, title = places_of(env, scope), env.titles[page].astext()
            found.append((page, title, scope.under, len({p.path for p in places}), len(places)))
    return found


def _table_of_rooms(app: Sphinx, docname: str) -> nodes.table:
    table, body = _frame(["Page", "Below", "Files", "Anchors"], "up-rooms")
    found = _rooms(app.env, docname)
    for page, title, under, files, anchors in found:
        folders: list[nodes.Node] = []
        for prefix in under:
            folders += [nodes.Text(", ")] if folders else []
            everything = nodes.Text("all that no other page has")
            folders.append(everything if prefix == "." else nodes.literal("", prefix))
        row = [[make_refnode(app.builder, docname, page, "", nodes.Text(title))], folders]
        numbers = [[nodes.Text(f"{files:,}")], [nodes.Text(f"{anchors:,}")]]
        body += nodes.row("", *(_cell(*content) for content in row + numbers))
    sums = [sum(row[3] for row in found), sum(row[4] for row in found)]
    last = ["together", "", *(f"{number:,}" for number in sums)]
    body += nodes.row("", *(_cell(nodes.Text(text)) for text in last))
    return table


def _frame(heads: list[str], name: str) -> tuple[nodes.table, nodes.tbody]:
    table = nodes.table(classes=[name])
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    group += nodes.thead("", nodes.row("", *(_cell(nodes.Text(head)) for head in heads)))
    body = nodes.tbody()
    group += body
    table += group
    return table, body


def _row(app: Sphinx, docname: str, place: Place, pages: list[str]) -> nodes.row:
    link = link_to(app.env, place, nodes.literal("", _name_below_path(place)))
    row = nodes.row("", _cell(link), _cell(nodes.Text(line_span(place.start, place.end))))
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
