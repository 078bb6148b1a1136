r"""What does a notebook's output depend on, besides its own cells?

On the code that its cells import, directly or through other modules of this repository; on the
files that this code names (a checkpoint, a measurement); and on the versions of the libraries that
compute. Docstrings, comments and layout are none of these: the code is compared as a syntax tree
without them. So a sentence can be edited without an experiment running again, and a constant
cannot be changed without every experiment that imports it running again.

A module that looks at source text (it imports `inspect` or `ast`) may print what it finds, so
for a notebook that imports such a module the text itself counts.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import yaml

PACKAGES = ("mini_vllm", "book", "labkit", "upstream_anchors")
LIBRARIES = ("torch", "numpy", "numba", "transformers", "tokenizers", "matplotlib")
MEASUREMENTS = "book/measurements"

_CELL = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{code-cell\}[^\n]*\n(?P<body>.*?)^(?P=fence)[`:]*[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_OPTION_BLOCK = re.compile(r"\A(?:---\n.*?^---\n|(?::[\w-]+:[^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n(?P<yaml>.*?)^---\n", re.DOTALL | re.MULTILINE)
_MAGIC = re.compile(r"^\s*[%!]")
_LOOKS_AT_SOURCE = {"inspect", "ast", "linecache"}
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
    trees = [_parse_cell(cell) for cell in code_cells(text)]
    files: set[Path] = set()
    missing: list[str] = []
    for tree in trees:
        files |= _named_files(tree, root, page.parent)
    for pattern in front_matter(text).get("depends", []):
        found = sorted(root.glob(pattern))
        files |= set(found)
        if not found:
            missing.append(pattern)
    result = _gather(trees, files, root)
    result.missing = missing
    return result


def of_module(name: str, root: Path) -> Dependencies:
    """Everything that what a module computes depends on; a package counts with its modules."""
    beside = [f"{name.rpartition('.')[0]}.{path.stem}" for path in _beside(name, root)]
    tree = ast.parse("\n".join(f"import {module}" for module in [name, *beside]))
    return _gather([tree], set(), root)


def _beside(name: str, root: Path) -> list[Path]:
    folder = root.joinpath(*name.split(".")[:-1])
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))


def _gather(trees: list[ast.Module], files: set[Path], root: Path) -> Dependencies:
    graph = _Graph(root)
    for tree in trees:
        graph.follow(tree, "", is_package=False)
    whole_text = any(_looks_at_source(tree) for tree in [*trees, *graph.trees.values()])
    result = Dependencies()
    for name, path in graph.modules.items():
        tree = graph.trees[name]
        result.digests[name] = _text_digest(path) if whole_text else _code_digest(tree)
        if name.split(".")[0] != "mini_vllm":
            files |= _named_files(tree, root, path.parent)
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
        self.trees: dict[str, ast.Module] = {}

    def follow(self, tree: ast.AST, module: str, *, is_package: bool) -> None:
        for name in _imports(tree, module, is_package):
            self._add(name)

    def _add(self, name: str) -> None:
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            return
        for length in range(1, len(parts) + 1):
            prefix = ".".join(parts[:length])
            path = self._path(parts[:length])
            if path is None:
                return
            if prefix in self.modules:
                continue
            self.modules[prefix] = path
            self.trees[prefix] = _tree(path, path.stat().st_mtime_ns)
            self.follow(self.trees[prefix], prefix, is_package=path.name == "__init__.py")

    def _path(self, parts: list[str]) -> Path | None:
        for root in self.roots:
            base = root.joinpath(*parts)
            for candidate in (base / "__init__.py", base.with_suffix(".py")):
                if candidate.is_file():
                    return candidate
        return None


def _imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + (1 if is_package else 0)
                origin = ".".join([*parts[:keep], *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] == "import_module"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def _parse_cell(cell: str) -> ast.Module:
    try:
        return ast.parse(cell)
    except SyntaxError:
        return ast.parse("")  # the cell fails when it runs, and says so better


def _looks_at_source(tree: ast.AST) -> bool:
    names = {name.split(".")[0] for name in _imports(tree, "", False)}
    return bool(names & _LOOKS_AT_SOURCE)


def _named_files(tree: ast.AST, root: Path, folder: Path) -> set[Path]:
    """Files and folders of the repository that a string in the code names, and measurements."""
    found: set[Path] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] == "measurement"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(root / MEASUREMENTS / f"{node.args[0].value}.json")
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        text = node.value
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?|[\w-]+\.\w{2,12}", text):
            continue
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
def _tree(path: Path, stamp: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _code_digest(tree: ast.Module) -> str:
    return hashlib.sha256(ast.dump(without_docstrings(tree)).encode()).hexdigest()[:20]


def without_docstrings(tree: ast.Module) -> ast.Module:
    """A copy of a module without the statements that are bare strings, wherever they stand."""
    copied = ast.parse(ast.unparse(tree))
    for node in ast.walk(copied):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                s
                for s in body
                if not (
                    isinstance(s, ast.Expr)
                    and isinstance(s.value, ast.Constant)
                    and isinstance(s.value.value, str)
                )
            ]
    return copied


def _text_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:20]


@lru_cache(maxsize=1024)
def _digest_of(path: Path, stamp: tuple[int, int]) -> str:
    return _text_digest(path)


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest_of(path, (stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=32)
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "absent"
