"""A package `vllm` that nobody installed: found, told its version, and found again by a child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from upstream_anchors import importing
from upstream_anchors.errors import TreeError
from upstream_anchors.pin import PROJECT_ROOT

#: Run in a Python of its own: what is done to a process stays done.
USE_AND_TELL = """
import json, os, subprocess, sys
from importlib import metadata
from pathlib import Path
from upstream_anchors import importing

root, *others = map(Path, sys.argv[1:])
importing.use(root, "1.2.3")
importing.use(root, "1.2.3")
import vllm.below
refused = []
for other in others:
    try:
        importing.use(other, "1.2.3")
    except importing.TreeError as error:
        refused.append(str(error))
child = "import vllm.below; print(vllm.__file__)"
print(json.dumps({
    "file": vllm.__file__,
    "versions": [metadata.version("vllm"), metadata.version("pytest")],
    "child": subprocess.check_output([sys.executable, "-c", child], text=True).strip(),
    "environment": {name: os.environ[name] for name in ("PYTHONPATH", "VLLM_CACHE_ROOT")},
    "on the path": str(root) in sys.path,
    "refused": refused,
}))
"""


def tree(folder: Path) -> Path:
    package = folder / "vllm"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "below.py").touch()
    return folder


def told(*trees: Path, **settings: str) -> dict:
    paths = [str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VLLM_")}
    done = subprocess.run(
        [sys.executable, "-c", USE_AND_TELL, *map(str, trees)],
        env=clean | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_tree_is_the_package_here_and_in_a_child(tmp_path) -> None:
    root = tree(tmp_path / "one")
    found = told(root)
    start = str(root / "vllm" / "__init__.py")
    assert (found["file"], found["child"]) == (start, start)
    assert found["versions"] == ["1.2.3+cpu", pytest.__version__]
    assert found["environment"]["VLLM_CACHE_ROOT"] == str(importing.KEPT)
    # Once, though it was used twice, and before what was there.
    first, *rest = found["environment"]["PYTHONPATH"].split(os.pathsep)
    assert (first, rest[0]) == (str(root), str(PROJECT_ROOT))
    assert str(root) not in rest
    # A tree has folders called tests, docs and tools, which must not stand in for others.
    assert not found["on the path"]


def test_a_place_of_the_caller_is_kept(tmp_path) -> None:
    kept = str(tmp_path / "kept")
    found = told(tree(tmp_path / "one"), VLLM_CACHE_ROOT=kept)
    assert found["environment"]["VLLM_CACHE_ROOT"] == kept


def test_another_tree_comes_too_late(tmp_path) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    (refused,) = told(one, other)["refused"]
    assert refused == f"vllm was imported from {one}/vllm/__init__.py before {other} was chosen"


def test_a_folder_without_the_package_changes_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    before = dict(os.environ)
    with pytest.raises(TreeError, match="vllm: no package"):
        importing.use(tmp_path, "1.2.3")
    assert dict(os.environ) == before
    assert "vllm" not in sys.modules


def test_what_is_missing_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(importing, "DEFAULT_TREE", tmp_path)
    assert importing.why_not() == "the pinned tree is not here: nox -s anchors fetches it"
    tree(tmp_path / "upstream")
    monkeypatch.setattr(importing, "DEFAULT_TREE", tmp_path / "upstream")
    monkeypatch.setattr(importing, "FIRST_NEEDED", ("pytest", "a_thing", "another_thing"))
    reason = "a_thing, another_thing not installed here: nox -s differential"
    assert importing.why_not() == reason
    with pytest.raises(TreeError, match=reason):
        importing.use_the_pinned_tree()
