r"""Which pages and labs point at an anchor?

A page names its own anchors. A docstring of the engine is part of every page that weaves it in, so
its anchors count there too; what no page weaves is listed on the engine's reference page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from upstream_anchors.pin import PROJECT_ROOT, Pin
from upstream_anchors.scanner import scan_book

_WOVEN = re.compile(
    r"^[ \t]*[`:]{3,}\{(?:object|docstring|listing)\}[ \t]+(mini_vllm[\w.]*)", re.MULTILINE
)
_PHASE = re.compile(r"(?:book|labs)/(phase-(\d\d)-[\w-]+)/")
_LAB = re.compile(r"labs/(phase-\d\d-[\w-]+)/(lab-[\w-]+)/")
REST = "book/reference/engine.md"


@dataclass(frozen=True, order=True)
class Touched:
    r"""A page or a lab that points at an anchor.

    `section` is `phase-02`, or `reference` for the pages that belong to no phase. `name` is the
    page's path, or the lab's folder.
    """

    section: str
    name: str

    @property
    def is_lab(self) -> bool:
        r"""Whether this is a lab's folder."""
        return self.name.startswith("labs/") and not self.name.endswith(".md")


def touched_by(pin: Pin, root: Path = PROJECT_ROOT) -> dict[str, list[Touched]]:
    r"""Target → the pages and labs that point at it, sorted; reads every source of the book."""
    weavers = _weavers(root)
    found: dict[str, set[Touched]] = {}
    for use in scan_book(root, pin)[0]:
        found.setdefault(use.target, set()).update(_readers(use.file, weavers))
    return {target: sorted(places) for target, places in found.items()}


def _readers(file: str, weavers: dict[str, set[str]]) -> list[Touched]:
    if lab := _LAB.match(file):
        return [Touched(_section(file), f"labs/{lab[1]}/{lab[2]}")]
    if file.startswith("mini_vllm/"):
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return [Touched(_section(page), page) for page in sorted(weavers.get(module, {REST}))]
    return [Touched(_section(file), file)]


def _section(file: str) -> str:
    phase = _PHASE.match(file)
    return f"phase-{phase[2]}" if phase else "reference"


def _weavers(root: Path) -> dict[str, set[str]]:
    # Module of the engine → the pages that show it, or something that it defines.
    modules = {
        path.relative_to(root)
        .with_suffix("")
        .as_posix()
        .removesuffix("/__init__")
        .replace("/", ".")
        for path in root.glob("mini_vllm/**/*.py")
    }
    found: dict[str, set[str]] = {}
    for page in sorted(root.glob("book/**/*.md")):
        name = page.relative_to(root).as_posix()
        for dotted in _WOVEN.findall(page.read_text(encoding="utf-8")):
            parts = dotted.split(".")
            for length in range(len(parts), 0, -1):
                if (module := ".".join(parts[:length])) in modules:
                    found.setdefault(module, set()).add(name)
                    break
    return found
