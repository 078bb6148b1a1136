r"""Which page uses which anchor?

The domain is the build's memory of that: the ledger prints it, and nothing else may need it. A
page's uses are forgotten when the page is read anew, and those of pages read in parallel are put
together.

Python names of vLLM come here as well. Sphinx asks every extension about a name that it cannot
find; one that begins with the pinned project is ours to answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import Any, ClassVar

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains import Domain
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.source import source_of

logger = logging.getLogger(__name__)

# The class of every link into the tree; anchors.css and anchors.js look for it.
LINK_CLASS = "up-link"


class UpstreamDomain(Domain):
    r"""The anchors that each page uses, in the order in which it first uses them."""

    name = "up"
    label = "Upstream"
    initial_data: ClassVar[dict[str, Any]] = {"uses": {}, "mentions": {}}
    data_version = 2

    @property
    def uses(self) -> dict[str, list[str]]:
        r"""Page → targets, each once."""
        return self.data["uses"]

    def note_use(self, docname: str, target: str) -> None:
        r"""Remember that a page uses a target."""
        targets = self.uses.setdefault(docname, [])
        if target not in targets:
            targets.append(target)

    @property
    def mentions(self) -> dict[str, list[tuple]]:
        r"""Page → its links, as `Mention` without the page, each once."""
        return self.data["mentions"]

    def note_mention(self, docname: str, mention: tuple) -> None:
        r"""Remember that a page links to a place, and under which of its headings."""
        found = self.mentions.setdefault(docname, [])
        if mention not in found:
            found.append(mention)

    def clear_doc(self, docname: str) -> None:
        r"""Forget a page that is about to be read anew."""
        self.uses.pop(docname, None)
        self.mentions.pop(docname, None)

    def merge_domaindata(self, docnames: Iterable[str], otherdata: dict[str, Any]) -> None:
        r"""Take over the pages that another process has read."""
        for docname in docnames:
            for kind in ("uses", "mentions"):
                if docname in otherdata[kind]:
                    self.data[kind][docname] = otherdata[kind][docname]


def upstream_domain(env: BuildEnvironment) -> UpstreamDomain:
    r"""The domain of this build, under its own type."""
    return env.domains["up"]  # type: ignore[return-value]


def link_to(env: BuildEnvironment, place: Place, content: nodes.Node) -> nodes.reference:
    r"""A reference node to a place's permalink, good for every builder.

    Where local pages are written, the link is turned to them at the end (`local_links`), and it is
    the place it carries that says where to.
    """
    link = nodes.reference(
        "",
        "",
        content,
        internal=False,
        refuri=place.permalink(source_of(env).pin),
        reftitle=place.where,
        classes=[LINK_CLASS],
    )
    link["up_place"] = astuple(place)
    return link


def warn_missing(error: AnchorError, location: Any) -> None:
    r"""Report an anchor that does not resolve; `-W` makes it the end of the build."""
    logger.warning("%s", error, type="upstream", subtype="missing", location=location)


def connect_python_names(app: Sphinx) -> None:
    r"""Answer for `{py:…}` names of the pinned project."""
    app.connect("missing-reference", _resolve_python_name)


def _resolve_python_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    source = source_of(env)
    name = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not name.startswith(f"{source.pin.project}."):
        return None
    try:
        place = source.resolve(f"py:{name}")
    except AnchorError as error:
        warn_missing(error, node)
        return nodes.reference("", "", content, internal=False, refuri="", classes=["up-missing"])
    return link_to(env, place, content)
