r"""What one Python file says about its dependencies, read once for each version of its text.

The facts of a text never change, so they are kept by the hash of the text, also between builds.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FORMAT = 3  # of what is kept between builds
_PATH_LIKE = re.compile(r"[\w.-]+(/[\w.-]+)+/?|[\w-]+\.\w{2,12}")
_SOURCE_READERS = {"inspect", "ast", "linecache"}


@dataclass(frozen=True)
class Facts:
    """Imports as `(level, module, name)`, strings that may name a file, and two digests.

    `public` are the classes and functions at the top of the module that do not begin with `_`.
    """

    imports: tuple[tuple[int, str, str], ...]
    top_imports: tuple[tuple[int, str, str], ...]
    strings: tuple[str, ...]
    measurements: tuple[str, ...]
    code: str
    text: str
    reads_source: bool
    public: tuple[str, ...]

    def modules(self, module: str, *, is_package: bool, top_only: bool = False) -> Iterator[str]:
        """Full names of what is imported, seen from `module`; names may be modules or not."""
        for level, origin, name in self.top_imports if top_only else self.imports:
            if level:
                parts = module.split(".")
                keep = len(parts) - level + (1 if is_package else 0)
                origin = ".".join([*parts[:keep], *([origin] if origin else [])])
            yield origin
            if name:
                yield f"{origin}.{name}"


_KNOWN: dict[str, Facts] = {}
_USED: set[str] = set()


def facts_of_file(path: Path) -> Facts:
    """The facts of a file."""
    return facts_of_text(path.read_text(encoding="utf-8"))


def facts_of_text(text: str) -> Facts:
    """The facts of a Python text; one that does not parse has none but its text."""
    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    _USED.add(key)
    if key not in _KNOWN:
        try:
            tree = ast.parse(text)
        except SyntaxError:
            tree = ast.parse("")  # whoever runs it will say so better
        _KNOWN[key] = _read(tree, key)
    return _KNOWN[key]


def _read(tree: ast.Module, text_digest: str) -> Facts:
    imports = tuple(_imports(ast.walk(tree)))
    strings, measurements = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if _PATH_LIKE.fullmatch(node.value):
                strings.append(node.value)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] == "measurement"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            measurements.append(str(node.args[0].value))
    return Facts(
        imports=imports,
        top_imports=tuple(_imports(tree.body)),
        strings=tuple(sorted(set(strings))),
        measurements=tuple(sorted(set(measurements))),
        code=hashlib.sha256(ast.dump(without_docstrings(tree)).encode()).hexdigest()[:20],
        text=text_digest,
        reads_source=any(
            (module or name).split(".")[0] in _SOURCE_READERS for _, module, name in imports
        ),
        public=tuple(
            node.name
            for node in tree.body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and not node.name.startswith("_")
        ),
    )


def _imports(nodes: object) -> Iterator[tuple[int, str, str]]:
    for node in nodes:  # type: ignore[attr-defined]
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, node.module or "", alias.name) for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] == "import_module"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield 0, str(node.args[0].value), ""


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


def load(store: Path) -> None:
    """Take over what an earlier build has read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        data = json.loads(store.read_text(encoding="utf-8"))
        if data["format"] == FORMAT:
            for key, fields in data["facts"].items():
                values = {
                    name: tuple(tuple(x) if isinstance(x, list) else x for x in value)
                    if isinstance(value, list)
                    else value
                    for name, value in fields.items()
                }
                _KNOWN.setdefault(key, Facts(**values))


def save(store: Path) -> None:
    """Keep the facts of the texts that this build has asked for."""
    facts = {key: vars(_KNOWN[key]) for key in sorted(_USED & set(_KNOWN))}
    text = json.dumps({"format": FORMAT, "facts": facts})
    if not store.is_file() or store.read_text(encoding="utf-8") != text:
        store.parent.mkdir(parents=True, exist_ok=True)
        store.write_text(text, encoding="utf-8")
