r"""Words as outlines, for pictures that must look the same where the book's typeface is not.

A page brings its fonts along. A cover lies in a PDF, in an ePub and in a preview somewhere else,
so its letters are drawn: the glyphs of IBM Plex Sans, as the font files of the book have them, one
path a line of text. No hinting, no kerning pairs beyond the advance widths; made for few words in
large sizes.
"""

from __future__ import annotations

import functools
from pathlib import Path

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

_FONTS = Path(__file__).resolve().parents[1] / "_static" / "fonts"
WEIGHTS = ("Regular", "SemiBold")


@functools.cache
def _font(weight: str) -> TTFont:
    if weight not in WEIGHTS:
        raise ValueError(f"no weight {weight!r}; there are {', '.join(WEIGHTS)}")
    return TTFont(_FONTS / f"IBMPlexSans-{weight}.woff", recalcTimestamp=False)


def width_of(text: str, size: float, weight: str = "Regular", tracking: float = 0.0) -> float:
    """How wide {py:func}`outline` draws the text."""
    font = _font(weight)
    names, advances = font.getBestCmap(), font["hmtx"]
    units = sum(advances[names[ord(char)]][0] for char in text)
    return size * (units / font["head"].unitsPerEm + tracking * max(len(text) - 1, 0))


def outline(
    text: str,
    x: float,
    y: float,
    size: float,
    *,
    fill: str,
    weight: str = "Regular",
    tracking: float = 0.0,
    end: bool = False,
) -> str:
    """A `<path>` with the baseline at `y`, beginning at `x`, or ending there.

    `tracking` is the extra room between letters, in parts of the size. Raises `ValueError` for a
    letter that the font file does not have.
    """
    font = _font(weight)
    names, advances, glyphs = font.getBestCmap(), font["hmtx"], font.getGlyphSet()
    missing = sorted({char for char in text if ord(char) not in names})
    if missing:
        raise ValueError(f"IBM Plex Sans {weight} has no {', '.join(missing)} of {text!r}")
    scale = size / font["head"].unitsPerEm
    pen = SVGPathPen(glyphs, ntos=lambda number: f"{number:.1f}".rstrip("0").rstrip("."))
    at = x - width_of(text, size, weight, tracking) if end else x
    for char in text:
        name = names[ord(char)]
        glyphs[name].draw(TransformPen(pen, (scale, 0, 0, -scale, at, y)))
        at += scale * advances[name][0] + size * tracking
    return f'<path fill="{fill}" d="{pen.getCommands()}"/>'
