"""A percent sign stays with its number, except in code."""

import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from book._ext.percents import KeepPercents, kept_together


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("2 % faster, 3.5 % slower", "2\u00a0% faster, 3.5\u00a0% slower"),
        ("2% and %s", "2% and %s"),
        ("what % of it", "what % of it"),
    ],
)
def test_the_space_between_a_number_and_its_sign_does_not_break(typed: str, kept: str) -> None:
    assert kept_together(typed) == kept


def test_code_stays_as_it_was_typed() -> None:
    page = new_document("page", get_default_settings(Parser))
    page += nodes.paragraph("", "", nodes.emphasis("", "5 %"), nodes.literal("", "7 % 3"))
    page += nodes.literal_block("", "", nodes.inline("", "9 % 4"))
    KeepPercents(page).run()
    assert [str(text) for text in page.findall(nodes.Text)] == ["5\u00a0%", "7 % 3", "9 % 4"]
