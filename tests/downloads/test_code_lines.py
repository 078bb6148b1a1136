"""Long lines are wrapped one by one; what they say does not change."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from book.downloads.code_lines import columns, wrap_long


def pre(code: str, **options) -> str:
    """The inside of the `<pre>` that Pygments makes."""
    html = highlight(code, PythonLexer(), HtmlFormatter(nowrap=False, **options))
    return re.search(r"<pre>(.*)</pre>", html, re.DOTALL)[1]


def text(markup: str) -> str:
    return BeautifulSoup(f"<pre>{markup}</pre>", "html.parser").pre.get_text()


def test_only_the_long_line_is_touched():
    markup = pre("short = 1\nlong = " + "a + " * 40 + "a\nlast = 2\n")
    wrapped = BeautifulSoup(f"<pre>{wrap_long(markup)}</pre>", "html.parser")
    assert [len(e.get_text()) > 100 for e in wrapped.select(".long")] == [True]
    assert wrapped.select_one(".long").get_text().startswith("long = a + ")


def test_a_marked_long_line_stays_marked():
    markup = pre("x = '" + "y" * 120 + "'\nz = 2\nw = 3\n", hl_lines=[1, 2])
    wrapped = BeautifulSoup(f"<pre>{wrap_long(markup)}</pre>", "html.parser")
    assert wrapped.select_one(".hll > .long").get_text().startswith("x = ")
    assert len(wrapped.select(".hll")) == 2


def test_entities_count_as_one_column():
    assert columns('<span class="o">&lt;</span>&amp;b') == 3


@given(
    st.lists(st.text("ab <&\"'#()=", max_size=40), min_size=1, max_size=8),
    st.sets(st.integers(1, 8)),
    st.integers(5, 30),
)
def test_wrapping_changes_no_text(lines, marked, limit):
    markup = pre("\n".join(lines) + "\n", hl_lines=sorted(marked), linenos="inline")
    assert text(wrap_long(markup, limit)) == text(markup)
