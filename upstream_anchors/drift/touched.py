r"""Which pages and labs point at an anchor?

A page names its own anchors. A docstring of the engine is part of every page that weaves it in, so
its anchors count there too; what no page weaves is on the page of the engine's reference that
prints the rest of its package.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from upstream_anchors.pin import PROJECT_ROOT, Pin
from upstream_anchors.scanner import scan_book

_WOVEN = re.compile(
    r"^[ \t]*[`:]{3,}\{(?P<directive>object|docstring|listing|remaining-objects)\}"
    r"[ \t]+(?P<name>mini_vllm[\w.]*)",
    re.MULTILINE,
)
_PHASE = re.compile(r"(?:book|labs)/(phase-(\d\d)-[\w-]+)/")
_LAB = re.compile(r"labs/(phase-\d\d-[\w-]+)/(lab-[\w-]+)/")


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
    weaving = _Weaving.of(root)
    found: dict[str, set[Touched]] = {}
    for use in scan_book(root, pin)[0]:
        found.setdefault(use.target, set()).update(_readers(use.file, weaving))
    return {target: sorted(places) for target, places in found.items()}


def _readers(file: str, weaving: _Weaving) -> list[Touched]:
    if lab := _LAB.match(file):
        return [Touched(_section(file), f"labs/{lab[1]}/{lab[2]}")]
    if file.startswith("mini_vllm/"):
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        return [Touched(_section(page), page) for page in sorted(weaving.pages(module))]
    return [Touched(_section(file), file)]


def _section(file: str) -> str:
    phase = _PHASE.match(file)
    return f"phase-{phase[2]}" if phase else "reference"


@dataclass(frozen=True)
class _Weaving:
    # Module → the pages that show it or something that it defines; package → the page that prints
    # what remains of it.
    shown: dict[str, set[str]]
    rest: dict[str, str]

    @classmethod
    def of(cls, root: Path) -> _Weaving:
        modules = {
            path.relative_to(root)
            .with_suffix("")
            .as_posix()
            .removesuffix("/__init__")
            .replace("/", ".")
            for path in root.glob("mini_vllm/**/*.py")
        }
        shown: dict[str, set[str]] = {}
        rest: dict[str, str] = {}
        for page in sorted(root.glob("book/**/*.md")):
            name = page.relative_to(root).as_posix()
            for woven in _WOVEN.finditer(page.read_text(encoding="utf-8")):
                if woven["directive"] == "remaining-objects":
                    rest[woven["name"]] = name
                elif module := _nearest(woven["name"], modules):
                    shown.setdefault(module, set()).add(name)
        return cls(shown, rest)

    def pages(self, module: str) -> set[str]:
        if module in self.shown:
            return self.shown[module]
        package = _nearest(module, self.rest)
        return {self.rest[package]} if package else set()


def _nearest(dotted: str, names: Container[str]) -> str | None:
    # The name itself, or the nearest thing around it that is among the names.
    parts = dotted.split(".")
    around = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in around if name in names), None)
