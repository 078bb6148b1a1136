r"""A reference in running text prints the short name; the link and the hover keep the long one.

`mini_vllm.core.scheduler.Scheduler.schedule` is what a writer types, so that it can only mean one
thing. `Scheduler.schedule` is what a reader wants to read.
"""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

_PARTS = {"meth": 2, "attr": 2, "prop": 2, "class": 1, "func": 1, "exc": 1, "data": 1, "obj": 1}


def shorten(app: Sphinx, doctree: nodes.document) -> None:
    """Cut the printed name of references whose text is the target itself."""
    for reference in doctree.findall(addnodes.pending_xref):
        keep = _PARTS.get(reference.get("reftype", ""))
        if reference.get("refdomain") != "py" or keep is None or reference.get("refexplicit"):
            continue
        for literal in reference.findall(nodes.literal):
            text = literal.astext()
            bare = text.removesuffix("()")
            if bare.startswith(("mini_vllm.", "labkit.", "book.")):
                short = ".".join(bare.split(".")[-keep:]) + text[len(bare) :]
                literal.children = [nodes.Text(short)]
                literal.children[0].parent = literal


def connect_shortening(app: Sphinx) -> None:
    """Shorten as soon as a page has been read."""
    app.connect("doctree-read", shorten)
