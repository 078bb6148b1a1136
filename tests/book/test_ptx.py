"""The lines of machine code that a page shows, and what stands there without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from book import ptx, specimens
from book.ptx import Code, PtxError, compiled, excerpt, instructions

PTX = """\
.version 8.7
.visible .entry kernel(
\t.param .u64 kernel_param_0
)
{
\t.reg .b32 \t%r<9>;
\t.loc\t1 6 0                           // c.py:6:0
$L__func_begin0:
// %bb.0:
\tld.param.b64 \t%rd1, [kernel_param_0];
$L__BB0_1:
\tld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];  // a comment
\tadd.s32 \t%r5, %r1, %r2;
\tst.global.b32 [ %rd1 + 16 ], { %r5 };
\tret;
$L__func_end0:
}
\t.file\t1 "/somebody/c.py"
"""
BODY = [
    ".reg .b32  %r<9>;",
    "ld.param.b64  %rd1, [kernel_param_0];",
    "$L__BB0_1:",
    "ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ];",
    "add.s32  %r5, %r1, %r2;",
    "st.global.b32 [ %rd1 + 16 ], { %r5 };",
    "ret;",
]


def test_only_instructions_are_left_and_no_path_of_a_machine() -> None:
    assert instructions(PTX) == BODY
    with pytest.raises(PtxError, match="no body"):
        instructions(".version 8.7")


def test_an_excerpt_has_neighbours_and_says_what_it_leaves_out() -> None:
    found = excerpt(BODY, [r"ld\.global\.v4"], around=1)
    assert found.text.splitlines() == ["…", *BODY[2:5], "…"]
    assert (found.hits, found.found) == ((3,), 1)
    found = excerpt(BODY, [r"^ret", r"^\.reg"], around=0)
    assert found.text.splitlines() == [BODY[0], "…", BODY[-1]]
    assert found.hits == (1, 3)


def test_only_so_many_of_each_pattern() -> None:
    found = excerpt(BODY, [r"%r1\b", "st"], around=0, most=1)
    assert (len(found.hits), found.found) == (2, 3)


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(PtxError, match="no line matches 'wgmma'"):
        excerpt(BODY, ["ret", "wgmma"])


def test_a_specimen_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PtxError, match=r"no specimen 'nothing' for sm_90; there are .*write-kv"):
        compiled("nothing", 90, tmp_path)
    with pytest.raises(PtxError, match="for sm_75"):
        compiled("race", 75, tmp_path)


def test_without_triton_there_is_nothing_and_no_error(tmp_path, monkeypatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(ptx.metadata, "version", missing)
    assert compiled("race", 90, tmp_path) is None


def test_the_name_of_a_file_changes_with_what_the_code_depends_on(tmp_path, monkeypatch) -> None:
    name = specimens.file_name("race", 90, "3.7.1")
    assert name != specimens.file_name("race", 90, "3.7.2")
    assert name != specimens.file_name("race", 80, "3.7.1")
    copy = tmp_path / "triton"
    copy.mkdir()
    for path in specimens.KERNELS.glob("*.py"):
        (copy / path.name).write_text(path.read_text())
    monkeypatch.setattr(specimens, "KERNELS", copy)
    specimens._sources.cache_clear()
    assert name == specimens.file_name("race", 90, "3.7.1")
    (copy / "race.py").write_text("# another\n")
    specimens._sources.cache_clear()
    assert name != specimens.file_name("race", 90, "3.7.1")
    specimens._sources.cache_clear()


def test_the_caption_says_that_nothing_was_run() -> None:
    code = Code("k", "64 rows", (4, 2), 90, 40, 16, 1024, 128, "3.7.1", BODY)
    assert code.caption() == (
        "`k`, 64 rows: 4 x 2 programs of 128 threads, 40 registers each, 16 B of stack, "
        "1,024 B shared. Compiled for sm_90 by Triton 3.7.1, not run."
    )


PAGE = """\
# Page

```{ptx} write-kv
:capability: 80
:show: ld\\.global | st\\.global
```
"""


CONF = """\
import sys
sys.path.insert(0, {root!r})
extensions = ["myst_parser", "book._ext.boxes", "book._ext.ptx"]
"""


def compile_one(folder: Path, cache: Path) -> dict[str, bytes]:
    command = [sys.executable, "-m", "book.specimens", str(folder), "write-kv"]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(cache), "TRITON_INTERPRET": "0"}
    subprocess.run(command, cwd=specimens.ROOT, env=environment, check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("triton", reason="triton is not installed")
    folder = tmp_path_factory.mktemp("compiled") / "ptx"
    compile_one(folder, folder.with_name("cache"))
    return folder


def test_compiled_anew_it_is_the_same_to_the_byte(code: Path, tmp_path: Path) -> None:
    again = compile_one(tmp_path / "ptx", tmp_path / "cache")
    assert again == {path.name: path.read_bytes() for path in code.iterdir()}
    assert len(again) == 2
    assert str(specimens.ROOT) not in str(again)


def test_a_page_shows_the_lines_or_does_not_build(code: Path, site) -> None:
    for page in site.source.glob("*.md"):
        page.unlink()
    site.write("conf.py", CONF.format(root=str(specimens.ROOT)))
    site.write("index.md", PAGE)
    shutil.copytree(code, site.html.parent / "ptx")
    site.build()
    page = site.page("index")
    assert "Compiled for sm_80 by Triton" in page
    assert "not run" in page
    assert page.count('class="hll"') == 4
    site.write("index.md", PAGE.replace("st\\.global", "wgmma"))
    assert "no line matches 'wgmma'" in site.build(check=False)
