r"""`{inv}` and `{invariants}`: the engine's registered invariants, where a reader needs them.

The statement, the predicate and the upstream anchors stand once, in `mini_vllm`, beside the state
that they speak of. A predicate registers itself when its module is imported, so the modules that
hold predicates are found by reading and then imported; they need no torch.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.domains import Domain
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from book._ext.boxes import new_box
from book._ext.references import DomainRole
from book._ext.weave.source import code_without_docstrings, locate, parse_file


@lru_cache(maxsize=8)
def owner_modules(package: Path) -> list[tuple[str, Path]]:
    """Modules of the package that use the `invariant` decorator, by reading their source.

    Read once a build: the registry that they fill is imported, and changes no more often.
    """
    found = []
    for path in sorted(package.rglob("*.py")):
        if "invariant(" not in path.read_text(encoding="utf-8"):
            continue
        _, tree = parse_file(path)
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and any(
                isinstance(d, ast.Call) and ast.unparse(d.func).split(".")[-1] == "invariant"
                for d in node.decorator_list
            ):
                parts = path.relative_to(package.parent).with_suffix("").parts
                found.append((".".join(parts), path))
                break
    return found


def registry(package: Path) -> dict[str, Any]:
    """All invariants, after the modules of their owners have been imported."""
    for name, _ in owner_modules(package):
        importlib.import_module(name)
    return importlib.import_module(f"{package.name}.invariants").REGISTRY


class InvariantDomain(Domain):
    """Where the invariants are stated: the page with the full table is the home of all."""

    name = "invariant"
    label = "invariants"
    data_version = 1
    initial_data: ClassVar[dict[str, Any]] = {"home": {}}

    def note(self, docname: str, name: str) -> None:
        """This page is the home of the invariant `name`."""
        self.data["home"][name] = docname

    def clear_doc(self, docname: str) -> None:
        """Forget a page that is read again."""
        home = self.data["home"]
        for name in [n for n, doc in home.items() if doc == docname]:
            del home[name]

    def merge_domaindata(self, docnames: set[str], otherdata: dict[str, Any]) -> None:
        """Merge what a parallel reader found."""
        for name, doc in otherdata["home"].items():
            if doc in docnames:
                self.data["home"][name] = doc

    def resolve_any_xref(self, *_: Any) -> list:
        """Plain references never mean an invariant."""
        return []

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):  # type: ignore[no-untyped-def]
        """Link to the invariant's row; hovering shows the statement."""
        doc = self.data["home"].get(target)
        known = registry(Path(env.config.invariants_package)).get(target)
        if doc is None or known is None:
            return None
        link = make_refnode(builder, fromdocname, doc, anchor(target), contnode, known.statement)
        link["classes"].append("invariant-link")
        return link


def anchor(name: str) -> str:
    """The id of an invariant's row."""
    return f"inv-{name}"


class InvariantTable(SphinxDirective):
    r"""The invariants of a phase, or all of them; with `:home:` this page becomes their home."""

    option_spec: ClassVar[dict] = {"phase": directives.nonnegative_int, "home": directives.flag}

    def run(self) -> list[nodes.Node]:
        """One definition an invariant: its name, the statement, its predicate, upstream."""
        package = Path(self.config.invariants_package)
        for _, path in owner_modules(package):
            self.env.note_dependency(str(path))
        self.env.note_dependency(str(package / "invariants.py"))
        phase = self.options.get("phase")
        chosen = [i for i in registry(package).values() if phase is None or i.phase == phase]
        if not chosen:
            raise self.error(f"invariants: phase {phase} has none")
        box = new_box("invariants")
        for entry in chosen:
            box += self._entry(entry, home="home" in self.options)
        return [box]

    def _entry(self, entry: Any, *, home: bool) -> nodes.Node:
        item = new_box("invariant")
        name = nodes.paragraph(classes=["invariant-name"])
        name += nodes.literal(entry.id, entry.id)
        if home:
            item["ids"].append(anchor(entry.id))
            self.env.get_domain("invariant").note(self.env.docname, entry.id)  # type: ignore[attr-defined]
            name += nodes.inline("", f"phase {entry.phase:02d}", classes=["invariant-phase"])
        item += name
        statement = self.parse_text_to_nodes(entry.statement)
        for node in statement:
            node["classes"] = [*node.get("classes", []), "invariant-statement"]
        item += statement
        if entry.anchors:
            links = ", ".join(f"{{up}}`{target}`" for target in entry.anchors)
            for node in self.parse_text_to_nodes(f"Upstream: {links}"):
                node["classes"].append("invariant-upstream")
                item += node
        if home:
            item += self._predicate(entry)
        return item

    def _predicate(self, entry: Any) -> nodes.Node:
        name = f"{entry.predicate.__module__}.{entry.predicate.__qualname__}"
        piece = locate(name, (Path(self.config.invariants_package).parent,))
        # Without the decorator, whose arguments the reader has just read.
        body = replace(piece, first=piece.node.lineno)
        shown = "\n".join(text for _, text in code_without_docstrings(body))
        code = nodes.literal_block(text=shown)
        code["language"] = "python"
        code["classes"].append("listing")
        return code


def setup(app: Sphinx) -> dict[str, object]:
    """Register domain, role and directive."""
    app.add_config_value("invariants_package", "", "env", types=frozenset({str}))
    app.add_domain(InvariantDomain)
    app.add_role("inv", DomainRole("invariant", "inv"))
    app.add_directive("invariants", InvariantTable)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True}
