"""The shell's answers: right lines, right exit status, and help when the name is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from upstream_anchors import cli
from upstream_anchors.errors import AnchorError
from upstream_anchors.name_index import NameIndex
from upstream_anchors.pin import Pin
from upstream_anchors.tree import Tree

CORE = "vllm/engine/core.py"


@pytest.fixture
def index(tree: Tree) -> NameIndex:
    """The names of the fake tree."""
    return NameIndex.build(tree, "vllm")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("Core.step", f"{CORE}#Core.step"),
        ("Core", f"{CORE}#Core"),
        ("core.Core.step", f"{CORE}#Core.step"),
        ("vllm.engine.core.Core.step", f"{CORE}#Core.step"),
        ("run", f"{CORE}#Core.run"),
    ],
)
def test_a_bare_name_is_found(index: NameIndex, name: str, target: str) -> None:
    assert index.find(name) == target


def test_an_ambiguous_name_lists_its_candidates() -> None:
    with pytest.raises(AnchorError, match="n is 3 things") as caught:
        NameIndex({"A.n": ["a.py"], "B.n": ["b.py", "c.py"]}).find("n")
    assert caught.value.nearest == ("a.py#A.n", "b.py#B.n", "c.py#B.n")


def test_an_unknown_name_lists_the_nearest(index: NameIndex) -> None:
    with pytest.raises(AnchorError) as caught:
        index.find("Core.stpe")
    assert f"{CORE}#Core.step" in caught.value.nearest


def test_the_index_is_built_once(tree: Tree, pin: Pin, tmp_path: Path) -> None:
    built: list[int] = []

    def track(paths: list[str]):
        built.append(len(paths))
        return paths

    first = NameIndex.cached(tree, pin, track, tmp_path)
    second = NameIndex.cached(tree, pin, track, tmp_path)
    assert len(built) == 1
    assert first.names == second.names
    next(tmp_path.glob("names-*.json")).write_text('{"cut')
    assert NameIndex.cached(tree, pin, track, tmp_path).names == first.names


@pytest.fixture
def run(
    tree: Tree,
    pin: Pin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    """Run a command against the fake tree; returns status, output, errors."""
    monkeypatch.setattr(cli, "the_pin", lambda: pin)
    monkeypatch.setattr("upstream_anchors.name_index.CACHE_DIR", tmp_path)
    cached = NameIndex.cached.__func__
    monkeypatch.setattr(
        NameIndex,
        "cached",
        classmethod(lambda cls, t, p, track: cached(cls, t, p, track, tmp_path)),
    )

    def command(*arguments: str) -> tuple[int, str, str]:
        status = cli.main([arguments[0], "--tree", str(tree.root), *arguments[1:]])
        out = capsys.readouterr()
        return status, out.out, out.err

    return command


@pytest.mark.parametrize("name", [f"{CORE}#Core.step", "Core.step"])
def test_show_prints_path_lines_permalink_and_code(run, tree: Tree, name: str) -> None:
    status, out, _ = run("show", name)
    first = tree.lines(CORE).index("    @staticmethod") + 1
    assert status == 0
    assert f"{CORE}  Core.step  (method)  lines {first}-{first + 8}" in out
    assert f"https://example.org/blob/v9.9.9/{CORE}#L{first}-L{first + 8}" in out
    assert f"{first}      @staticmethod" in out
    assert f"{first + 8}          return value" in out


def test_show_outlines_a_file_and_lists_a_folder(run) -> None:
    assert "step  " in run("show", CORE)[1]
    assert "core.py" in run("show", "vllm/engine")[1].splitlines()


@pytest.mark.parametrize("name", ["Core.stpe", f"{CORE}#Core.stpe"])
def test_an_unknown_name_exits_with_one_and_the_nearest(run, name: str) -> None:
    status, out, err = run("show", name)
    assert (status, out) == (1, "")
    assert f"nearest: {CORE}#Core.step" in err


def test_no_tree_exits_with_three(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert cli.main(["show", "--tree", str(tmp_path / "none"), "x.py"]) == 3
    assert "not a folder" in capsys.readouterr().err


def test_optional_fetch_shrugs_at_the_network_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    pytest.importorskip("unearth")
    from upstream_anchors import fetch

    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    defaults = {**fetch.provide_tree.__kwdefaults__, "destination": tmp_path / "none"}
    monkeypatch.setattr(fetch.provide_tree, "__kwdefaults__", defaults)
    assert cli.main(["fetch"]) == 3
    assert "could not be fetched" in capsys.readouterr().err
    assert cli.main(["fetch", "--optional"]) == 0
    assert "links come from the lock" in capsys.readouterr().out
    assert cli.main(["fetch", "--optional", "--tree", str(tmp_path / "none")]) == 3
