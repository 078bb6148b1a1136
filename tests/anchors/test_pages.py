"""A small book is built with the tree, without it, and with every mistake a writer can make."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from upstream_anchors.pin import Pin
from upstream_anchors.sphinx_domain.naming import line_span
from upstream_anchors.tree import Tree

pytest.importorskip("sphinx", reason="the book's dependencies are not installed")
pytest.importorskip("myst_parser", reason="the book's dependencies are not installed")

CORE = "vllm/engine/core.py"

PAGE = f"""\
# A page

It is {{up}}`{CORE}#Core.step`, {{up}}`the first
line <{CORE}#Core.step@"prepare()">`, {{up}}`{CORE}`, {{up}}`vllm/engine`, {{up}}`env:VLLM_LEVEL`,
{{up}}`flag:--port`, {{up}}`log:"blocks left"`, {{up}}`default:vllm/config.py#CacheConfig.rows=16`,
{{py:class}}`vllm.engine.core.Core` and {{up}}`!vllm/engine`.

```python
raise SystemExit("core.py:12 in a code block is what a machine printed")
```

```{{up-code}} {CORE}#Core.step
:lines: 4-6, 9
:emphasize: 6
:caption: The *call*.
```
"""


def html(app, page: str = "index") -> str:
    """The HTML of a page that was built."""
    return (Path(app.outdir) / f"{page}.html").read_text()


def warnings_of(app) -> str:
    """The build's warnings without their colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", app.warning.getvalue())


def local(app, path: str = CORE) -> str:
    """The HTML of an upstream file's page."""
    return html(app, f"upstream/{path}")


def previews(app, path: str = CORE) -> dict:
    """The previews that lie beside an upstream file's page."""
    script = (Path(app.outdir) / f"upstream/{path}.js").read_text()
    named, data = json.loads(f"[{script[len('upstreamLines(') : -len(');') - 1]}]")
    assert named == path
    return data["snippets"]


def numbers(tree: Tree, *texts: str) -> list[int]:
    """Line numbers in the core file of lines that are there once."""
    lines = [line.strip() for line in tree.lines(CORE)]
    return [lines.index(text) + 1 for text in texts]


def test_a_page_with_the_tree(build, tree: Tree) -> None:
    app = build({"index": PAGE})
    assert warnings_of(app) == ""
    text = html(app)
    first, last, call = numbers(tree, "@staticmethod", "return value", "value = prepare()")
    url = f"upstream/{CORE}.html"
    assert f'href="{url}#L{first}-L{last}" title="{CORE}, lines {first} to {last}"' in text
    assert f'href="{url}#L{call}"' in text
    assert f'href="{url}"' in text
    assert ">the first line</span>" in text
    assert 'href="https://example.org/tree/v9.9.9/vllm/engine"' in text
    for shown in ("Core.step", "VLLM_LEVEL", "--port", "blocks left", "CacheConfig.rows = 16"):
        assert f'<span class="pre">{shown.split()[0]}</span>' in text
    assert "vllm.engine.core.Core" in text
    assert len(re.findall(r'class="[^"]*\bup-link\b', text)) == 10


def test_a_title_that_is_the_symbols_name_is_code_and_other_words_are_text(build) -> None:
    roles = [f"{{up}}`{title} <{CORE}#Core.step>`" for title in ("step", "Core.step", "steps")]
    text = html(build({"index": "# A page\n\n" + ", ".join(roles) + "\n"}))
    for shown in ("step", "Core.step"):
        assert f'<span class="pre">{shown}</span></code>' in text
    assert ">steps</span></a>" in text


def test_an_excerpt_carries_upstreams_numbers(build, tree: Tree) -> None:
    text = html(build({"index": PAGE}))
    box = text[text.index('class="up-code') :]
    first = numbers(tree, "@staticmethod")[0]
    shown = re.findall(r'<span class="linenos">\s*(\d+)</span>', box)
    assert shown == [str(first + offset) for offset in (3, 4, 5, 8)]
    marked = re.search(r'<span class="hll">.*?</span>.*?\n', box)
    assert marked is not None
    assert str(first + 5) in marked[0]
    assert f"Core.step · {line_span(first + 3, first + 8)}" in box
    assert "<em>call</em>" in box


def test_previews_lie_beside_the_page_with_their_lines(build, tree: Tree) -> None:
    app = build({"index": PAGE})
    found = previews(app)
    first, last, call = numbers(tree, "@staticmethod", "return value", "value = prepare()")
    whole = found[f"L{first}-L{last}"]
    assert whole["name"] == "Core.step"
    assert whole["first"] == first
    assert len(whole["code"]) == last - first + 1
    assert whole["code"][0] == '<span class="nf">@staticmethod</span>'  # dedented
    line = found[f"L{call}"]
    assert line["marked"] == call
    assert "prepare()" in line["code"][call - line["first"]]
    assert [n for n, code in zip(found[""]["numbers"], found[""]["code"]) if "class" in code]
    assert "up-previews" not in html(app)
    assert not (Path(app.outdir) / "upstream/vllm/engine.js").exists()


