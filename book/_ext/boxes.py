r"""Plain boxes: a `div` with our classes and nothing else.

The generic `container` brings along a class that the theme lays out as a grid column.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


class box(nodes.General, nodes.Element):
    """A block; `data` holds attributes for scripts."""


def new_box(css_classes: str, *children: nodes.Node | None, **data: str) -> box:
    """A box with these classes and children; keywords become `data-` attributes."""
    made = box("", classes=css_classes.split())
    made["data"] = data
    made += [child for child in children if child is not None]
    return made


def _visit_html(self: Any, node: box) -> None:
    data = {f"data-{key}": value for key, value in sorted(node.get("data", {}).items())}
    self.body.append(self.starttag(node, "div", **data))


def _depart_html(self: Any, node: box) -> None:
    self.body.append("</div>\n")


def _pass(self: Any, node: box) -> None:
    """Other formats print the children."""


def setup(app: Sphinx) -> dict[str, object]:
    """Register the node."""
    other = {"latex": (_pass, _pass), "text": (_pass, _pass)}
    app.add_node(box, html=(_visit_html, _depart_html), **other)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
