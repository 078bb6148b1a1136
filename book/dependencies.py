r"""What does a notebook's output depend on, besides its own cells?

On the code that its cells import, directly or through other modules of this repository; on the
files that this code names (a checkpoint, a measurement); and on the versions of the libraries that
compute. Docstrings, comments and layout are none of these: the code is compared as a syntax tree
without them. So a sentence can be edited without an experiment running again, and a constant
cannot be changed without every experiment that imports it running again.

Two cases are different. Cells that import `inspect` or `ast` may print source as it stands, so for
such a notebook the text of its modules counts, docstrings and all. And a module of the book that
reads source itself, to count lines, depends on the code of the whole engine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import yaml

from book.module_facts import Facts, facts_of_file, facts_of_text

PACKAGES = ("mini_vllm", "book", "labkit", "upstream_anchors")
ENGINE = "mini_vllm"
LIBRARIES = ("torch", "numpy", "numba", "transformers", "tokenizers", "matplotlib")
MEASUREMENTS = "book/measurements"

_CELL = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{code-cell\}[^\n]*\n(?P<body>.*?)^(?P=fence)[`:]*[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_OPTION_BLOCK = re.compile(r"\A(?:---\n.*?^---\n|(?::[\w-]+:[^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n(?P<yaml>.*?)^---\n", re.DOTALL | re.MULTILINE)
_MAGIC = re.compile(r"^\s*[%!]")
_SKIPPED_FOLDERS = ("upstream", "_build", ".git", ".nox")


@dataclass
class Dependencies:
    """Digests by name: modules, files, libraries."""

    digests: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)  # globs of `depends:` without a file

    def digest(self) -> str:
        """One digest over all, in an order that does not depend on how they were found."""
        lines = "\n".join(f"{name} {value}" for name, value in sorted(self.digests.items()))
        return hashlib.sha256(lines.encode()).hexdigest()[:20]

    def changed(self, before: dict[str, str]) -> list[str]:
        """Names whose digest differs from before, or that came or went."""
        names = set(self.digests) | set(before)
        return sorted(n for n in names if self.digests.get(n) != before.get(n))


def code_cells(text: str) -> list[str]:
    """The Python of a Markdown notebook's cells, without cell options and magics."""
    cells = []
    for match in _CELL.finditer(text):
        body = _OPTION_BLOCK.sub("", match["body"], count=1)
        cells.append("\n".join("" if _MAGIC.match(x) else x for x in body.splitlines()))
    return cells


def front_matter(text: str) -> dict:
    """The YAML at the top of a page, or nothing."""
    match = _FRONT_MATTER.match(text)
    return (yaml.safe_load(match["yaml"]) or {}) if match else {}


def of_notebook(page: Path, root: Path) -> Dependencies:
    """Everything that the outputs of a Markdown notebook depend on, apart from its own cells.

    `depends:` in the front matter adds files by glob, relative to the repository's root, for what
    no reading of the code can find.
    """
    text = page.read_text(encoding="utf-8")
    cells = [facts_of_text(cell) for cell in code_cells(text)]
    files: set[Path] = set()
    missing: list[str] = []
    for cell in cells:
        files |= _named_files(cell, root, page.parent)
    for pattern in front_matter(text).get("depends", []):
        found = sorted(root.glob(pattern))
        files |= set(found)
        if not found:
            missing.append(pattern)
    result = _gather(cells, files, root)
    result.missing = missing
    return result


def of_one_module(name: str, root: Path) -> Dependencies:
    """Everything that what one module computes depends on."""
    return _gather([facts_of_text(f"import {name}")], set(), root)


def of_module(name: str, root: Path) -> Dependencies:
    """The same for a module and all that stand beside it: it is a registry that they fill."""
    folder = root.joinpath(*name.split(".")[:-1])
    beside = [p.stem for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_")]
    package = name.rpartition(".")[0]
    lines = "\n".join(f"import {package}.{stem}" for stem in beside)
    return _gather([facts_of_text(lines)], set(), root)


def _gather(cells: list[Facts], files: set[Path], root: Path) -> Dependencies:
    graph = _Graph(root)
    for cell in cells:
        graph.follow(cell.modules("", is_package=False))
    whole_text = any(cell.reads_source for cell in cells)
    result = Dependencies()
    for name, path in sorted(graph.modules.items()):
        facts = facts_of_file(path)
        result.digests[name] = facts.text if whole_text else facts.code
        if name.split(".")[0] != ENGINE:
            files |= _named_files(facts, root, path.parent)
            if facts.reads_source and not name.startswith("book._ext"):
                for module in sorted((root / ENGINE).rglob("*.py")):
                    key = f"source {module.relative_to(root).as_posix()}"
                    result.digests[key] = facts_of_file(module).code
    for path in sorted(files):
        for file in _walk(path):
            result.digests[file.relative_to(root).as_posix()] = _file_digest(file)
    for library in LIBRARIES:
        result.digests[f"library {library}"] = _version(library)
    return result


class _Graph:
    """The modules of our packages that some code reaches through imports."""

    def __init__(self, root: Path) -> None:
        self.roots = (root, root / "labs")
        self.modules: dict[str, Path] = {}
        self._not_ours: set[str] = set()

    def follow(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._not_ours:
                self._add(name)

    def _add(self, name: str) -> None:
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            self._not_ours.add(name)
            return
        for length in range(1, len(parts) + 1):
            prefix = ".".join(parts[:length])
            if prefix in self.modules:
                continue
            path = self._path(parts[:length])
            if path is None:
                self._not_ours.add(name)
                return
            self.modules[prefix] = path
            # An extension's functions run when Sphinx calls them, and no notebook is Sphinx.
            top_only = prefix.startswith("book._ext")
            is_package = path.name == "__init__.py"
            facts = facts_of_file(path)
            self.follow(facts.modules(prefix, is_package=is_package, top_only=top_only))

    def _path(self, parts: list[str]) -> Path | None:
        for root in self.roots:
            base = root.joinpath(*parts)
            for candidate in (base / "__init__.py", base.with_suffix(".py")):
                if candidate.is_file():
                    return candidate
        return None


def _named_files(facts: Facts, root: Path, folder: Path) -> set[Path]:
    """Files and folders of the repository that a string in the code names, and measurements."""
    found = {root / MEASUREMENTS / f"{name}.json" for name in facts.measurements}
    for text in facts.strings:
        for base in (root, folder):
            path = (base / text).resolve()
            if path.exists() and path.is_relative_to(root) and path != root:
                first = path.relative_to(root).parts[0]
                if first not in _SKIPPED_FOLDERS:
                    found.add(path)
    return {path for path in found if path.exists()}


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(
            p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts
        )


@lru_cache(maxsize=1024)
def _digest_of(path: Path, stamp: tuple[int, int]) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=32)
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