def test_a_long_range_is_cut_and_says_how_much_is_missing(build, tree: Tree) -> None:
    file = tree.root / CORE
    file.write_text(file.read_text() + "\n\ndef long():\n" + "    call()\n" * 40)
    app = build({"index": f"# P\n\n{{up}}`{CORE}#long`, {{up}}`{CORE}#Core.step`\n"})
    long, short = sorted(previews(app).values(), key=lambda s: -len(s["code"]))
    assert long["more"] == "25 more lines"
    assert len(long["code"]) + 25 == 41
    assert short["more"] == ""


def test_code_cannot_become_markup(build, tree: Tree) -> None:
    file = tree.root / CORE
    file.write_text(file.read_text().replace("finish(None)", 'finish("</script><b>")'))
    app = build({"index": f"# P\n\n{{up}}`{CORE}#Core.step`\n"})
    assert "&lt;/script&gt;&lt;b&gt;" in local(app)
    for text in (local(app), json.dumps(previews(app))):
        assert "finish" in text
        assert "</script><b>" not in text


def test_a_page_without_the_tree_links_to_the_permalinks(build, tree: Tree) -> None:
    app = build({"index": PAGE}, with_tree=False)
    assert warnings_of(app) == ""
    text = html(app)
    first, last = numbers(tree, "@staticmethod", "return value")
    url = f"https://example.org/blob/v9.9.9/{CORE}"
    assert f'href="{url}#L{first}-L{last}"' in text
    assert not (Path(app.outdir) / "upstream").exists()
    assert "was built without the tree of vllm 9.9.9" in text
    assert "linenos" not in text


@pytest.mark.parametrize("with_tree", [True, False])
@pytest.mark.parametrize(
    "mistake",
    [
        f"{{up}}`{CORE}#Core.stpe`",
        '{up}`log:"nobody logs this"`',
        "{up}`default:vllm/config.py#CacheConfig.rows=17`",
        "{py:class}`vllm.engine.core.Nothing`",
        f"```{{up-code}} {CORE}#Nothing\n```",
    ],
)
def test_an_anchor_that_does_not_resolve_is_a_warning(build, mistake: str, with_tree: bool) -> None:
    app = build(
        {"index": f"# Page\n\nText {mistake}\n" if "```" not in mistake else mistake},
        with_tree=with_tree,
    )
    assert "[upstream.missing]" in warnings_of(app)
    assert "index.md:" in warnings_of(app)


def test_with_warnings_as_errors_the_build_fails(tmp_path: Path, tree: Tree, write_conf) -> None:
    from sphinx.cmd.build import main

    source = tmp_path / "failing"
    source.mkdir()
    write_conf(source, tree.root)
    command = ["-q", "-n", "-W", "--keep-going", str(source), str(tmp_path / "out")]
    (source / "index.md").write_text(f"# P\n\n{{up}}`{CORE}#Core.step`\n")
    assert main(command) == 0
    (source / "index.md").write_text(f"# P\n\n{{up}}`{CORE}#Core.stpe`\n")
    assert main(command) == 1
    assert main(command) == 1  # the page is unchanged now, and the anchor still wrong


def test_a_wrong_anchor_names_the_nearest_and_its_line(build) -> None:
    text = warnings_of(build({"index": f"# P\n\nOne.\n\nTwo {{up}}`{CORE}#Core.stpe`.\n"}))
    assert re.search(r"index\.md:5: WARNING", text)
    assert f"nearest: {CORE}#Core.step" in text


@pytest.mark.parametrize(
    "prose",
    [
        "See core.py:428 for it.",
        "See `vllm/v1/engine/core.py:428` for it.",
        "- in a list, csrc/kernel.cu:7",
        "| a | b |\n|---|---|\n| kernel.cuh:7-9 | x |",
        ":::{note}\ntorch_bindings.cpp:12\n:::",
        f"{{up}}`core.py:3 <{CORE}#Core>`",
    ],
)
def test_a_raw_line_reference_is_refused_in_prose(build, prose: str) -> None:
    text = warnings_of(build({"index": f"# Page\n\n{prose}\n"}))
    assert "[upstream.raw-line]" in text
    assert "index.md" in text


