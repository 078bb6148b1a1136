r"""`2 %` stays on one line: the space between a number and its sign may not break.

Authors write a plain space, since that is what a keyboard has and what a search finds. On a narrow
screen it broke now and then, and a line began with `% faster`. Numbers of `{qty}` bring their own
space; code is left as it is.
"""

from __future__ import annotations

import re
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

_SPACE = re.compile(r"(?<=\d) (?=%)")
# What is read as it was typed: code, formulas, drawings, and what only another builder shows.
_AS_TYPED = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block)


def kept_together(text: str) -> str:
    """The text with a space that does not break before each percent sign."""
    return _SPACE.sub("\N{NO-BREAK SPACE}", text)


class KeepPercents(SphinxPostTransform):
    """Does so in every text of a page that is not code."""

    default_priority: ClassVar[int] = 900

    def run(self, **_: object) -> None:
        """Replace the texts that have such a space; all others stay the nodes they were."""
        for text in list(self.document.findall(nodes.Text)):
            kept = kept_together(str(text))
            if kept != text and not _is_as_typed(text):
                text.parent.replace(text, nodes.Text(kept))


def _is_as_typed(text: nodes.Text) -> bool:
    above = text.parent
    while above is not None:
        if isinstance(above, _AS_TYPED):
            return True
        above = above.parent
    return False


def setup(app: Sphinx) -> dict[str, object]:
    """Register the transform."""
    app.add_post_transform(KeepPercents)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
