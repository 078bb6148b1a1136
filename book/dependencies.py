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
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import yaml

from book.code_tree import ENGINE, CodeTree
from book.module_facts import Facts, facts_of_text

LIBRARIES = ("torch", "numpy", "numba", "transformers", "tokenizers", "matplotlib")

_CELL = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{code-cell\}[^\n]*\n(?P<body>.*?)^(?P=fence)[`:]*[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_OPTION_BLOCK = re.compile(r"\A(?:---\n.*?^---\n|(?::[\w-]+:[^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n(?P<yaml>.*?)^---\n", re.DOTALL | re.MULTILINE)
_MAGIC = re.compile(r"^\s*[%!]")


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


def of_notebook(page: Path, root: Path, tree: CodeTree | None = None) -> Dependencies:
    """Everything that the outputs of a Markdown notebook depend on, apart from its own cells.

    `depends:` in the front matter adds files by glob, relative to the repository's root, for what
    no reading of the code can find. `tree` is handed over by whoever asks for many.
    """
    tree = tree or CodeTree(root)
    text = page.read_text(encoding="utf-8")
    cells = [facts_of_text(cell) for cell in code_cells(text)]
    files: set[Path] = set()
    missing: list[str] = []
    for cell in cells:
        files |= tree.named_files(cell, page.parent)
    for pattern in front_matter(text).get("depends", []):
        found = sorted(root.glob(pattern))
        files |= set(found)
        if not found:
            missing.append(pattern)
    result = _gather(cells, files, tree)
    result.missing = missing
    return result


def of_one_module(name: str, root: Path, tree: CodeTree | None = None) -> Dependencies:
    """Everything that what one module computes depends on."""
    return _gather([facts_of_text(f"import {name}")], set(), tree or CodeTree(root))


def of_module(name: str, root: Path, tree: CodeTree | None = None) -> Dependencies:
    """The same for a module and all that stand beside it: it is a registry that they fill."""
    folder = root.joinpath(*name.split(".")[:-1])
    beside = [p.stem for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_")]
    package = name.rpartition(".")[0]
    lines = "\n".join(f"import {package}.{stem}" for stem in beside)
    return _gather([facts_of_text(lines)], set(), tree or CodeTree(root))


def _gather(cells: list[Facts], files: set[Path], tree: CodeTree) -> Dependencies:
    names = [name for cell in cells for name in cell.modules("", is_package=False)]
    whole_text = any(cell.reads_source for cell in cells)
    result = Dependencies()
    for name, path in sorted(tree.modules(names).items()):
        facts = tree.facts(path)
        result.digests[name] = facts.text if whole_text else facts.code
        if name.split(".")[0] != ENGINE:
            files |= tree.named_files(facts, path.parent)
            if facts.reads_source and not name.startswith("book._ext"):
                result.digests.update(tree.engine_code())
    for path in files:
        result.digests.update(tree.file_digests(path))
    for library in LIBRARIES:
        result.digests[f"library {library}"] = _version(library)
    return result


@lru_cache(maxsize=32)
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
