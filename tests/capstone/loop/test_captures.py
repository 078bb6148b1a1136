"""The screens that the book shows are what the program shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from capstone.loop import captures, catalogue
from capstone.loop.catalogue import Bank


@pytest.fixture(scope="module")
def whole() -> Bank:
    """The bank that readers get: a tree of it is walked on the screen."""
    return catalogue.load(Path(__file__).resolve().parents[3])


@pytest.mark.parametrize("name", sorted(captures.WIDTHS))
def test_a_walk_is_as_it_was_taken(whole: Bank, tmp_path: Path, name: str) -> None:
    shown = captures.walk_screen(whole, captures.WIDTHS[name], tmp_path)
    kept = (captures.FOLDER / f"walk-{name}.txt").read_text(encoding="utf-8")
    assert shown == kept, "take them anew: python -m capstone.loop.captures"
    assert max(map(len, kept.splitlines())) <= captures.WIDTHS[name]


@pytest.mark.parametrize("name", sorted(captures.WIDTHS))
def test_a_screen_is_as_it_was_taken(bank: Bank, tmp_path: Path, name: str) -> None:
    """The first session asks from phases 0 to 3 alone, so the sample bank shows the same."""
    width = captures.WIDTHS[name]
    shown, _ = captures.screen(bank, width, tmp_path)
    kept = (captures.FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert shown == kept, "take them anew: python -m capstone.loop.captures"
    assert max(map(len, kept.splitlines())) <= width
