r"""Where does the book speak of which lines?

A link into the tree is also a fact about the tree: these lines are discussed *there*. The facts
are taken from a page's document when it has been read, docstrings included, and live in the domain
beside the targets. A local page turns them round: it knows for each of its lines who speaks of it.
"""

from __future__ import annotations

from typing import NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import upstream_domain
from upstream_anchors.sphinx_domain.naming import shown_name
from upstream_anchors.sphinx_domain.source import source_of


class Mention(NamedTuple):
    r"""One link: its lines (0 and 0 for the whole file), what it calls them, and where it stands.

    `section` is the id of the section or of the object around the link, empty at the top of the
    page, and `heading` is what is printed there.
    """

    path: str
    start: int
    end: int
    name: str
    docname: str
    section: str
    heading: str


def connect_mentions(app: Sphinx) -> None:
    r"""Look at every page once it has been read."""
    app.connect("doctree-read", _note_mentions)


def mentions_by_file(env: BuildEnvironment) -> dict[str, list[Mention]]:
    r"""Path → what the book's pages link to in it, in the order of its lines."""
    found: dict[str, set[Mention]] = {}
    for docname, entries in upstream_domain(env).mentions.items():
        for entry in entries:
            mention = Mention._make((*entry[:4], docname, *entry[4:]))
            found.setdefault(mention.path, set()).add(mention)
    return {path: sorted(found[path]) for path in sorted(found)}


def _note_mentions(app: Sphinx, doctree: nodes.document) -> None:
    source = source_of(app.env)
    docname = app.env.current_document.docname
    for node in doctree.findall(nodes.Element):
        place: Place | None = None
        if isinstance(node, nodes.reference):
            place = place_of_link(node)
        elif isinstance(node, addnodes.pending_xref) and node.get("refdomain") == "py":
            name = node.get("reftarget", "")
            if name.startswith(f"{source.pin.project}."):
                try:
                    place = source.resolve(f"py:{name}")
                except AnchorError:
                    continue  # reported when the page is written
        if place is None or place.kind == "folder":
            continue
        section, heading = _around(node)
        upstream_domain(app.env).note_mention(
            docname,
            (
                place.path,
                place.start or 0,
                place.end or 0,
                shown_name(place),
                section,
                heading,
            ),
        )


def place_of_link(link: nodes.reference) -> Place | None:
    r"""The place that a link of ours leads to; `None` for a link of anybody else's."""
    fields = link.get("up_place")
    return Place(*fields) if fields else None


def _around(node: nodes.Node) -> tuple[str, str]:
    # The nearest heading above, which may be the signature of one of our own objects.
    parent = node.parent
    while parent is not None:
        if isinstance(parent, addnodes.desc):
            signature = next(parent.findall(addnodes.desc_signature), None)
            if signature is not None and signature["ids"]:
                return signature["ids"][0], signature.get("fullname") or signature.astext()
        if isinstance(parent, nodes.section) and isinstance(parent.parent, nodes.section):
            title = next(parent.findall(nodes.title), None)
            if title is not None and parent["ids"]:
                return parent["ids"][0], title.astext()
        parent = parent.parent
    return "", ""
