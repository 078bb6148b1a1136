r"""Which vLLM is this book about?

One release, named three ways so that no two of them can drift apart: a version for people, a tag
for permalinks, and two fingerprints for machines. The SHA-256 is of the sdist as the package index
serves it, so it vouches for every byte; the commit id stands inside the tree, so it also vouches
for a git checkout that came by another road.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent
PROJECT_ROOT = PACKAGE_DIR.parent
CACHE_DIR = PACKAGE_DIR / ".cache"


@dataclass(frozen=True)
class Pin:
    r"""The identity of the pinned tree, as `pin.toml` states it.

    `file_url` and `folder_url` are templates with `{tag}` and `{path}`. `sdist_only` are the paths
    that the build of the sdist added: a permalink to one of them would be a dead link.
    """

    project: str
    version: str
    tag: str
    commit: str
    sdist_sha256: str
    file_url: str
    folder_url: str
    sdist_only: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path = PACKAGE_DIR / "pin.toml") -> Pin:
        r"""Read a pin file; a missing or a surplus key is a `TypeError` that names it."""
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        fields["sdist_only"] = tuple(fields.get("sdist_only", ()))
        return cls(**fields)

    def __str__(self) -> str:
        return f"{self.project} {self.version} @ {self.commit}"

    def permalink(self, path: str, start: int | None = None, end: int | None = None) -> str:
        r"""The address of a file, or of its lines `start` to `end` (1-based, both inclusive).

        GitHub renders Markdown and then has no lines to show, so a line of a Markdown file is
        asked for with `plain=1`.
        """
        url = self.file_url.format(tag=self.tag, path=path)
        if start is None:
            return url
        plain = "?plain=1" if path.endswith(".md") else ""
        lines = f"L{start}" if end in (None, start) else f"L{start}-L{end}"
        return f"{url}{plain}#{lines}"

    def folder_link(self, path: str) -> str:
        r"""The address of a folder."""
        return self.folder_url.format(tag=self.tag, path=path)

    def is_sdist_only(self, path: str) -> bool:
        r"""Whether the sdist has `path` and the repository does not."""
        return any(path == only or path.startswith(f"{only}/") for only in self.sdist_only)


@cache
def the_pin() -> Pin:
    r"""The pin of this book."""
    return Pin.load()
