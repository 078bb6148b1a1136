r"""Which places of the pinned tree does an issue speak of?

Paths, frames of a traceback and dotted names are looked up in the tree; what it does not have is
kept as gone. An issue that names a method, or a file together with names that occur in it, has
said where the cause lies: such a *mechanism* can be tested without the machine that showed it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from upstream_anchors.name_index import NameIndex
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree

from capstone.triage.findings import span

_PATH = re.compile(r"(?<![\w/.-])(?:[\w.-]*/)*?((?:vllm|tests|csrc|docs|benchmarks)/[\w./-]+\b)")
_CODE = re.compile(r"`([^`\n]+)`")
_FENCE = re.compile(r"^```[^\n]*\n.*?^```\s*$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
# A word that only code has: an underscore or a capital inside.
_IDENTIFIER = re.compile(
    r"\b(?:[A-Za-z]\w*_\w+|_\w{3,}|[A-Z]\w*[a-z]\w*[A-Z]\w*|[A-Z]{2,}[a-z]\w+)\b"
)
# Code for which a device is needed to see anything.
_ON_DEVICE = ("csrc/", "vllm/model_executor/", "vllm/kernels/", "vllm/v1/attention/")


@dataclass(frozen=True)
class Place:
    r"""A file that the issue names, by what, and where in its text."""

    path: str
    name: str
    where: str


@dataclass(frozen=True)
class Mentions:
    r"""Everything that was found: places in the tree, paths that are gone, and names in code."""

    places: tuple[Place, ...]
    gone: tuple[Place, ...]
    identifiers: frozenset[str]
    mechanism: Place | None

    @property
    def files(self) -> tuple[str, ...]:
        r"""The source files, each once, in the order of their first mention."""
        kinds = ("vllm/", "csrc/")
        return tuple(dict.fromkeys(p.path for p in self.places if p.path.startswith(kinds)))

    @property
    def vanished(self) -> tuple[str, ...]:
        r"""Paths of sources that the pinned tree does not have."""
        return tuple(dict.fromkeys(p.path for p in self.gone))


class Finder:
    r"""Looks names up in one tree; the index is read when it is first asked for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.index = NameIndex.cached(tree, the_pin())

    def read(self, title: str, body: str) -> Mentions:
        r"""What the title and the body speak of."""
        places: list[Place] = []
        gone: list[Place] = []
        for text, label in ((title, "title"), (body, "body")):
            for path in _PATH.finditer(text):
                self._path(path, label, places, gone)
        # Names in a fence are what a script uses, not what the issue is about.
        prose = _FENCE.sub(lambda fence: " " * len(fence[0]), body)
        spoken: set[str] = set()
        for text, label in ((title, "title"), (prose, "body")):
            for code in _CODE.finditer(text):
                spoken.update(_IDENTIFIER.findall(code[1]))
                spoken.update(part for n in _NAME.findall(code[1]) for part in n.split("."))
                for name in _NAME.finditer(code[1]):
                    start = code.start(1) + name.start()
                    where = span(label, start, start + len(name[0]))
                    places.extend(self._symbol(name[0], where))
        identifiers = frozenset(_IDENTIFIER.findall(f"{title}\n{prose}"))
        mechanism = self._mechanism(places, spoken)
        return Mentions(tuple(places), tuple(gone), identifiers, mechanism)

    def shared(self, left: str, right: str) -> frozenset[str]:
        r"""The names of the code that two texts have in common.

        A capital inside a word is not enough here: `DeepSeek` is in every second title.
        """
        both = set(_IDENTIFIER.findall(left)) & set(_IDENTIFIER.findall(right))
        return frozenset(name for name in both if "_" in name or name in self.index.names)

    def _path(
        self, found: re.Match[str], label: str, places: list[Place], gone: list[Place]
    ) -> None:
        path = found[1].rstrip("./")
        where = span(label, found.start(1), found.start(1) + len(path))
        if self.tree.is_file(path):
            places.append(Place(path, "", where))
        elif path.startswith(("vllm/", "csrc/")) and re.search(r"\.(py|cu|cuh|cpp|h)$", path):
            gone.append(Place(path, "", where))

    def _symbol(self, name: str, where: str) -> list[Place]:
        files = self.index.names.get(name, [])
        # A name with two homes says nothing about which.
        if len(files) != 1 or not (_IDENTIFIER.fullmatch(name) or "." in name or name[0].isupper()):
            return []
        return [Place(files[0], name, where)]

    def _mechanism(self, places: list[Place], spoken: set[str]) -> Place | None:
        for place in places:
            if not place.path.startswith("vllm/") or place.path.startswith(_ON_DEVICE):
                continue
            if "." in place.name:
                return place
            known = set(_NAME.findall(self.tree.text(place.path)))
            stem = place.path.rsplit("/", 1)[-1].removesuffix(".py")
            others = {n for n in spoken & known if _IDENTIFIER.fullmatch(n)} - {place.name, stem}
            if others:
                return place
        return None
