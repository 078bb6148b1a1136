"""Formulas are spaced as a compositor spaces them, and keep the comma behind them."""

from __future__ import annotations

import re

import pytest

from book._ext.svg_math import formula, with_marks


def width(latex):
    found = re.search(r'width="([\d.]+)em"', formula(latex, inline=True))
    return float(found[1])


@pytest.mark.parametrize("before", ["(", "[", "x =", "1,", "( "])
def test_a_sign_stands_close_to_its_number(before):
    """As wide as without the sign, and the sign: the space of a difference is wider."""
    sign = width(r"{-}") + 0.12  # side bearings, which the box of a lone glyph does not have
    assert width(before + r"-\infty") < width(before + r"\infty") + sign


def test_a_difference_keeps_its_space():
    assert width("a - b") > width("a{-}b") + 0.3


def test_an_operation_in_letters_stands_apart():
    assert width(r"p \bmod B") > width(r"p \mathrm{mod} B") + 0.5


def test_what_a_copy_takes_along_is_what_was_written():
    assert 'aria-label="(-1, 2)"' in formula("(-1, 2)", inline=True)


def set_in(text):
    return text.replace("$", f'<span class="math">{formula("n", inline=True)}</span>')


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("of $, and", 'of <span class="keep">$,</span> and'),
        ("(of $). So", '(of <span class="keep">$).</span> So'),
        ("($) or $", '<span class="keep">($)</span> or $'),
        ("$ and $: two", '$ and <span class="keep">$:</span> two'),
        ("$-th", "$-th"),
        ("no formula, none", "no formula, none"),
    ],
)
def test_a_mark_stays_with_its_formula(text, kept):
    assert with_marks(set_in(text)) == set_in(kept)
