"""A small tree that has every awkward definition the real one has, and a pin that fits it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from upstream_anchors.pin import PROJECT_ROOT, Pin, the_pin
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import TREE_VARIABLE, Tree, open_tree

FILES = {
    "vllm/_version.py": (
        "__version__ = version = '9.9.9'\n__commit_id__ = commit_id = 'gabc1234de'\n"
    ),
    "vllm/__init__.py": """\
import typing

if typing.TYPE_CHECKING:
    from vllm.engine import Core
    from .sampling import Params as SamplingParams
""",
    "vllm/engine/__init__.py": """\
from .core import Core
from vllm.engine.core import helper as help
""",
    "vllm/sampling.py": "class Params:\n    n: int = 1\n",
    "vllm/engine/core.py": '''\
"""The core."""

from typing import TYPE_CHECKING, overload

from vllm.sampling import Params

if TYPE_CHECKING:
    LIMIT: int

try:
    import fast

    def helper():
        return fast.run()

except ImportError:

    def helper():
        raise RuntimeError("no fast")


LIMIT = 7
FIRST, SECOND = 1, 2


class Core:
    """Runs."""

    size: int = 3
    name = "core"

    def __init__(self, depth: int = 4, *, wide=False):
        self.depth = depth
        self.queue: list[int] = []

    @property
    def busy(self) -> bool:
        return bool(self.queue)

    @busy.setter
    def busy(self, value):
        self.queue = [value]

    @overload
    def get(self, key: int) -> int: ...

    @overload
    def get(self, key: str) -> str: ...

    def get(self, key):
        return key

    @staticmethod
    @some.decorator(
        1,
    )
    def step():
        value = prepare()
        finish(value)
        finish(None)
        return value

    async def run(self):
        def inner():
            return 1

        return inner()
''',
    "vllm/envs.py": """\
import os

environment_variables = {
    # Comment.
    "VLLM_LEVEL": lambda: os.getenv("VLLM_LEVEL", "INFO"),
    "VLLM_LONG": lambda: (
        os.getenv("VLLM_LONG", "1")
    ),
}
""",
    "vllm/config.py": """\
from pydantic import Field

DEFAULT_ROWS = 16


class CacheConfig:
    fraction: float = Field(default=0.92, gt=0)
    positional: int = Field(8, gt=0)
    rows: int = DEFAULT_ROWS
    flag: bool = True
    made: list = Field(default_factory=list)
    bare: int
    DEFAULT_ROWS = DEFAULT_ROWS
""",
    "vllm/engine/arg_utils.py": """\
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        group = parser.add_argument_group()
        group.add_argument("--max-num-seqs", "-mns", **kwargs)
        group.add_argument(
            "--enable-caching",
            **kwargs,
        )
        return parser
""",
    "vllm/entrypoints/openai/cli_args.py": """\
class BaseFrontendArgs:
    log_stats: bool = False


class FrontendArgs(BaseFrontendArgs):
    port: int = 8000
    allowed_origins: list[str] = ["*"]

    def method(self):
        return 1
""",
    "vllm/bench/one.py": """\
parser.add_argument("--rate", type=float)
parser.add_argument("--seed")
""",
    "vllm/bench/two.py": 'parser.add_argument("--seed", type=int)\n',
    "vllm/logs.py": """\
logger.info("Cache has %d blocks" " left", n)
self.logger.warning_once(
    "Twice is %s",
    f"{n}",
)
log.debug(f"Step took {seconds} s")
logger.info("Twice is once")
print("Cache has printed")
""",
    "csrc/kernel.cu": """\
#include <cuda.h>

namespace fast {

// copy(a, b) { is not code }
void copy(int a);

template <typename T>
__global__ void
copy(T* a, const char* text = "}{") {
  if (a) {
    other(a);
  }
}

struct Block final : Base {
  int id;
};

void twice(int a) {}
void twice(float a) {}

}  // namespace fast
""",
    "docs/guide.md": """\
# Guide

Text.

## The `step` call

Body.

```bash
# not a heading
```

### Deeper

More.

## Twice