@pytest.mark.parametrize(
    "printed",
    [
        "```python\nFile core.py:428\n```",
        "```text\nINFO [core.py:217] ready, core.py:217\n```",
        "A time 12:30, a port localhost:8000, a name core.py and a ratio 3:1.",
        "% core.py:428 in a comment",
    ],
)
def test_a_raw_line_reference_is_allowed_where_a_machine_wrote_it(build, printed: str) -> None:
    assert warnings_of(build({"index": f"# Page\n\n{printed}\n"})) == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (":lines: 3-99", "outside the anchor, which has 9 lines"),
        (":lines: 0-2", "outside the anchor"),
        (":lines: three", "should read like"),
        (":lines: 10-", "outside the anchor"),
        (":lines: 1-3\n:emphasize: 5", "names line 5 of the anchor, which is not shown"),
    ],
)
def test_an_excerpt_that_leaves_its_anchor_is_refused(build, options: str, reason: str) -> None:
    page = f"# P\n\n```{{up-code}} {CORE}#Core.step\n{options}\n```\n"
    assert reason in warnings_of(build({"index": page}))


def test_an_excerpt_runs_on_from_a_fragment(build) -> None:
    page = '# P\n\n```{up-code} csrc/kernel.cu@"template <typename T>"\n:lines: 1-3\n```\n'
    app = build({"index": page})
    assert warnings_of(app) == ""
    assert re.findall(r'class="linenos">\s*(\d+)<', html(app)) == ["8", "9", "10"]


@pytest.mark.parametrize("with_tree", [True, False])
@pytest.mark.parametrize(
    ("argument", "option", "shown"),
    [
        (f"{CORE}#Core.step", ":lines: 8-", (0, 1)),
        (f'{CORE}#Core.step@"return value"', "", (1, 1)),
    ],
)
def test_an_excerpt_may_be_open_ended_or_one_line(
    build, tree: Tree, argument: str, option: str, shown: tuple[int, int], with_tree: bool
) -> None:
    page = f"# P\n\n```{{up-code}} {argument}\n{option}\n```\n"
    app = build({"index": page}, with_tree=with_tree)
    assert warnings_of(app) == ""
    found = numbers(tree, "finish(None)", "return value")
    span = line_span(*(found[place] for place in shown))
    assert f"Core.step · {span}</a>" in html(app)


LEDGER = {
    "index": "# All\n\n```{anchor-ledger}\n```\n",
    "book/one": f"# One\n\n{{up}}`{CORE}#Core.step` {{up}}`env:VLLM_LEVEL`\n",
    "extra": PAGE,
}


def test_the_tree_appearing_rebuilds_every_page(build) -> None:
    assert "without the tree" in html(build({"page": PAGE}, with_tree=False), "page")
    # The page itself is not touched.
    assert "without the tree" not in html(build({}), "page")


def test_two_builds_are_equal_to_the_byte(tmp_path: Path, build) -> None:
    pages = LEDGER
    first = build(pages)
    before = {name: html(first, name) for name in pages}
    shutil.rmtree(first.outdir)
    shutil.rmtree(first.doctreedir)
    second = build(pages)
    assert {name: html(second, name) for name in pages} == before


def test_the_scanner_and_sphinx_agree_on_what_is_used(build, pin: Pin) -> None:
    from upstream_anchors.scanner import scan_book

    app = build(LEDGER)
    used = {target for targets in app.env.domaindata["up"]["uses"].values() for target in targets}
    scanned = {use.target for use in scan_book(Path(app.srcdir), pin)[0]}
    # {py:…} names are resolved after reading, and are nobody's business but the lock's.
    assert {target for target in scanned if not target.startswith("py:")} == used


@pytest.mark.parametrize("builder", ["singlehtml", "epub", "text"])
def test_another_builder_gets_permalinks(build, builder: str) -> None:
    app = build({"index": PAGE}, builder=builder)
    found = [
        p for p in Path(app.outdir).rglob("index.*") if p.suffix in {".html", ".xhtml", ".txt"}
    ]
    text = found[0].read_text()
    assert "return" in text
    assert builder == "text" or f"https://example.org/blob/v9.9.9/{CORE}#L" in text
    assert not (Path(app.outdir) / "upstream").exists()


def test_a_tree_of_another_version_stops_the_build(build, tree: Tree) -> None:
    from sphinx.errors import ExtensionError

    version = tree.root / "vllm" / "_version.py"
    version.write_text(version.read_text().replace("9.9.9", "9.9.8"))
    with pytest.raises(ExtensionError, match=r"holds vllm 9\.9\.8"):
        build({"index": PAGE})


@pytest.mark.parametrize(
    ("title", "is_code"),
    [
        ("Core.step", True),
        ("free_blocks()", True),
        ("_free", True),
        ("core.py", True),
        ("the step", False),
        ("FlashInfer", False),
        ("v9.9.9", False),
        ("free", False),
    ],
)
def test_a_title_that_is_a_name_is_set_as_code(build, title: str, is_code: bool) -> None:
    text = html(build({"index": f"# A page\n\n{{up}}`{title} <{CORE}#Core.step>`\n"}))
    link = re.search(r'<a class="[^"]*up-link.*?</a>', text)[0]
    assert ("<code" in link) == is_code
    assert re.sub(r"<[^>]+>", "", link) == title
