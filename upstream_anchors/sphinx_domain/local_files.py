r"""Which upstream files have a page of their own here, and how do links find it?

Every file that a page of the book links into. The set is known when all pages have been read, and
then each link of ours that leads into one of them is turned from GitHub to the page beside it. That
is done for the `html` builder only, and only with the tree: every other build keeps permalinks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from upstream_anchors.errors import AnchorError
from upstream_anchors.place import Place
from upstream_anchors.sphinx_domain.domain import upstream_domain
from upstream_anchors.sphinx_domain.mentions import Mention, mentions_by_file, place_of_link
from upstream_anchors.sphinx_domain.naming import fragment_of, shown_name
from upstream_anchors.sphinx_domain.source import source_of

# The folder of the site that holds the pages; a file's page is named after the file, suffix
# included, since a tree may well have both `cache.cu` and `cache.cuh`.
FOLDER = "upstream"
INDEX = f"{FOLDER}/index"
LICENCE_FILES = ("LICENSE", "NOTICE")


@dataclass
class LocalFile:
    r"""One file: what the book links to in it, and who links.

    `ranges` maps first and last line (0 and 0 for the whole file) to what a preview calls them.
    """

    path: str
    ranges: dict[tuple[int, int], str] = field(default_factory=dict)
    mentions: list[Mention] = field(default_factory=list)

    @property
    def page(self) -> str:
        r"""The name of the page, as Sphinx names pages."""
        return f"{FOLDER}/{self.path}"

    def add(self, start: int, end: int, name: str) -> None:
        r"""Note a range; of several names the first in the alphabet stays."""
        key = (start, end)
        self.ranges[key] = min(name, self.ranges.get(key, name))


# The files of this build; keyed as the sources are.
_FILES: WeakKeyDictionary[Config, dict[str, LocalFile]] = WeakKeyDictionary()


def connect_local_files(app: Sphinx) -> None:
    r"""Decide on the files when all pages are read, turn the links when pages are written."""
    app.connect("env-updated", _decide)
    # After the ledgers are filled in.
    app.connect("doctree-resolved", _turn_links, priority=900)


def local_files(env: BuildEnvironment) -> dict[str, LocalFile]:
    r"""Path → file, sorted; empty in a build that has no local pages."""
    return _FILES.get(env.config, {})


def _decide(app: Sphinx, env: BuildEnvironment) -> None:
    files: dict[str, LocalFile] = {}
    source = source_of(env)
    if app.builder.name == "html" and source.tree is not None:
        for path, mentions in mentions_by_file(env).items():
            file = files.setdefault(path, LocalFile(path))
            file.mentions = mentions
            for mention in mentions:
                file.add(mention.start, mention.end, mention.name)
        # An excerpt links to the lines it shows, and a ledger to all lines of its anchor.
        for target in {t for targets in upstream_domain(env).uses.values() for t in targets}:
            try:
                place = source.resolve(target)
            except AnchorError:
                continue  # reported where it is used
            if place.kind != "folder":
                file = files.setdefault(place.path, LocalFile(place.path))
                file.add(place.start or 0, place.end or 0, shown_name(place))
        if files:
            for path in LICENCE_FILES:
                if source.tree.is_file(path):
                    files.setdefault(path, LocalFile(path))
    _FILES[env.config] = dict(sorted(files.items()))


def _turn_links(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if not local_files(app.env):
        return
    for link in doctree.findall(nodes.reference):
        place = place_of_link(link)
        if place is not None and (address := local_address(app, docname, place)):
            link["refuri"] = address
            link["internal"] = True


def local_address(app: Sphinx, docname: str, place: Place) -> str | None:
    r"""The address of a place's local page, relative to a page; `None` where there is none."""
    file = local_files(app.env).get(place.path)
    if file is None or (place.start or 0, place.end or 0) not in file.ranges:
        return None
    address = app.builder.get_relative_uri(docname, file.page)
    fragment = fragment_of(place.start, place.end)
    return f"{address}#{fragment}" if fragment else address
