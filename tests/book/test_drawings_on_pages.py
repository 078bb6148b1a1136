"""Drawings that stand on a page as SVG get a box, and a width at which they can be read."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from docutils import nodes
from docutils.utils import new_document

from book._ext.inline_figures import SMALLEST, InlineFigures, page_svg, readable
from book.palette import palette

SVG = (
    '<svg viewBox="0 0 600 300" role="img"{style} font-size="14">'
    '<text font-size="12">a</text></svg>'
)


def test_the_smallest_words_decide_the_least_width():
    for style in ("", ' style="display:block;max-width:700px"'):
        drawn = readable(SVG.format(style=style))
        least = re.search(r"min-width:(\d+)px", drawn)
        assert least is not None
        assert abs(float(least[1]) * 12 / 600 - SMALLEST) < 0.1
        assert drawn.count("style=") == 1
        assert drawn.startswith('<div class="figure-scroll"><svg ')
        assert drawn.endswith("</text></svg></div>")


def test_a_drawing_without_words_keeps_its_size():
    assert "min-width" not in readable('<svg viewBox="0 0 10 10"><rect/></svg>')


def test_what_a_figure_says_of_all_its_elements_is_said_of_no_other_element_of_the_page():
    sheet = '<style type="text/css">*{stroke-linejoin: round; stroke-linecap: butt}</style>'
    line = '<path d="M 0 0 L 1 1"/>'
    drawn = page_svg(
        f'<svg xmlns="http://www.w3.org/2000/svg"><defs>{sheet}</defs>{line}</svg>', "A line"
    )
    assert "<style" not in drawn
    root = drawn.partition(">")[0]
    assert 'stroke-linejoin="round"' in root
    assert 'stroke-linecap="butt"' in root


class OnPage(InlineFigures):
    """The transform, told where the sources are instead of asking a build."""

    app = SimpleNamespace(srcdir=str(Path(__file__).resolve().parents[2]))


def test_a_drawing_of_a_file_becomes_part_of_the_page_and_follows_its_theme():
    document = new_document("page")
    uri = "labs/capstone/loop/screens/matrix.svg"
    document += nodes.image(uri=uri, alt="Eight bars")
    document += nodes.image(uri="https://example.org/x.svg", alt="another host's")
    OnPage(document).run()
    (raw,) = document.findall(nodes.raw)
    svg = raw.astext()
    assert svg.startswith('<div class="figure-scroll"><svg ')
    assert 'aria-label="Eight bars"' in svg
    assert f"var(--fig-ink, {palette.ink})" in svg
    assert f'"{palette.ink}"' not in svg
    assert "min-width:" in svg
    (left,) = document.findall(nodes.image)
    assert "example.org" in left["uri"]
