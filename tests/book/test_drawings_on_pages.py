"""Drawings that stand on a page as SVG get a box, and a width at which they can be read."""

from __future__ import annotations

import re

from book._ext.inline_figures import SMALLEST, readable

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
