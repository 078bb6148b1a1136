"""The maps of memory: nobody lies on anybody, every row is whole, every block is the engine's."""

from __future__ import annotations

import io
import itertools
import re
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

pytest.importorskip("matplotlib", reason="the book's own requirements are not installed")

from book.drawings.memory_map import Life, draw_memory_map, in_blocks, in_rows
from book.palette import palette

MEMORY = 64
LIFE = st.builds(
    lambda prompt, answer, more: (prompt, answer, answer + more),
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(0, 12),
)
LIVES = st.lists(LIFE, min_size=1, max_size=8).map(
    lambda parts: [Life("ABCDEFGH"[i], *part) for i, part in enumerate(parts)]
)


def check(pieces) -> None:
    assert all(piece.length > 0 for piece in pieces)
    assert all(p.start >= 0 and p.start + p.length <= MEMORY for p in pieces)
    for one, other in itertools.pairwise(sorted(pieces, key=lambda p: p.start)):
        assert one.start + one.length <= other.start


def asked(life: Life) -> int:
    return life.prompt + life.asked


@settings(max_examples=80, deadline=None)
@given(LIVES, st.integers(1, 20))
def test_rows_do_not_overlap_and_are_whole(lives, steps) -> None:
    pieces = in_rows(lives, MEMORY, steps, asked)
    check(pieces)
    lengths = Counter()
    for piece in pieces:
        lengths[piece.owner] += piece.length
    for life in lives:
        assert lengths[life.name] in (0, asked(life))
    # Somebody who is in has its prompt, and at most all that it will ever compute.
    now = {p.owner: p.length for p in pieces if p.kind == "tokens"}
    for life in lives:
        assert now.get(life.name, life.prompt) in range(life.prompt, life.places + 1)


def test_rows_by_hand() -> None:
    lives = [Life("A", 4, 3, 6), Life("B", 2, 9, 9), Life("C", 8, 2, 2), Life("D", 1, 1, 1)]
    found = {
        step: [(p.start, p.length, p.owner, p.kind) for p in in_rows(lives, 24, step, asked)]
        for step in (1, 4)
    }
    assert found[1] == [
        (0, 4, "A", "tokens"),
        (4, 2, "A", "to come"),
        (6, 4, "A", "never used"),
        (10, 2, "B", "tokens"),
        (12, 8, "B", "to come"),
        (20, 1, "B", "never used"),
    ]
    # A has ended and C has its place. Until then D stood behind C, though there was room for it.
    assert found[4] == [
        (0, 8, "C", "tokens"),
        (8, 1, "C", "to come"),
        (9, 1, "C", "never used"),
        (10, 5, "B", "tokens"),
        (15, 5, "B", "to come"),
        (20, 1, "B", "never used"),
        (21, 1, "D", "tokens"),
        (22, 1, "D", "never used"),
    ]


@settings(max_examples=40, deadline=None)
@given(LIVES, st.integers(1, 12), st.sampled_from((2, 4, 8)))
def test_blocks_are_whole_and_nothing_is_reserved(lives, steps, size) -> None:
    pieces = in_blocks(lives, MEMORY, steps, size)
    check(pieces)
    by_block = Counter()
    for piece in pieces:
        assert piece.start // size == (piece.start + piece.length - 1) // size
        by_block[piece.start // size] += piece.length
    assert set(by_block.values()) <= {size}
    # Of each request only the last block has room.
    room = Counter(piece.owner for piece in pieces if piece.kind == "to come")
    assert all(count == 1 for count in room.values())


def test_the_picture_is_reproducible_and_in_the_books_colours() -> None:
    lives = [Life("A", 6, 5, 12), Life("B", 9, 4, 4)]

    def draw() -> str:
        strips = {"rows": in_rows(lives, 64, 3, asked), "blocks": in_blocks(lives, 64, 3, 4)}
        out = io.StringIO()
        draw_memory_map(strips, 64).savefig(out, format="svg", metadata={"Date": None})
        return out.getvalue()

    svg = draw()
    assert draw() == svg
    assert {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", svg)} <= set(palette.css())
