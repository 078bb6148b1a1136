"""Ledgers of a small book: what they list, how they divide the tree, when they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from upstream_anchors.sphinx_domain.naming import line_span
from upstream_anchors.tree import Tree

pytest.importorskip("sphinx", reason="the book's dependencies are not installed")
pytest.importorskip("myst_parser", reason="the book's dependencies are not installed")

CORE = "vllm/engine/core.py"


def html(app, page: str = "index") -> str:
    """The HTML of a page that was built."""
    return (Path(app.outdir) / f"{page}.html").read_text()


def warnings_of(app) -> str:
    """The build's warnings without their colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", app.warning.getvalue())


LEDGER = {
    "book/phase-01-a/one": f"# One\n\n{{up}}`{CORE}#Core.step` {{up}}`env:VLLM_LEVEL`\n",
    "book/phase-02-b/two": f"# Two\n\n{{up}}`{CORE}#Core.step` {{up}}`{CORE}#Core.get`\n",
    "ledger": "# All\n\n```{anchor-ledger}\n```\n",
    "phase": "# Phase\n\n```{anchor-ledger}\n:phase: 1\n```\n",
    "page": "# Page\n\n```{anchor-ledger}\n:page: book/phase-02-b/two\n```\n",
}


def ledger_of(app, page: str, name: str = "up-ledger") -> list[tuple[str, ...]]:
    """The rows of a ledger as text."""
    table = re.search(rf'<table class="{name}.*?</table>', html(app, page), re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr.*?</tr>", table[0], re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows[1:]]
    return [tuple(re.sub(r"<[^>]+>", "", cell).strip() for cell in row) for row in cells]


@pytest.mark.parametrize("parallel", [0, 2])
def test_the_ledger_lists_anchors_by_file_with_their_pages(
    build, tree: Tree, parallel: int
) -> None:
    app = build(LEDGER, parallel=parallel)
    assert warnings_of(app) == ""
    lines = [line.strip() for line in tree.lines(CORE)]
    wanted = ("@staticmethod", "return value", "def get(self, key):")
    first, last, get = (lines.index(text) + 1 for text in wanted)
    assert ledger_of(app, "ledger") == [
        (CORE,),
        ("Core.get", line_span(get, get + 1), "Two"),
        ("Core.step", line_span(first, last), "One, Two"),
        ("vllm/envs.py",),
        ("VLLM_LEVEL", "5", "One"),
    ]
    assert [row[0] for row in ledger_of(app, "phase")] == [
        CORE,
        "Core.step",
        "vllm/envs.py",
        "VLLM_LEVEL",
    ]
    assert [row[0] for row in ledger_of(app, "page")] == [CORE, "Core.get", "Core.step"]
    # A ledger links to ranges that it alone names, and they are on the page.
    for page in ("ledger", "phase", "page"):
        prefix = "../" * page.count("/")
        links = re.findall(rf'href="{prefix}upstream/{CORE}\.html#([^"]+)"', html(app, page))
        assert links
        assert all(f'id="{fragment}"' in html(app, f"upstream/{CORE}") for fragment in links)
    assert 'href="upstream/index.html"' in html(app, "ledger")


def test_the_ledger_follows_when_another_page_changes(build) -> None:
    build(LEDGER)
    # Only this file is touched: the pages with the ledgers are as old as their output.
    app = build({"book/phase-01-a/one": f"# One\n\n{{up}}`{CORE}#Core.get`\n"})
    assert [row[0] for row in ledger_of(app, "phase")] == [CORE, "Core.get"]
    assert "VLLM_LEVEL" not in html(app, "ledger")


ROOMS = {
    "index": "# All\n\n```{anchor-rooms}\n```\n\n"
    "```{toctree}\n:glob:\n\nrest\nengine\nbook/*/*\n```\n",
    "engine": "# Engine\n\n```{anchor-ledger}\n:under: vllm/engine csrc\n```\n",
    "rest": "# Rest\n\n```{anchor-ledger}\n:under: .\n```\n",
}
PAGES = {name: text for name, text in LEDGER.items() if name.startswith("book/")}


@pytest.mark.parametrize("parallel", [0, 2])
def test_ledgers_divide_the_tree_among_themselves(build, parallel: int) -> None:
    app = build(ROOMS | PAGES, parallel=parallel)
    assert warnings_of(app) == ""
    assert [row[0] for row in ledger_of(app, "engine")] == [CORE, "Core.get", "Core.step"]
    assert [row[0] for row in ledger_of(app, "rest")] == ["vllm/envs.py", "VLLM_LEVEL"]
    # In the order of the contents, with the number of files and of anchors.
    assert ledger_of(app, "index", "up-rooms") == [
        ("Rest", "all that no other page has", "1", "1"),
        ("Engine", "vllm/engine, csrc", "1", "2"),
        ("together", "", "2", "3"),
    ]


def test_an_anchor_below_no_ledgers_folder_is_reported(build) -> None:
    app = build({"index": ROOMS["index"], "engine": ROOMS["engine"], "rest": "# Rest\n"} | PAGES)
    assert "vllm/envs.py is below none of the folders that the ledgers have" in warnings_of(app)


def test_a_folder_with_two_ledgers_is_reported(build) -> None:
    app = build(ROOMS | PAGES | {"rest": ROOMS["engine"].replace("vllm/engine csrc", ". csrc")})
    assert "'csrc' is in the ledgers of engine and rest" in warnings_of(app)


def test_a_ledger_is_asked_one_thing(build) -> None:
    app = build({"index": "# A\n\n```{anchor-ledger}\n:phase: 1\n:under: vllm\n```\n"})
    assert "one of :phase:, :page:, :under: at a time" in warnings_of(app)


def test_only_the_ledgers_that_change_are_written_again(build) -> None:
    app = build(ROOMS | PAGES)
    written = {name: (Path(app.outdir) / f"{name}.html").stat().st_mtime_ns for name in ROOMS}
    more = f"# One\n\n{{up}}`{CORE}#Core.get` {{up}}`env:VLLM_LEVEL`\n"
    app = build({"book/phase-01-a/one": more})
    now = {name: (Path(app.outdir) / f"{name}.html").stat().st_mtime_ns for name in ROOMS}
    # The index shows a changed page's title in its contents, so Sphinx writes it as well.
    assert {name for name in ROOMS if now[name] != written[name]} == {"engine", "index"}


def test_a_page_with_both_tables_is_written_again_when_either_changes(build) -> None:
    both = "# Both\n\n```{anchor-rooms}\n```\n\n```{anchor-ledger}\n```\n"
    assert ledger_of(build(ROOMS | PAGES | {"both": both}), "both")[2][-1] == "One, Two"
    # Files and anchors of each folder stay as many as they were; one of them has one user less.
    app = build({"book/phase-02-b/two": f"# Two\n\n{{up}}`{CORE}#Core.get`\n"})
    assert ledger_of(app, "both")[2][-1] == "One"
