"""A tree is the pinned one or an error; never silently another."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from upstream_anchors import tree as tree_module
from upstream_anchors.errors import TreeError
from upstream_anchors.pin import Pin
from upstream_anchors.tree import TREE_VARIABLE, need_tree, open_tree, verify_tree


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder without the machine's own settings."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, plant) -> Path:
    """A git checkout of the fake tree, as a clone is: without the generated version file."""
    root = plant(tmp_path / "checkout")
    (root / "vllm" / "_version.py").unlink()
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "release")
    return root


def test_an_unpacked_sdist_is_known_by_its_version_file(tmp_path: Path, plant, pin: Pin) -> None:
    assert verify_tree(pin, plant(tmp_path / "t"), named_by="test").origin == "sdist"


@pytest.mark.parametrize("field", [{"version": "9.9.8"}, {"commit": "fedcba987"}])
def test_another_release_is_refused_by_name(tmp_path: Path, plant, pin: Pin, field: dict) -> None:
    root = plant(tmp_path / "t")
    with pytest.raises(TreeError, match=r"holds vllm 9\.9\.9 @ abc1234de.*fetch") as caught:
        verify_tree(replace(pin, **field), root, named_by="test")
    assert str(replace(pin, **field)) in str(caught.value)


def test_a_folder_that_is_no_tree_is_refused(tmp_path: Path, pin: Pin) -> None:
    with pytest.raises(TreeError, match="neither a git checkout nor an unpacked sdist"):
        verify_tree(pin, tmp_path, named_by="test")
    with pytest.raises(TreeError, match="which is not a folder"):
        verify_tree(pin, tmp_path / "nothing", named_by="test")


def test_a_checkout_is_known_by_its_head(checkout: Path, pin: Pin) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    found = verify_tree(replace(pin, commit=head[:9]), checkout, named_by="test")
    assert (found.origin, found.edited) == ("checkout", ())
    with pytest.raises(TreeError, match=f"git checkout at {head[:12]}.*git -C .* checkout v9.9.9"):
        verify_tree(pin, checkout, named_by="test")


def test_what_was_edited_in_a_checkout_is_said(checkout: Path, pin: Pin) -> None:
    pinned = replace(pin, commit=git(checkout, "rev-parse", "HEAD")[:9])
    (checkout / "vllm" / "logs.py").write_text("pass\n")
    (checkout / "notes.txt").write_text("untracked files are the reader's own\n")
    assert verify_tree(pinned, checkout, named_by="test").edited == ("vllm/logs.py",)


def test_the_variable_comes_before_the_default_place(
    tmp_path: Path, plant, pin: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, default = plant(tmp_path / "named"), plant(tmp_path / "default")
    monkeypatch.setattr(tree_module, "DEFAULT_TREE", default)
    assert need_tree(pin).root == default
    monkeypatch.setenv(TREE_VARIABLE, str(named))
    assert need_tree(pin).root == named
    monkeypatch.setenv(TREE_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(TreeError, match=TREE_VARIABLE):
        open_tree(pin)


def test_only_the_default_place_may_be_empty(
    tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "DEFAULT_TREE", tmp_path / "nothing")
    assert open_tree(pin) is None
    with pytest.raises(TreeError, match="python -m upstream_anchors fetch"):
        need_tree(pin)


def test_lines_are_those_that_newlines_end(tmp_path: Path, pin: Pin, plant) -> None:
    root = plant(tmp_path / "t")
    (root / "odd.py").write_bytes("a\x0cb\u2028c\r\nd\n".encode())
    found = verify_tree(pin, root, named_by="test")
    assert found.lines("odd.py") == ("a\x0cb\u2028c", "d")
