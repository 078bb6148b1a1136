"""The mark is what the engine does, fits its grid, and is the committed favicon."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from book.drawings import mark


def pieces(svg: str) -> list[dict[str, float | str]]:
    found = []
    for rect in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect"):
        numbers = {key: float(rect.get(key, "0")) for key in ("x", "y", "width", "height")}
        found.append({"class": rect.get("class", ""), **numbers})
    return found


def test_the_engine_makes_the_steps_that_are_drawn():
    assert mark.run() == mark.STEPS


def test_a_column_is_a_step_and_heights_are_tokens():
    drawn = pieces(mark.favicon_svg())
    line, rest = drawn[0], drawn[1:]
    assert line["class"] == "mark-line"
    columns = sorted({p["x"] for p in rest})
    assert len(columns) == len(mark.STEPS)
    token = min(p["height"] for p in rest)
    for x, step in zip(columns, mark.STEPS, strict=True):
        column = sorted((p for p in rest if p["x"] == x), key=lambda p: -p["y"])
        heights = [round((p["height"] + 2) / (token + 2)) for p in column]
        assert heights == [tokens for _, tokens in step]
        assert sum(heights) <= mark.BUDGET
        assert all(p["y"] > line["y"] + line["height"] for p in column)


def test_at_16_pixels_every_piece_begins_and_ends_on_a_pixel():
    for piece in pieces(mark.favicon_svg())[1:]:
        edges = [
            piece["x"],
            piece["y"],
            piece["x"] + piece["width"],
            piece["y"] + piece["height"],
        ]
        assert all(edge % 2 == 0 and 0 <= edge <= mark.SIDE for edge in edges)


def test_the_favicon_is_the_drawing():
    assert mark.FAVICON.read_text(encoding="utf-8") == mark.favicon_svg()


def test_the_header_takes_its_line_from_the_page():
    svg = mark.header_svg()
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert svg.count("mark-first") == sum(n == "A" for step in mark.STEPS for n, _ in step)
