r"""The modules of this repository, each read once, and what each of them reaches through imports.

A build asks for the dependencies of some eighty notebooks, numbers and recordings, and they share
most of the engine. Asked one by one, each would open the same three hundred files. So whoever asks
for many hands the same {py:class}`CodeTree` to all: what a file says is found out when it is first
asked for, and stands for as long as the tree is kept. A tree is for one build, or for one question;
it never sees an edit that is made while it lives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from book.module_facts import Facts, facts_of_file

PACKAGES = ("mini_vllm", "book", "labkit", "upstream_anchors")
ENGINE = "mini_vllm"
MEASUREMENTS = "book/measurements"
_SKIPPED_FOLDERS = ("upstream", "_build", ".git", ".nox")


class CodeTree:
    """A repository's code as it was when it was first looked at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._roots = (root, root / "labs")
        self._paths: dict[str, Path | None] = {}
        self._facts: dict[Path, Facts] = {}
        self._reached: dict[str, tuple[str, ...]] = {}
        self._named: dict[tuple[tuple[str, ...], Path], frozenset[Path]] = {}
        self._files: dict[Path, dict[str, str]] = {}
        self._engine: dict[str, str] | None = None
        self._engine_text: bytes | None = None

    def facts(self, path: Path) -> Facts:
        """What a Python file says of itself."""
        if path not in self._facts:
            self._facts[path] = facts_of_file(path)
        return self._facts[path]

    def modules(self, names: Iterable[str]) -> dict[str, Path]:
        """Our modules that these names mean, and all that they import in turn, with their files."""
        found: dict[str, Path] = {}
        waiting = [module for name in names for module in self._modules_in(name)]
        while waiting:
            module = waiting.pop()
            if module not in found:
                path = self._path(module)
                if path is not None:
                    found[module] = path
                    waiting += self._imports(module, path)
        return found

    def named_files(self, facts: Facts, folder: Path) -> set[Path]:
        """Files and folders of the repository that strings in the code name, and measurements."""
        key = (facts.strings, folder)
        if key not in self._named:
            self._named[key] = frozenset(self._look_up(facts.strings, folder))
        kept = {self.root / MEASUREMENTS / f"{name}.json" for name in facts.measurements}
        return {path for path in kept if path.exists()} | self._named[key]

    def file_digests(self, path: Path) -> dict[str, str]:
        """Name and digest of a file, or of every file in a folder."""
        if path not in self._files:
            self._files[path] = {
                file.relative_to(self.root).as_posix(): _file_digest(file) for file in _walk(path)
            }
        return self._files[path]

    def engine_code(self) -> dict[str, str]:
        """The code of every file of the engine, for those who read source themselves."""
        if self._engine is None:
            self._engine = {
                f"source {path.relative_to(self.root).as_posix()}": self.facts(path).code
                for path in self._engine_files()
            }
        return self._engine

    def engine_text(self) -> bytes:
        """A digest over the engine's files as they stand, docstrings and comments among them."""
        if self._engine_text is None:
            digest = hashlib.sha256()
            for path in self._engine_files():
                digest.update(path.read_bytes())
            self._engine_text = digest.digest()
        return self._engine_text

    def _engine_files(self) -> list[Path]:
        return sorted((self.root / ENGINE).rglob("*.py"))

    def _imports(self, module: str, path: Path) -> tuple[str, ...]:
        if module not in self._reached:
            # An extension's functions run when Sphinx calls them, and no notebook is Sphinx.
            top_only = module.startswith("book._ext")
            is_package = path.name == "__init__.py"
            names = self.facts(path).modules(module, is_package=is_package, top_only=top_only)
            reached = (other for name in names for other in self._modules_in(name))
            self._reached[module] = tuple(dict.fromkeys(reached))
        return self._reached[module]

    def _modules_in(self, name: str) -> Iterator[str]:
        """`a`, `a.b` and `a.b.c` of a dotted name, as far as they are modules of ours."""
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            return
        for length in range(1, len(parts) + 1):
            module = ".".join(parts[:length])
            if self._path(module) is None:
                return
            yield module

    def _path(self, module: str) -> Path | None:
        if module not in self._paths:
            bases = [root.joinpath(*module.split(".")) for root in self._roots]
            places = [p for base in bases for p in (base / "__init__.py", base.with_suffix(".py"))]
            self._paths[module] = next((place for place in places if place.is_file()), None)
        return self._paths[module]

    def _look_up(self, strings: tuple[str, ...], folder: Path) -> Iterator[Path]:
        for text in strings:
            for base in (self.root, folder):
                path = (base / text).resolve()
                if path.exists() and path.is_relative_to(self.root) and path != self.root:
                    first = path.relative_to(self.root).parts[0]
                    if first not in _SKIPPED_FOLDERS:
                        yield path


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(
            p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts
        )


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]
