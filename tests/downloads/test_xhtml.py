"""A page of the ePub is XHTML that needs no script, no fold and no variable."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("lxml", reason="lxml is not installed")

from book.downloads.xhtml import NotXhtml, concrete, readable

SVG = "{http://www.w3.org/2000/svg}"


def tree(body: str) -> ET.Element:
    """The page, read by a parser that forgives nothing."""
    return ET.fromstring(f"<div>{readable(body)}</div>")


def test_code_keeps_its_blanks_and_its_lines():
    body = (
        '<div class="highlight"><pre><span></span>if a:\n    <span>b</span>\n\n    c\n</pre></div>'
    )
    assert "".join(tree(body).find(".//pre").itertext()) == "if a:\n    b\n\n    c\n"


def test_names_of_svg_keep_their_case_and_colours_their_value():
    body = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2" '
        'preserveAspectRatio="none"><linearGradient id="g"></linearGradient>'
        '<path fill="var(--fig-blue, #2563b0)" d="M0 0"></path></svg>'
    )
    svg = tree(body).find(f"{SVG}svg")
    assert svg.get("viewBox") == "0 0 2 2"
    assert svg.find(f"{SVG}linearGradient") is not None
    assert svg.find(f"{SVG}path").get("fill") == "#2563b0"


def test_a_drawing_that_names_no_namespace_gets_it():
    assert tree('<svg viewBox="0 0 1 1"><path d="M0 0"/></svg>').find(f"{SVG}svg") is not None


def test_scripts_and_folds_are_gone_and_what_they_held_is_not():
    body = (
        '<script type="application/json">{"a": "<b>&"}</script>'
        "<details><summary>How to read this</summary><p>Signs.</p></details>"
    )
    page = tree(body)
    text = " ".join(page.itertext())
    assert page.find(".//details") is None
    assert page.find(".//script") is None
    assert "How to read this" in text
    assert "Signs." in text


def test_entities_of_html_become_characters_and_those_of_xml_stay():
    page = tree("<p>a&nbsp;b &mdash; &lt;c&gt; &amp; d</p>")
    assert "".join(page.itertext()) == "a\u00a0b \u2014 <c> & d"
    with pytest.raises(NotXhtml, match="&nosuchthing;"):
        readable("<p>&nosuchthing;</p>")


def test_answers_move_to_the_end():
    body = (
        '<section><h1>Exercises</h1><div class="entry entry-exercise" id="exercise-a"><p>Why?</p>'
        '<details class="entry-answer"><summary>Answer</summary><p>Because.</p></details></div>'
        "<p>After.</p></section>"
    )
    text = " ".join("".join(tree(body).itertext()).split())
    assert text.index("After.") < text.index("Because.")


@pytest.mark.parametrize(
    "left_open",
    ["<wbr>", "<br >", '<img alt="a > b" src="x">', '<input type="checkbox" checked="checked">'],
)
def test_what_html_leaves_open_takes_nothing_of_what_follows(left_open):
    page = tree(f"<ul><li><p>a{left_open}b</p></li><li>c</li></ul>")
    assert [len(item) for item in page.findall("ul/li")] == [1, 0]
    assert "".join(page.itertext()) == "abc"


def test_an_empty_element_is_not_closed_in_itself_unless_it_is_void():
    assert readable("<p><span></span><br/></p>") == "<p><span></span><br/></p>"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("var(--fig-blue, #2563b0)", "#2563b0"),
        ("1px solid var(--x)", "1px solid currentColor"),
        ("red", "red"),
    ],
)
def test_variables_become_values(value, plain):
    assert concrete(value) == plain
