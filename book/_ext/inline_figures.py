r"""Figures of notebooks become part of the page: they follow its theme and set its typeface.

An `<img>` cannot see the page's colours. So an SVG that a cell drew, or that a file holds, is put
into the page itself, its palette turned into CSS variables and its ids made unique. A figure
without a text alternative fails the build.

A drawing that an author put on the page as raw SVG gets the same box. Its smallest words are kept
at {py:data}`SMALLEST` pixels: where a screen is too narrow for that, the box pans.
"""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from book._ext.compact_paths import compact_path, without_gaps
from book.palette import palette

LOGGER = logging.getLogger(__name__)
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
#: The least size of a figure's words on a page, in pixels.
SMALLEST = 11.0
#: The folder that a notebook's outputs are written to.
OUTPUTS = "jupyter_execute"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
#: A point is 1.33 pixels: two decimals are a seventy-fifth of one.
DECIMALS = 2
_PLACES = {"x", "y", "width", "height"}
_DECIMAL = re.compile(r"-?\d+\.\d+")
_UNTURNED = re.compile(r"rotate\(-?0(?: .*)?\)")
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_OF_ALL = re.compile(r"\s*\*\s*\{([^{}]*)\}\s*")


def page_svg(text: str, alt: str) -> str:
    """An SVG document as an element of a page: themed, with unique ids and an accessible name."""
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(text)
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    _hand_down(root)
    prefix = "f" + hashlib.sha256(text.encode()).hexdigest()[:8]
    used = _used_ids(root)
    colours = palette.css()
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in used:
                    element.set(key, f"{prefix}-{value}")
                else:
                    del element.attrib[key]
            elif key == f"{{{XLINK}}}href" and value.startswith("#"):
                del element.attrib[key]
                element.set("href", f"#{prefix}-{value[1:]}")
            elif key == "d":
                element.set(key, compact_path(value, DECIMALS))
            elif key == "transform" and _UNTURNED.fullmatch(value):
                del element.attrib[key]
            elif key in _PLACES and _DECIMAL.fullmatch(value):
                element.set(key, f"{float(value):.{DECIMALS}f}".rstrip("0").rstrip("."))
            else:
                value = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
                element.set(key, _HEX.sub(lambda m: colours.get(m[0].lower(), m[0]), value))
    width = root.attrib.pop("width", "")
    root.attrib.pop("height", None)
    root.attrib.pop("version", None)
    root.set("class", "figure-svg")
    root.set("role", "img")
    root.set("aria-label", alt)
    if width:
        # Never larger than drawn, and never so small that its text cannot be read.
        pixels = float(width.removesuffix("pt")) * 4 / 3
        root.set("style", f"max-width: {pixels:.0f}px; min-width: {min(pixels, 540):.0f}px")
    return without_gaps(ET.tostring(root, encoding="unicode"))


def _hand_down(root: ET.Element) -> None:
    """What a style sheet in the figure says of all elements is said at the root: they inherit it.

    On a page, `*` would mean all elements of the page, other drawings among them; and a browser
    would style each of them anew for each figure that it meets.
    """
    for parent in list(root.iter()):
        for sheet in parent.findall(f"{{{SVG}}}style"):
            if match := _OF_ALL.fullmatch(sheet.text or ""):
                parent.remove(sheet)
                for declaration in filter(str.strip, match[1].split(";")):
                    name, _, value = declaration.partition(":")
                    root.set(name.strip(), value.strip())


def readable(svg: str) -> str:
    """A drawing in its box, with the width below which its smallest words could not be read."""
    tag, _, rest = svg.partition(">")
    sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)"', svg)]
    box = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+)', tag)
    if box and sizes:
        least = f"min-width:{float(box[1]) * SMALLEST / min(sizes):.0f}px"
        if 'style="' in tag:
            tag = tag.replace('style="', f'style="{least};', 1)
        else:
            tag += f' style="{least}"'
    return f'<div class="figure-scroll">{tag}>{rest}</div>'


def _used_ids(root: ET.Element) -> set[str]:
    used: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            used |= set(_REFERENCE.findall(value))
            if key.endswith("href") and value.startswith("#"):
                used.add(value[1:])
    return used


class InlineFigures(SphinxPostTransform):
    """Replace SVG images, of notebooks and of files, by their markup."""

    default_priority = 200
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Handle every image of the page, and every drawing that stands in it."""
        for raw in list(self.document.findall(nodes.raw)):
            tag = raw.astext().partition(">")[0]
            # An icon is hidden from those who read with their ears; it is no figure.
            drawing = tag.startswith("<svg ") and 'aria-hidden="true"' not in tag
            if raw.get("format") == "html" and drawing:
                raw.replace_self(nodes.raw("", readable(raw.astext().rstrip()), format="html"))
        for image in list(self.document.findall(nodes.image)):
            path = self._drawn(image)
            if path is None:
                continue
            alt = image.get("alt", "").strip()
            if not alt or alt == path.name or re.fullmatch(r"(\.\./)*_build/.*", alt):
                LOGGER.warning(
                    "a figure has no text alternative; give the cell mystnb: image: alt:",
                    location=image,
                    type="figure",
                    subtype="alt",
                )
            svg = page_svg(path.read_text(encoding="utf-8"), alt)
            # A notebook's figure says its own width; a drawing in a file has a box only.
            drawn = OUTPUTS in image.get("uri", "")
            boxed = f'<div class="figure-scroll">{svg}</div>' if drawn else readable(svg)
            raw = nodes.raw("", boxed, format="html")
            raw.source, raw.line = image.source, image.line
            image.replace_self(raw)

    def _drawn(self, image: nodes.image) -> Path | None:
        uri = image.get("uri", "")
        if not uri.endswith(".svg") or "://" in uri:
            return None
        path = (Path(self.app.srcdir) / uri.lstrip("/")).resolve()
        return path if path.is_file() else None


def setup(app: Sphinx) -> dict[str, object]:
    """Register the transform."""
    app.add_post_transform(InlineFigures)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
