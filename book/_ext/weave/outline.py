r"""What a reference page shows of a module, as a digest: an edit of anything else leaves it alone.

`{remaining-objects}` prints signatures and docstrings of objects that no chapter has claimed. Had
its page depended on the files, it would be read again after every edit of the package, and it is
the slowest page to read. So its page notes an outline: without the bodies of functions, without
what is private, and without what another page is the home of.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from book._ext.weave.homes import claimed
from book._ext.weave.source import Definition, parse_file

# Page, then module: its file, a digest of the file, and one of its outline.
Outlines = dict[str, dict[str, tuple[str, str, str]]]


def outlines(env: BuildEnvironment) -> Outlines:
    """What each page has noted."""
    if not hasattr(env, "weave_outlines"):
        env.weave_outlines = {}  # type: ignore[attr-defined]
    return env.weave_outlines


def outline(path: Path, module: str, homes: dict[str, str]) -> str:
    """A digest of the part of a module that a reference page may print."""
    lines, tree = parse_file(path)
    parts = [line.strip() for line in lines if line.lstrip().startswith("#:")]
    parts += [_shown(node, module, homes) for node in tree.body[_documented(tree) :]]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _shown(node: ast.stmt, module: str, homes: dict[str, str]) -> str:
    if not isinstance(node, Definition):
        return ast.dump(node)
    name = f"{module}.{node.name}"
    elsewhere = name in homes and (f"{name}.*" in homes or not isinstance(node, ast.ClassDef))
    if node.name.startswith("_") or elsewhere:
        return f"{type(node).__name__} {node.name}"
    return ast.dump(_without_bodies(copy.deepcopy(node)))


def _documented(node: ast.AST) -> int:
    """How many statements the docstring of a module or a definition takes: one or none."""
    return int(ast.get_docstring(node, clean=False) is not None)  # type: ignore[arg-type]


def _without_bodies(node: ast.stmt) -> ast.stmt:
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            del inner.body[_documented(inner) :]
    return node


def note(env: BuildEnvironment, module: str, path: Path) -> None:
    """The page being read shows what remains of this module."""
    noted = outlines(env).setdefault(env.docname, {})
    noted[module] = (str(path), _digest(path), outline(path, module, claimed(env)))


def outdated(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Pages that show a module whose outline is another now; a file that is gone counts."""
    found = []
    for page, modules in sorted(outlines(env).items()):
        for module, (name, file_digest, before) in modules.items():
            path = Path(name)
            if not path.is_file():
                found.append(page)
            elif _digest(path) != file_digest:
                now = outline(path, module, claimed(env))
                modules[module] = (name, _digest(path), before)
                if now != before:
                    found.append(page)
    return sorted(set(found) & env.found_docs)


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again starts with nothing noted."""
    outlines(env).pop(docname, None)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def connect_outlines(app: Sphinx) -> None:
    """After the homes are known, which are found out at the same event."""
    app.connect("env-get-outdated", outdated, priority=600)
    app.connect("env-purge-doc", forget)
