r"""Analyse a module once per edit, and never the libraries that it imports.

sphinx-autodoc2 analyses the whole package whenever one file changes, and to infer base classes it
parses whatever the package imports, torch included: seconds, and another result where torch is not
installed. What we print needs neither: members that are inherited from a library are hidden. So
imports of foreign modules stay unresolved, and the items of a file are kept until it changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import autodoc2.sphinx.extension as autodoc2_extension
from astroid.exceptions import AstroidImportError
from astroid.manager import AstroidManager
from autodoc2.analysis import analyse_module
from sphinx.application import Sphinx

OWN = ("mini_vllm", "labkit", "book", "upstream_anchors")
NEEDED = ("builtins", "enum", "typing", "dataclasses", "abc")


@contextlib.contextmanager
def only_own_imports() -> Iterator[None]:
    """While this is open, the analysis resolves imports of our packages only."""
    original = AstroidManager.ast_from_module_name

    def restricted(self: AstroidManager, modname: str | None, *args: Any, **kwargs: Any) -> Any:
        if modname is not None and modname.split(".")[0] not in (*OWN, *NEEDED, ""):
            raise AstroidImportError("not ours: {modname}", modname=modname)
        return original(self, modname, *args, **kwargs)

    AstroidManager.ast_from_module_name = restricted  # type: ignore[method-assign]
    try:
        yield
    finally:
        AstroidManager.ast_from_module_name = original  # type: ignore[method-assign]


def analyse(path: Path, name: str) -> list[dict[str, Any]]:
    """The items of one module."""
    with only_own_imports():
        return [dict(item) for item in analyse_module(path, name)]


def remember(app: Sphinx) -> None:
    """Before autodoc2 runs: give it an analysis that remembers what it has seen, in the env."""
    if not hasattr(app.env, "weave_analysis"):
        app.env.weave_analysis = {}  # type: ignore[attr-defined]
    seen: dict[str, tuple[bytes, list[dict[str, Any]]]] = app.env.weave_analysis

    def remembered(path: Path, name: str, *_: Any) -> Iterable[dict[str, Any]]:
        text = path.read_bytes()
        known = seen.get(name)
        if known is None or known[0] != text:
            seen[name] = (text, analyse(path, name))
        return [dict(item) for item in seen[name][1]]

    autodoc2_extension.analyse_module = remembered  # type: ignore[assignment]


def setup_analysis(app: Sphinx) -> None:
    """Connect before autodoc2, which analyses at the same event."""
    app.connect("builder-inited", remember, priority=100)
