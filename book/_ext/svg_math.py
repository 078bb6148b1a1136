r"""Mathematics as SVG, set when the book is built: no script, no request, any theme.

Formulas are drawn in STIX Two Math with `currentColor`, sized in `em`, and put on the baseline of
the text they stand in. Their accessible name, and what a copy takes along, is the LaTeX.

Three things a compositor does are done here: a minus before its number stands close to it, a word
that is an operation stands apart, and the comma behind a formula does not begin the next line.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import lru_cache
from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from book._ext.compact_paths import compact_path

LOGGER = logging.getLogger(__name__)
SIZE = 100.0  # drawing units an em: coordinates keep two decimals at this size
_NUMBER = re.compile(r"-?\d+\.\d+")
# The library sets every minus but the first of a row with the space of a difference.
_SIGN = re.compile(r"(?<=[(\[,=])(\s*)-")
_MODULO = re.compile(r"\\bmod\b")  # a word to the library, and set without a space
_MARKS = re.compile(
    r'[(“]?<span class="math"><svg\b[^>]*>(?:(?!</svg>).)*</svg></span>[,.;:)?!”]+', re.DOTALL
)


class FormulaError(ValueError):
    """LaTeX that cannot be set."""


@lru_cache(maxsize=4096)
def formula(latex: str, *, inline: bool) -> str:
    """One formula as an `<svg>` element."""
    import ziamath  # half a second, and most rebuilds set no formula

    ziamath.config.svg2 = False  # glyphs as plain paths: no ids to collide on a page
    ziamath.config.precision = 1
    try:
        spaced = _MODULO.sub(r"\\;\\mathrm{mod}\\;", _SIGN.sub(r"\1{-}", latex))
        drawn = ziamath.Latex(spaced, size=SIZE, color="currentColor", inline=inline)
        root = drawn.svgxml()
        _, top, _, box_height = map(float, root.attrib["viewBox"].split())
        depth = top + box_height  # the baseline is at 0
    except Exception as problem:
        raise FormulaError(f"cannot set {latex!r}: {problem}") from problem
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    root.attrib.update(
        {
            "class": "formula",
            "role": "img",
            "aria-label": latex,
            "width": f"{width / SIZE:.3f}em",
            "height": f"{height / SIZE:.3f}em",
            "focusable": "false",
        }
    )
    if inline:
        root.set("style", f"vertical-align: {-depth / SIZE:.3f}em")
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "d":
                element.set(key, compact_path(value, 1))
            elif key in {"viewBox", "transform", "x", "y"}:
                element.set(key, _NUMBER.sub(lambda m: f"{float(m[0]):.1f}", value))
    ET.register_namespace("", "http://www.w3.org/2000/svg")
    return ET.tostring(root, encoding="unicode")


def _set(self: Any, latex: str, node: nodes.Node, *, inline: bool) -> str:
    latex = latex.strip()
    try:
        return formula(latex, inline=inline)
    except FormulaError as problem:
        LOGGER.warning("%s", problem, location=node, type="math", subtype="latex")
        return f'<code class="formula-failed">{escape(latex)}</code>'


def visit_inline(self: Any, node: nodes.math) -> None:
    """`$...$` in a line of text."""
    self.body.append(f'<span class="math">{_set(self, node.astext(), node, inline=True)}</span>')
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """A displayed equation with its number."""
    ids = "".join(f' id="{escape(i)}"' for i in node["ids"][:1])
    self.body.append(f'<div class="math math-block"{ids}>')
    self.body.append(
        f'<div class="math-line">{_set(self, node.astext(), node, inline=False)}</div>'
    )
    if node["number"]:
        number = self.builder.env.domains["math"].get_equation_number_for(node["label"])
        number = number or node["number"]
        self.body.append(f'<span class="eqno">({number})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def with_marks(body: str) -> str:
    """A page's body in which a formula and the mark behind it stand on one line."""
    return _MARKS.sub(lambda found: f'<span class="keep">{found[0]}</span>', body)


def _keep(app: Sphinx, page: str, template: str, context: dict[str, Any], *_: object) -> None:
    if context.get("body"):
        context["body"] = with_marks(context["body"])


def setup(app: Sphinx) -> dict[str, object]:
    """Offer the renderer under the name `svg`."""
    app.add_html_math_renderer("svg", (visit_inline, None), (visit_block, None))
    app.connect("html-page-context", _keep)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