## Twice
""",
}


@pytest.fixture(autouse=True)
def _no_named_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own variable must not leak into tests that look at the default place."""
    monkeypatch.delenv(TREE_VARIABLE, raising=False)


def write_tree(root: Path, files: dict[str, str] = FILES) -> Path:
    """Write the fake tree below `root` and return it."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def plant():
    """Write the fake tree, or other files, below a folder."""
    return write_tree


@pytest.fixture
def pin() -> Pin:
    """A pin of the fake tree."""
    return Pin(
        project="vllm",
        version="9.9.9",
        tag="v9.9.9",
        commit="abc1234de",
        sdist_sha256="0" * 64,
        file_url="https://example.org/blob/{tag}/{path}",
        folder_url="https://example.org/tree/{tag}/{path}",
        sdist_only=("vllm/_version.py",),
    )


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """The fake tree on disk."""
    return Tree(write_tree(tmp_path / "tree"))


@pytest.fixture
def resolver(tree: Tree, pin: Pin) -> Resolver:
    """A resolver on the fake tree."""
    return Resolver(tree, pin)


@pytest.fixture
def make_sdist(tmp_path: Path):
    """Pack a fake tree as an sdist; returns the archive and its SHA-256."""

    def pack(
        files: dict[str, str] = FILES, *, name: str = "vllm-9.9.9", extra: list | None = None
    ) -> tuple[Path, str]:
        folder = tmp_path / "packing"
        write_tree(folder / name, files)
        archive = tmp_path / "links" / "vllm-9.9.9.tar.gz"
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder / name, arcname=name)
            for member in extra or []:
                tar.addfile(member)
        return archive, hashlib.sha256(archive.read_bytes()).hexdigest()

    return pack


def conf(tree: Path | None, pin: Pin, root: Path) -> str:
    """A conf.py for the small book."""
    pin_file = root / "pin.toml"
    fields = {**vars(pin), "sdist_only": list(pin.sdist_only)}
    pin_file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items()))
    return (
        f"project = 'x'\nextensions = ['myst_parser', 'upstream_anchors.sphinx_domain']\n"
        f"myst_enable_extensions = ['colon_fence']\nnitpicky = True\n"
        f"html_static_path = [{str(PROJECT_ROOT / 'book' / '_static')!r}]\n"
        f"upstream_pin_file = {str(pin_file)!r}\n"
        f"upstream_lock_file = {str(root / 'lock.json')!r}\n"
        f"upstream_use_tree = {tree is not None}\n"
        f"upstream_tree = {str(tree) if tree else None!r}\n"
    )


@pytest.fixture
def write_conf(pin: Pin, tmp_path: Path):
    """Write the small book's conf.py into a folder; with a tree, or with `None` for the lock."""

    def write(source: Path, tree: Path | None) -> None:
        (source / "conf.py").write_text(conf(tree, pin, tmp_path))

    return write


@pytest.fixture
def build(tmp_path: Path, pin: Pin, tree: Tree, write_conf):
    """Build pages given as text; returns a function from a page's name to its HTML."""
    from sphinx.testing.util import SphinxTestApp

    from upstream_anchors.book_anchors import relock_book

    source = tmp_path / "source"
    source.mkdir()
    apps: list[SphinxTestApp] = []

    def run(
        pages: dict[str, str], *, with_tree: bool = True, parallel: int = 0, builder: str = "html"
    ) -> SphinxTestApp:
        for name, text in pages.items():
            file = source / f"{name}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        if "index" not in pages:
            (source / "index.md").write_text("# Index\n\n```{toctree}\n:glob:\n\n**\n```\n")
        relock_book(pin, Tree(tree.root), source, tmp_path / "lock.json")
        write_conf(source, tree.root if with_tree else None)
        while apps:
            apps.pop().cleanup()
        app = SphinxTestApp(buildername=builder, srcdir=source, parallel=parallel)
        apps.append(app)
        app.build()
        return app

    yield run
    for app in apps:
        app.cleanup()


@pytest.fixture(scope="session")
def real() -> Resolver:
    """A resolver on the pinned tree itself, where this machine has it."""
    found = open_tree(the_pin())
    if found is None:
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    return Resolver(found, the_pin())
