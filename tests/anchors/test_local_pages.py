"""Upstream's files as pages: what they say, what they link to, and when they are written anew."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

import pytest

from upstream_anchors.tree import Tree

pytest.importorskip("sphinx", reason="the book's dependencies are not installed")
pytest.importorskip("myst_parser", reason="the book's dependencies are not installed")

CORE = "vllm/engine/core.py"
BOOK = {
    "one": f"# Page one\n\nTop {{up}}`{CORE}#Core.step`.\n\n"
    f"## A heading\n\n{{up}}`{CORE}#Core.get`\n",
    "two": f"# Page two\n\nAlso {{up}}`{CORE}#Core.get`, {{up}}`csrc/kernel.cu#copy`.\n",
    "three": "# Page three\n\n{up}`docs/guide.md#Deeper`, {py:class}`vllm.sampling.Params`\n",
}


def page_of(app, path: str = CORE) -> str:
    """The HTML of a file's page."""
    return (Path(app.outdir) / f"upstream/{path}.html").read_text()


def stamps(app) -> dict[str, int]:
    """When each local page was written."""
    folder = Path(app.outdir) / "upstream"
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns
        for p in folder.rglob("*")
        if p.suffix in {".html", ".js"}
    }


def plain(text: str) -> str:
    """Text of HTML without its tags."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def test_every_line_stands_there_as_upstream_has_it(build, tree: Tree) -> None:
    app = build(BOOK)
    assert app.warning.getvalue() == ""
    for path in (CORE, "csrc/kernel.cu", "docs/guide.md"):
        code = re.search(r"<pre tabindex.*?</pre>", page_of(app, path), re.DOTALL)[0]
        assert plain(code) == tree.text(path)
        ids = re.findall(r'id="L(\d+)"', code)
        assert ids == [str(n + 1) for n in range(len(tree.lines(path)))]


def test_a_page_says_who_speaks_of_its_lines(build, tree: Tree) -> None:
    text = page_of(build(BOOK))
    listed = re.search(r'<details class="up-discussed".*?</details>', text, re.DOTALL)[0]
    assert re.findall(r'<a href="([^"]+)">([^<]+)</a>', listed) == [
        ("../../../one.html#a-heading", "Page one · A heading"),
        ("../../../two.html", "Page two"),
        ("../../../one.html", "Page one"),
    ]
    assert re.findall(r"<code>([^<]+)</code>", listed) == ["Core.get", "Core.step"]
    step = tree.lines(CORE).index("    @staticmethod") + 1
    get = tree.lines(CORE).index("    def get(self, key):") + 1
    marks = re.findall(
        r'<span id="L(\d+)">(?:<a id[^>]*></a>)*<a class="up-said" href="([^"]+)"', text
    )
    assert marks == [(str(get), f"#d{get}"), (str(step), "../../../one.html")]


def test_names_in_annotations_count_as_well(build) -> None:
    assert "Page three" in page_of(build(BOOK), "vllm/sampling.py")


def test_permalink_pin_notice_and_licence_are_on_the_page(build, tree: Tree) -> None:
    (tree.root / "LICENSE").write_text("The licence & its terms\n")
    file = tree.root / CORE
    file.write_text("# SPDX-License-Identifier: Apache-2.0\n" + file.read_text())
    app = build(BOOK)
    text = page_of(app)
    assert "vllm 9.9.9 @ abc1234de" in text
    assert f'href="https://example.org/blob/v9.9.9/{CORE}"' in text
    head = text[: text.index("up-file")]
    assert "SPDX-License-Identifier: Apache-2.0" in head
    assert '<a href="../../LICENSE.html">LICENSE</a>' in head
    assert "The licence &amp; its terms" in page_of(app, "LICENSE")
    index = (Path(app.outdir) / "upstream/index.html").read_text()
    assert 'href="vllm/engine/core.py.html"' in index
    assert 'href="LICENSE.html"' in index
    assert "terms" in page_of(app, "LICENSE")
    assert 'href="LICENSE.html"' not in page_of(app, "LICENSE")


def test_the_index_heads_each_folder_with_its_own_path(build, tree: Tree) -> None:
    folder = "vllm/model_executor/fused_layers"
    (tree.root / folder).mkdir(parents=True)
    (tree.root / folder / "linear_base.py").write_text("def apply():\n    return 1\n")
    app = build({"one": f"# One\n\n{{up}}`{folder}/linear_base.py#apply`\n"})
    index = (Path(app.outdir) / "upstream/index.html").read_text()
    heads = re.findall(r"<h2>(.*?)</h2>", index, re.DOTALL)
    assert folder in [plain(head) for head in heads]
    assert plain(re.search(r"<code>(linear.*?)</code>", index)[1]) == "linear_base.py"


def test_a_build_without_changes_writes_nothing(build) -> None:
    before = stamps(build(BOOK))
    assert len(before) > 8
    assert stamps(build({})) == before


def test_an_edit_writes_the_pages_of_the_files_it_touches(build) -> None:
    before = stamps(build(BOOK))
    app = build({"two": BOOK["two"].replace("# Page two", "# Another title")})
    changed = {name for name, stamp in stamps(app).items() if before[name] != stamp}
    assert {name for name in changed if name.endswith(".html")} == {
        f"{CORE}.html",
        "csrc/kernel.cu.html",
    }
    assert "Another title" in page_of(app)
    assert "Page two" not in page_of(app)


def test_a_file_that_nobody_links_to_any_more_loses_its_page(build) -> None:
    app = build(BOOK)
    assert page_of(app, "csrc/kernel.cu")
    app = build({"two": "# Page two\n\nNothing.\n"})
    left = stamps(app)
    assert not [name for name in left if name.startswith("csrc")]
    assert "csrc/kernel.cu" not in (Path(app.outdir) / "upstream/index.html").read_text()


def test_an_edited_tree_is_shown_as_it_is_now(build, tree: Tree) -> None:
    build(BOOK)
    file = tree.root / CORE
    file.write_text(file.read_text().replace("finish(None)", "finish(3)"))
    assert "finish(<span" in page_of(build({}))


@pytest.mark.parametrize("parallel", [0, 2])
def test_two_builds_are_equal_to_the_byte(build, parallel: int) -> None:
    def everything(app) -> dict[str, bytes]:
        folder = Path(app.outdir) / "upstream"
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}

    first = build(BOOK)
    before = everything(first)
    shutil.rmtree(first.outdir)
    shutil.rmtree(first.doctreedir)
    assert everything(build(BOOK, parallel=parallel)) == before


def test_they_are_not_in_the_search(build) -> None:
    app = build(BOOK)
    assert "upstream/" not in (Path(app.outdir) / "searchindex.js").read_text()
