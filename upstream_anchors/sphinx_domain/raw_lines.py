r"""No line number may be typed into prose.

`file.py:428` is right for one release and looks right for ever. It is refused where a person wrote
it, inline code included, and allowed where a machine printed it: in code blocks, in the output of
cells and in captures.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

_RAW = re.compile(r"[\w./-]+\.(?:py|cu|cuh|c|cc|cpp|h|hpp|rs):\d+(?:-\d+)?")
_PRINTED = (nodes.literal_block, nodes.doctest_block, nodes.comment, nodes.raw, nodes.math_block)
_OUTPUT_CLASSES = {"cell_output", "up-code"}


def connect_raw_lines(app: Sphinx) -> None:
    r"""Look at every page once it has been read."""
    app.connect("doctree-read", _refuse_raw_lines)


def _refuse_raw_lines(app: Sphinx, doctree: nodes.document) -> None:
    for text in doctree.findall(nodes.Text):
        match = _RAW.search(text)
        if match and not _was_printed(text):
            logger.warning(
                "%s is a raw line reference; name a symbol instead: {up}`path#Symbol`, or "
                '{up}`path#Symbol@"fragment"` for one line of it',
                match[0],
                type="upstream",
                subtype="raw-line",
                location=text.parent,
            )
            app.env.note_reread()


def _was_printed(node: nodes.Node) -> bool:
    parent = node.parent
    while parent is not None:
        if isinstance(parent, _PRINTED) or _OUTPUT_CLASSES & set(parent.get("classes", [])):
            return True
        parent = parent.parent
    return False
