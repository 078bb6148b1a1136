"""The cover shows the engine's own schedule, the same every time, and needs no font."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from book.drawings import cover, lettering

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run() -> cover.Crowd:
    return cover.crowd()


def test_the_run_keeps_to_the_budget_and_touches_it(run):
    sums = [sum(tokens for _, tokens in step) for step in run.steps]
    assert max(sums) == cover.BUDGET
    assert min(sums) > 0
    assert any(total < cover.BUDGET / 2 for total in sums)
    assert run.num_tokens == sum(sums)
    assert run.num_requests == 1 + max(request for step in run.steps for request, _ in step)


def test_a_piece_is_as_wide_as_its_tokens(run):
    short = cover.Crowd(run.steps[:4], run.num_requests)
    drawn = ET.fromstring(
        f'<svg xmlns="http://www.w3.org/2000/svg">{cover.threads(short, 0, 0, 10, 10)}</svg>'
    )
    widths: list[float] = []
    for path in drawn.iter(f"{SVG}path"):
        if path.get("opacity"):
            continue
        for piece in path.get("d", "").split("z")[:-1]:
            left = float(piece[1:].split()[0])
            right = float(piece.split("H")[1].split("v")[0])
            widths.append(right - left)
    tokens = [tokens for step in short.steps for _, tokens in step]
    assert sorted(round((width + 1.6) / 10) for width in widths) == sorted(tokens)


def test_the_cover_says_what_it_counts_and_draws_its_letters(run):
    svg = cover.cover_svg()
    assert svg == cover.cover_svg()
    root = ET.fromstring(svg)
    assert (root.get("width"), root.get("height")) == ("1600", "2560")
    assert f"{run.num_requests} requests" in root.get("aria-label", "")
    assert not list(root.iter(f"{SVG}text"))
    assert "font-family" not in svg
    assert len(svg) < 500_000


def test_the_banner_of_the_readme_is_the_drawing():
    kept = Path(cover.__file__).with_name("banner.svg").read_text(encoding="utf-8")
    assert kept == cover.banner_svg()


def test_letters_that_the_font_lacks_are_refused():
    with pytest.raises(ValueError, match="has no"):
        lettering.outline("深", 0, 0, 10, fill="#000")
    with pytest.raises(ValueError, match="no weight 'Bold'"):
        lettering.width_of("a", 10, "Bold")


def test_a_text_that_ends_somewhere_ends_there():
    width = lettering.width_of("the budget", 28)
    assert lettering.outline("the budget", 500, 0, 28, fill="#000", end=True) == lettering.outline(
        "the budget", 500 - width, 0, 28, fill="#000"
    )
