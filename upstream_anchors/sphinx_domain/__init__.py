r"""Sphinx extension: upstream's lines on the book's pages.

| syntax | on the page |
|---|---|
| role `up` | a link to the lines, with a preview of them under the pointer |
| directive `up-code` | an excerpt with upstream's own line numbers |
| directives `map-picture`, `map-table` | a part of the tree: who imports and calls whom |
| directives `most-imported`, `map-tally` | the same of the whole package, in numbers |
| directive `anchor-ledger` | a table of the anchors of a page, a phase, some folders, or the book |
| directive `anchor-rooms` | the ledgers that divide the tree among themselves, with their counts |
| roles `py:class` and kin, of a vLLM name | a link to its definition, in prose and in annotations |

Whatever does not resolve is a warning of type `upstream.missing`, and so is a raw
`file.py:LINE` in prose (`upstream.raw-line`): with `-W` the build fails.

With the pinned tree, the `html` builder also writes a page for every file that is linked to, and
the links lead there. Without it they come from the lock and lead to GitHub, as they do for every
other builder, and each excerpt is a link with a notice in its place.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

from upstream_anchors.sphinx_domain.codebase import connect_codebase
from upstream_anchors.sphinx_domain.domain import UpstreamDomain, connect_python_names
from upstream_anchors.sphinx_domain.excerpt import Excerpt
from upstream_anchors.sphinx_domain.ledger import AnchorLedger, AnchorRooms, connect_ledger
from upstream_anchors.sphinx_domain.local_files import connect_local_files
from upstream_anchors.sphinx_domain.local_pages import connect_local_pages
from upstream_anchors.sphinx_domain.mentions import connect_mentions
from upstream_anchors.sphinx_domain.preview import connect_previews
from upstream_anchors.sphinx_domain.raw_lines import connect_raw_lines
from upstream_anchors.sphinx_domain.role import UpstreamRole
from upstream_anchors.sphinx_domain.source import connect_source


def setup(app: Sphinx) -> dict[str, Any]:
    r"""Register the domain, the role, the directives and the checks."""
    connect_source(app)
    app.add_domain(UpstreamDomain)
    app.add_role("up", UpstreamRole())
    app.add_directive("up-code", Excerpt)
    app.add_directive("anchor-ledger", AnchorLedger)
    app.add_directive("anchor-rooms", AnchorRooms)
    connect_python_names(app)
    connect_ledger(app)
    connect_codebase(app)
    connect_mentions(app)
    connect_local_files(app)
    connect_local_pages(app)
    connect_previews(app)
    connect_raw_lines(app)
    return {
        "version": "1",
        "env_version": 3,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
