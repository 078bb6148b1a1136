"""The drawing: every file is in it, importers stand above, its colours are the book's."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from upstream_anchors.codebase_map import Part, draw, standalone
from upstream_anchors.codebase_map.layers import arrange
from upstream_anchors.codebase_map.picture import COLOURS

FILES = list("abcdefghij")
EDGES = st.dictionaries(
    st.tuples(st.sampled_from(FILES), st.sampled_from(FILES)).filter(lambda e: e[0] != e[1]),
    st.sampled_from(["load", "typing", "lazy"]),
    max_size=25,
)


@given(edges=EDGES)
def test_every_file_has_a_place_and_every_import_is_drawn_or_implied(edges) -> None:
    layers = arrange(FILES, edges)
    height = layers.height
    assert sorted(name for row in layers.rows for name in row if name in FILES) == FILES
    drawn = {(route.importer, route.imported): route for route in layers.routes}
    assert len(drawn) + layers.implied == len(edges)
    down = {edge for edge in drawn if height[edge[0]] < height[edge[1]]}
    for edge in edges.keys() - drawn.keys():
        # What is left out can be followed down the lines that are there.
        seen, pending = set(), [edge[0]]
        while pending:
            name = pending.pop()
            seen.add(name)
            pending += [b for a, b in down if a == name and b not in seen]
        assert edge[1] in seen
    for route in layers.routes:
        rows = [height[n] for n in (route.importer, *route.via, route.imported)]
        steps = {b - a for a, b in pairwise(rows)}
        assert steps <= {1} or steps <= {-1} or rows[0] == rows[-1]


@given(edges=EDGES.map(lambda found: {e: "load" for e in found if e[0] < e[1]}))
def test_without_cycles_every_importer_stands_above(edges) -> None:
    height = arrange(FILES, edges).height
    assert all(height[importer] < height[imported] for importer, imported in edges)


def test_an_import_that_a_chain_implies_is_counted_and_not_drawn() -> None:
    chain = {("a", "b"): "load", ("b", "c"): "load"}
    for when in ("load", "typing", "lazy"):
        layers = arrange(list("abc"), {**chain, ("a", "c"): when})
        assert ([(r.importer, r.imported) for r in layers.routes], layers.implied) == (
            [("a", "b"), ("b", "c")],
            1,
        )


def test_the_drawing_names_its_files_and_counts_importers(part: Part) -> None:
    root = ET.fromstring(draw(part))
    texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
    assert {"pool.py", "manager.py", "plan.py", "pkg/core/deep/"} <= set(texts)
    assert "9 lines · 1 from outside" in texts
    assert "manager.py" in root.attrib["aria-label"]


def test_a_file_of_its_own_knows_the_dark(part: Part) -> None:
    text = standalone(part)
    ET.fromstring(text)
    assert "prefers-color-scheme:dark" in text
    assert "--fig-ink:#23272f" in text


def test_the_colours_are_those_of_the_book() -> None:
    from book.palette import palette

    for name, value in COLOURS.items():
        assert getattr(palette, name.replace("-", "_")) == value
