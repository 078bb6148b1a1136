r"""Which file is the module that an import names?

An import says `vllm.v1.core`, or `.sched` from inside it; a map speaks of files. A package is its
`__init__.py`. A folder without one can be passed through on the way to a module, and is no module
itself.
"""

from __future__ import annotations

from collections.abc import Iterable

PACKAGE_FILE = "__init__.py"


class ModuleNames:
    r"""Dotted names and paths of one package's modules, both ways.

    ```python
    names = ModuleNames(["vllm/v1/core/__init__.py", "vllm/v1/core/block_pool.py"])
    names.path("vllm.v1.core")  # 'vllm/v1/core/__init__.py'
    names.absolute("vllm/v1/core/block_pool.py", 1, "sched")  # 'vllm.v1.core.sched'
    ```
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._name = {path: module_name(path) for path in paths}
        self._path = {name: path for path, name in self._name.items()}
        self._packages = {
            ".".join(parts[:depth])
            for parts in (name.split(".") for name in self._path)
            for depth in range(1, len(parts))
        }
        self._roots = {name.split(".")[0] for name in self._path}

    def path(self, name: str) -> str | None:
        r"""The file of a dotted name, or `None` when it names no module of the package."""
        return self._path.get(name)

    def name(self, path: str) -> str:
        r"""The dotted name of a file."""
        return self._name[path]

    def is_inside(self, name: str) -> bool:
        r"""Whether a dotted name begins with a package of this tree."""
        return name.split(".")[0] in self._roots

    def is_package(self, name: str) -> bool:
        r"""Whether modules stand below a dotted name, with or without an `__init__.py`."""
        return name in self._packages

    def absolute(self, importer: str, level: int, module: str | None) -> str | None:
        r"""What `from <dots><module> import …` means in a file; `None` above the top.

        `level` is the number of dots. One dot is the file's own package: for an `__init__.py` that
        is the package that it makes.
        """
        if not level:
            return module
        parts = self._name[importer].split(".")
        up = level - 1 if importer.endswith(PACKAGE_FILE) else level
        if up >= len(parts):
            return None
        kept = parts[: len(parts) - up]
        return ".".join([*kept, module] if module else kept)


def module_name(path: str) -> str:
    r"""`vllm/v1/core/__init__.py` → `vllm.v1.core`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
