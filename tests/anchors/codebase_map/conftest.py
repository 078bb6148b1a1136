"""Small packages, given as text, read as a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from upstream_anchors.codebase_map import CodeGraph, Part, choose_part
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree, open_tree

Read = Callable[[dict[str, str]], CodeGraph]


def read_package(folder: Path, files: dict[str, str], package: str = "pkg") -> CodeGraph:
    """Write files below a folder and read the package that they make."""
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return CodeGraph.build(Tree(folder), package)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """From paths and texts to the graph of `pkg`."""
    return lambda files: read_package(tmp_path, files)


LIBRARY = {
    "pkg/__init__.py": "",
    "pkg/core/__init__.py": '"""Only words."""\n',
    "pkg/core/pool.py": "class Pool:\n    def take(self): ...\n\n\nLIMIT = 3\nlocal = 1\n",
    "pkg/core/manager.py": (
        "from pkg.core.pool import Pool, LIMIT\n\n\nclass Manager:\n"
        "    def __init__(self):\n        self.pool = Pool()\n\n"
        "    def get(self):\n        return self.pool.take()\n"
    ),
    "pkg/core/deep/plan.py": (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
        "    from ..manager import Manager\n\n\ndef plan(manager: 'Manager'):\n"
        "    return manager.get()\n"
    ),
    "pkg/main.py": (
        "def run():\n    from .core.manager import Manager\n    Manager().get()\n\n\nrun()\n"
    ),
}


@pytest.fixture
def graph(read: Read) -> CodeGraph:
    """A small package with two folders."""
    return read(LIBRARY)


@pytest.fixture
def part(graph: CodeGraph) -> Part:
    """Its folder `core`."""
    return choose_part(graph, ["pkg/core"])


@pytest.fixture(scope="session")
def pinned() -> CodeGraph:
    """The graph of the pinned tree, where this machine has it; read once and kept in the cache."""
    tree = open_tree(the_pin())
    if tree is None:
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    return CodeGraph.cached(tree, the_pin())
