"""Ours beside theirs: which lines a writer names, and what stands on the page."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book._ext.beside.selection import SelectionError, select

pytest.importorskip("sphinx", reason="the book's own requirements are not installed")
pytest.importorskip("myst_parser", reason="the book's own requirements are not installed")

LINES = [(11, "def f():"), (12, "    while x:"), (15, "        go()"), (16, "    return x")]


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("1", [11]),
        ("1-2", [11, 12]),
        ("2-", [12, 15, 16]),
        ("2-5, 1", [11, 12, 15]),
        ('"while"', [12]),
        ("while x:", [12]),  # Markdown takes the quotes of an option's value
        ('"while" - "go()"', [12, 15]),
        ('"while" - 6', [12, 15, 16]),
        ('"def", "return"', [11, 16]),
    ],
)
def test_places_are_found(spec: str, wanted: list[int]) -> None:
    assert select(spec, LINES, 11) == wanted


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ('"x"', "stands on 2 of the lines"),
        ('"nowhere"', "stands on 0 of the lines"),
        ("7", "line 7 is not shown"),
        ("0", "line 0 is not shown"),
        ("3", "names no line that is shown"),  # 13 is a docstring, say
        ('"go()" - "while"', "runs backwards"),
        ("1-2-3", "should read like"),
        ("1,,2", "a place is missing"),
        ("-3", "a place is missing"),
        ('"open', "cannot be read"),
    ],
)
def test_what_leads_nowhere_is_refused(spec: str, why: str) -> None:
    with pytest.raises(SelectionError, match=re.escape(why)):
        select(spec, LINES, 11)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 400))
def test_a_range_of_numbers_is_that_range(low: int, high: int, first: int) -> None:
    lines = [(first + i, "") for i in range(30)]
    if low > high:
        with pytest.raises(SelectionError):
            select(f"{low}-{high}", lines, first)
    else:
        chosen = select(f"{low}-{high}", lines, first)
        assert chosen == list(range(first + low - 1, first + high))


OURS = '''\
class Pool:
    """Ours."""

    def step(self):
        """Not shown."""
        # prepare < first
        value = self.prepare()
        return value
'''
PAGE = """# Page

```{beside} ours.pool.Pool.step :: vllm/engine/core.py#Core.step
:caption: Look at **A**.
:theirs-lines: 5-7, 9
:theirs-emphasize: finish(value)

A: first :: "value = self.prepare()" :: "value = prepare()"
B: the end :: "return value" :: "return value"
```
"""


@pytest.fixture
def site(tmp_path: Path, make_app):
    """Build the page beside a pinned tree and a package of ours; the builder is the caller's."""
    source = tmp_path / "source"
    (source / "ours").mkdir(parents=True)
    (source / "ours" / "__init__.py").write_text("")
    (source / "ours" / "pool.py").write_text(OURS)

    def build(page: str = PAGE, *, with_tree: bool = True, builder: str = "html"):
        (source / "index.md").write_text(page)
        return make_app(source, with_tree=with_tree, builder=builder)

    return build


@pytest.fixture
def make_app(tmp_path: Path):
    """A Sphinx application on a small tree with a pin that fits."""
    from sphinx.testing.util import SphinxTestApp

    tree = tmp_path / "tree" / "vllm"
    (tree / "engine").mkdir(parents=True)
    (tree / "_version.py").write_text(
        "__version__ = version = '9.9.9'\n__commit_id__ = commit_id = 'gabc1234de'\n"
    )
    (tree / "engine" / "core.py").write_text(
        "class Core:\n    @staticmethod\n    @decorated(\n        1,\n    )\n    def step():\n"
        "        value = prepare()\n        finish(value)\n        finish(None)\n"
        "        return value\n"
    )
    apps = []

    def make(source: Path, *, with_tree: bool, builder: str):
        from upstream_anchors.book_anchors import relock_book
        from upstream_anchors.pin import Pin
        from upstream_anchors.tree import Tree

        pin_file = tmp_path / "pin.toml"
        pin_file.write_text(
            "project = 'vllm'\nversion = '9.9.9'\ntag = 'v9.9.9'\ncommit = 'abc1234de'\n"
            f"sdist_sha256 = '{'0' * 64}'\n"
            "file_url = 'https://example.org/blob/{tag}/{path}'\n"
            "folder_url = 'https://example.org/tree/{tag}/{path}'\n"
        )
        pin = Pin.load(pin_file)
        relock_book(pin, Tree(tree.parent), source, tmp_path / "lock.json")
        (source / "conf.py").write_text(
            "extensions = ['myst_parser', 'book._ext.weave', 'book._ext.beside']\n"
            "autodoc2_packages = [{'path': 'ours', 'auto_mode': False}]\n"
            "myst_enable_extensions = ['colon_fence']\nexclude_patterns = ['_build']\n"
            f"upstream_pin_file = {str(pin_file)!r}\nupstream_use_tree = {with_tree}\n"
            f"upstream_lock_file = {str(tmp_path / 'lock.json')!r}\n"
            f"upstream_tree = {str(tree.parent)!r}\nweave_roots = [{str(source)!r}]\n"
            "nitpicky = True\n"
        )
        app = SphinxTestApp(buildername=builder, srcdir=source)
        apps.append(app)
        app.build()
        return app

    yield make
    for app in apps:
        app.cleanup()


