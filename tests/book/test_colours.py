"""Every colour of text stands out from every ground that text may stand on, in both themes."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

THEME = Path(__file__).resolve().parents[2] / "book" / "_static" / "css" / "theme.css"
TEXTS = ("book-ink", "book-muted", "book-accent", "book-link")
GROUNDS = ("book-paper", "book-raised", "book-code", "book-mark")


def colours(theme: str) -> dict[str, str]:
    """The variables of the theme's first rule."""
    css = THEME.read_text(encoding="utf-8")
    rule = css.split(f'html[data-theme="{theme}"] {{', 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rule))


def light(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    low, high = sorted((light(a), light(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself():
    assert round(contrast("#000000", "#ffffff"), 1) == 21.0
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_on_every_ground(theme):
    found = colours(theme)
    texts = [*TEXTS, *(name for name in found if name.startswith("code-"))]
    assert len(texts) == 10
    weak = {
        (text, ground): round(contrast(found[text], found[ground]), 2)
        for text, ground in itertools.product(texts, GROUNDS)
        if contrast(found[text], found[ground]) < 4.5
    }
    assert weak == {}


def test_the_dark_is_not_black_and_the_light_is_not_white():
    assert 0.005 < light(colours("dark")["book-paper"]) < 0.02
    assert 0.9 < light(colours("light")["book-paper"]) < 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_in_figures_stand_out_from_the_page(theme):
    found = colours(theme)
    for name in ("fig-ink", "fig-muted"):
        assert contrast(found[name], found["fig-paper"]) >= 4.5
