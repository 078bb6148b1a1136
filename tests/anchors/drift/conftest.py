"""Two small versions of a tree, and the fates of anchors between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from upstream_anchors.drift import Fate, classify
from upstream_anchors.lock import make_lock
from upstream_anchors.pin import Pin
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import Tree

BLOCKS = '''\
"""Blocks."""

import logging

logger = logging.getLogger(__name__)

LIMIT = 16


class Pool:
    """Free blocks."""

    size: int = 8

    def __init__(self, count: int) -> None:
        self.free = list(range(count))
        self.used = {}

    def allocate(self, owner: str, wanted: int) -> list[int]:
        """Take blocks."""
        if wanted > len(self.free):
            logger.warning("Only %d blocks are left", len(self.free))
            raise MemoryError(f"{owner} wants {wanted} blocks")
        taken = [self.free.pop() for _ in range(wanted)]
        self.used.setdefault(owner, []).extend(taken)
        return taken

    def release(self, owner: str) -> None:
        for block in reversed(self.used.pop(owner, [])):
            self.free.append(block)

    @property
    def usage(self) -> float:
        busy = sum(len(blocks) for blocks in self.used.values())
        return busy / (busy + len(self.free))


def fingerprint(tokens: list[int], parent: int) -> int:
    state = parent
    for token in tokens:
        state = (state * 1000003) ^ hash(token)
    return state


def budget(total: int, share: float = 0.9) -> int:
    return int(total * share)
'''

ARGUMENTS = """\
class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        parser.add_argument("--block-size", type=int)
        parser.add_argument("--max-model-len", type=int)
        return parser
"""

ENVIRONMENT = """\
import os

environment_variables = {
    "VLLM_LEVEL": lambda: os.getenv("VLLM_LEVEL", "INFO"),
    "VLLM_PORT": lambda: os.getenv("VLLM_PORT", "8000"),
}
"""

SERVER = """\
class BaseFrontendArgs:
    port: int = 8000
    log_outputs: bool = False


class FrontendArgs(BaseFrontendArgs):
    host: str = "localhost"
"""

KERNEL = """\
#include <cuda.h>

// Copies.
__global__ void copy_block(const float* from, float* to, int count) {
  int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at < count) {
    to[at] = from[at];
  }
}
"""

NOTES = "# Notes\n\n## Blocks\n\nA block holds sixteen tokens.\n\n## Queues\n\nThere are two.\n"

FILES = {
    "vllm/__init__.py": "",
    "vllm/core/__init__.py": "",
    "vllm/core/blocks.py": BLOCKS,
    "vllm/engine/arg_utils.py": ARGUMENTS,
    "vllm/entrypoints/openai/cli_args.py": SERVER,
    "vllm/envs.py": ENVIRONMENT,
    "csrc/copy.cu": KERNEL,
    "docs/notes.md": NOTES,
}

B = "vllm/core/blocks.py"

# One of every kind.
TARGETS = [
    B,
    f"{B}#Pool",
    f"{B}#Pool.allocate",
    f"{B}#Pool.release",
    f"{B}#Pool.usage",
    f"{B}#Pool.size",
    f"{B}#LIMIT",
    f"{B}#fingerprint",
    f'{B}#Pool.allocate@"taken = ["',
    f'{B}@"def budget"',
    f"default:{B}#Pool.size=8",
    f"default:{B}#budget.share=0.9",
    'log:"blocks are left"',
    "flag:--block-size",
    "flag:--log-outputs",
    "env:VLLM_LEVEL",
    "py:vllm.core.blocks.Pool",
    "py:vllm.core.blocks",
    "csrc/copy.cu#copy_block",
    'csrc/copy.cu#copy_block@"to[at] = from[at]"',
    "docs/notes.md#Blocks",
    "vllm/core",
]


@pytest.fixture
def pin() -> Pin:
    """A pin for trees that nobody verifies."""
    return Pin("vllm", "1.0", "v1.0", "abc", "0" * 64, "f/{tag}/{path}", "d/{tag}/{path}")


def write(root: Path, files: dict[str, str]) -> Tree:
    """A tree of these files."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return Tree(root)


@pytest.fixture
def numbers() -> Iterator[int]:
    """Names for folders, since a test may make several newer trees."""
    return iter(range(10_000))


@pytest.fixture
def fates(pin: Pin, tmp_path: Path, numbers: Iterator[int]) -> Callable[..., dict[str, Fate]]:
    """The fates of all targets, or of some, after files were replaced, added or taken out."""

    def between(
        changes: dict[str, str | None], targets: list[str] | None = None, old_files=None
    ) -> dict[str, Fate]:
        number = next(numbers)
        before = old_files or FILES
        after = {**before, **changes}
        old = write(tmp_path / f"old{number}", before)
        new = write(
            tmp_path / f"new{number}", {p: text for p, text in after.items() if text is not None}
        )
        resolver = Resolver(old, pin)
        lock = make_lock(pin, old, [resolver.resolve(t) for t in targets or TARGETS])
        return {fate.target: fate for fate in classify(lock, old, new, version="2.0")}

    return between


@pytest.fixture
def files() -> dict[str, str]:
    """The older tree."""
    return dict(FILES)


@pytest.fixture
def blocks() -> str:
    """The text of the file that most tests edit."""
    return BLOCKS


@pytest.fixture
def edit() -> Callable[..., str]:
    """Replace parts of a text, each of which must be there."""

    def replaced(text: str, *pairs: tuple[str, str]) -> str:
        for old, new in pairs:
            assert old in text, old
            text = text.replace(old, new)
        return text

    return replaced