def output(app, name: str = "index.html") -> str:
    """What was written."""
    return (Path(app.outdir) / name).read_text()


def columns(text: str) -> list[list[tuple[str, str, str]]]:
    """Number, letter and code of each line, column by column."""
    found = []
    for column in re.split(r'class="beside-column ', text)[1:]:
        rows = re.findall(r'<span class="bl[^>]*>.*?\n</span>', column, re.DOTALL)
        shown = [re.match(r".*?<i>(\d+)</i><b>(\w*)</b></span>(.*)\n", row) for row in rows]
        found.append(
            [(m[1], m[2], html.unescape(re.sub(r"<[^>]+>", "", m[3]))) for m in shown if m]
        )
    return found


def test_both_sides_with_their_files_numbers_and_letters(site) -> None:
    app = site()
    assert app.warning.getvalue() == ""
    ours, theirs = columns(output(app))
    assert ours == [
        ("4", "", "def step(self):"),
        ("6", "", "    # prepare < first"),
        ("7", "A", "    value = self.prepare()"),
        ("8", "B", "    return value"),
    ]
    assert theirs == [
        ("6", "", "def step():"),
        ("7", "A", "    value = prepare()"),
        ("8", "", "    finish(value)"),
        ("10", "B", "    return value"),
    ]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("finish(value)", "finish(None)"), ""),
        (('"return value" ::', '"gone" ::'), "'gone' stands on 0 of the lines"),
        (("A: first", "C: first"), "in order: C, B"),
        (("A: first ::", "A first ::"), "a pair should read"),
        (("pool.Pool.step", "pool.Pool.stop"), "has no 'stop'"),
        (("#Core.step", "#Core.stop"), "defines no Core.stop"),
        (("#Core.step", ""), "not a whole file"),
        ((" :: vllm/engine", " vllm/engine"), "should read `ours.dotted.name :: anchor`"),
        ((":caption: Look at **A**.\n", ""), "say what to look at"),
    ],
)
def test_a_pair_that_points_nowhere_is_refused(site, change: tuple[str, str], why: str) -> None:
    page = PAGE.replace("5-7, 9", "5-9").replace(*change)
    warnings = re.sub(r"\x1b\[[0-9;]*m", "", site(page).warning.getvalue())
    assert (why in warnings) if why else (warnings == "")
    assert why == "" or "index.md:3" in warnings


def test_a_long_side_is_folded_and_says_what_follows(site) -> None:
    page = PAGE.replace(":caption:", ":fold: 1\n:caption:")
    assert "beside-rest" not in output(site(page))  # five lines more are no fold
    for path in (Path(site(page).srcdir) / "ours" / "pool.py",):
        path.write_text(OURS + "".join(f"        call({i})\n" for i in range(9)))
    text = output(site(page + "\nMore.\n"))
    ours = text[text.index("beside-ours") : text.index("beside-theirs")]
    assert re.search(r"<summary>12 more lines, to 17</summary>", ours)


def test_without_the_tree_there_is_a_link_and_a_notice(site) -> None:
    app = site(with_tree=False)
    assert app.warning.getvalue() == ""
    text = output(app)
    assert "was built without the tree of vllm 9.9.9" in text
    assert 'href="https://example.org/blob/v9.9.9/vllm/engine/core.py#L2-L10"' in text
    assert len([side for side in columns(text) if side]) == 1


def test_other_builders_print_both_sides(site) -> None:
    text = output(site(builder="text"), "index.txt")
    assert "value = self.prepare()" in text
    assert "value = prepare()" in text
    assert text.index("self.prepare") < text.index("= prepare()")
