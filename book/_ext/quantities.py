r"""`{qty}` and `{quantities}`: computed numbers on a page, in a docstring, on a cheat sheet."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole

from book._ext.notebooks import code_tree, state
from book.code_tree import CodeTree
from book.dependencies import of_one_module
from book.quantities import registry


class quantity_number(nodes.inline):
    """A computed number; `title` says what it is."""


class QuantityRole(SphinxRole):
    """A number with its unit; hovering shows what it is and where its inputs come from."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Compute and print; an unknown name or a wrong unit fails the build."""
        try:
            text = registry.printed(self.text)
        except registry.QuantityError as problem:
            message = self.inliner.reporter.error(f"qty: {problem}", line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]
        title = _title(self.text)
        note_print(self.env, self.text, f"{text}\n{title}")
        node = quantity_number(self.rawtext, text, classes=["quantity"])
        node["title"] = title
        return [node], []


class QuantityTable(SphinxDirective):
    """All quantities, or those of a phase, as a table."""

    option_spec: ClassVar[dict] = {"phase": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        """Build the table with value, meaning and source."""
        phase = self.options.get("phase")
        chosen = list(registry.all_quantities(phase))
        note_print(self.env, _request(phase), _table_text(phase))
        if not chosen:
            raise self.error(f"quantities: phase {phase} has none")
        rows = ["| Quantity | Value | What it is | From |", "|---|--:|---|---|"]
        try:
            rows += [
                f"| `{q.name}` | {q.text()} | {_cell(q.description)} | {_cell(q.source)} |"
                for q in chosen
            ]
        except registry.QuantityError as problem:
            raise self.error(f"quantities: {problem}") from problem
        table = self.parse_text_to_nodes("\n".join(rows))
        for node in table:
            node["classes"] = [*node.get("classes", []), "quantity-table"]
        return table


def _title(request: str) -> str:
    """What hovering over a number shows."""
    entry = registry.get(request.split()[0])
    return f"{entry.description} Source: {entry.source}."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _request(phase: int | None) -> str:
    return "table" if phase is None else f"table {phase}"


def _table_text(phase: int | None) -> str:
    try:
        chosen = registry.all_quantities(phase)
        rows = [f"{q.name} {q.text()} {q.description} {q.source} {q.phases}" for q in chosen]
    except registry.QuantityError as problem:
        return str(problem)
    return "\n".join(rows)


def _current(request: str) -> str:
    """What a page would print for this request now; a failure counts as a difference."""
    if request.startswith("table"):
        return _table_text(int(request[5:]) if request[5:] else None)
    try:
        return f"{registry.printed(request)}\n{_title(request)}"
    except registry.QuantityError as problem:
        return str(problem)


def note_print(env: BuildEnvironment, request: str, text: str) -> None:
    """Remember what was printed, so that the page is read again when that would differ."""
    if not hasattr(env, "quantity_prints"):
        env.quantity_prints = {}  # type: ignore[attr-defined]
    env.quantity_prints.setdefault(env.docname, {})[request] = text


def store(app: Sphinx) -> Path:
    """Where computed values wait for the next build."""
    return state(app, ".quantities.json")


def code_of(module: str, tree: CodeTree) -> str:
    """A digest over all that the numbers of one module depend on."""
    found = of_one_module(module, tree.root, tree)
    digest = hashlib.sha256(found.digest().encode())
    if any(name.startswith("source ") for name in found.digests):
        # It counts lines, docstrings and comments among them.
        digest.update(tree.engine_text())
    return digest.hexdigest()


def code_of_all(tree: CodeTree) -> str:
    """A digest over what any number depends on, and over what is said of it."""
    digest = hashlib.sha256()
    for path in sorted((tree.root / "book" / "quantities").glob("*.py")):
        digest.update(f"{path.stem} {tree.facts(path).text} ".encode())
        digest.update(code_of(f"book.quantities.{path.stem}", tree).encode())
    return digest.hexdigest()


def kept(app: Sphinx) -> dict[str, dict]:
    """By module, what an earlier build has computed, and by which code."""
    with contextlib.suppress(OSError, ValueError):
        data = json.loads(store(app).read_text(encoding="utf-8"))
        if isinstance(data, dict):
            return data
    return {}


def recall(app: Sphinx, *_: object) -> None:
    """Take over the values of an earlier build, module by module where the code is the same."""
    tree = code_tree(app)
    with contextlib.suppress(TypeError, KeyError):
        for module, found in kept(app).items():
            if found["code"] == code_of(module, tree):
                registry.remember_values(found["values"])


def keep(app: Sphinx, exception: Exception | None) -> None:
    """Leave the values for the next build; the modules are asked only if there is a new one."""
    values = registry.known_values()
    before, tree = kept(app), code_tree(app)
    with contextlib.suppress(TypeError, KeyError):
        same = all(found["code"] == code_of(module, tree) for module, found in before.items())
        known = {name: x for found in before.values() for name, x in found["values"].items()}
        if same and values == known:
            return
    data: dict[str, dict] = {}
    for name, value in sorted(values.items()):
        module = registry.get(name).function.__module__
        if module not in data:
            data[module] = {"code": code_of(module, tree), "values": {}}
        data[module]["values"][name] = value
    store(app).parent.mkdir(parents=True, exist_ok=True)
    store(app).write_text(json.dumps(data, indent=1, sort_keys=True), encoding="utf-8")


def outdated(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Pages that print a number which has changed, wherever in our code the change was made.

    Computing, and importing what computes, is left for when the code of some number changed.
    """
    code = code_of_all(code_tree(app))
    before = getattr(env, "quantity_code", None)
    env.quantity_code = code  # type: ignore[attr-defined]
    if code == before:
        return []
    prints: dict[str, dict[str, str]] = getattr(env, "quantity_prints", {})
    return [
        docname
        for docname, printed in sorted(prints.items())
        if docname in env.found_docs
        and any(_current(request) != text for request, text in printed.items())
    ]


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page that is read again starts with nothing printed."""
    getattr(env, "quantity_prints", {}).pop(docname, None)


class GivenRole(SphinxRole):
    """A number that is an input of the text at hand, chosen by the writer: printed as it stands."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Print the text."""
        return [nodes.inline(self.rawtext, self.text, classes=["given"])], []


def _visit_html(self: object, node: nodes.Element) -> None:
    self.body.append(self.starttag(node, "span", "", title=node["title"]))  # type: ignore[attr-defined]


def _depart_html(self: object, node: nodes.Element) -> None:
    self.body.append("</span>")  # type: ignore[attr-defined]


def setup(app: Sphinx) -> dict[str, object]:
    """Register role and directive."""
    app.setup_extension("book._ext.notebooks")  # which says where state is kept
    app.add_node(quantity_number, html=(_visit_html, _depart_html))
    app.add_role("qty", QuantityRole())
    app.add_role("given", GivenRole())
    app.add_directive("quantities", QuantityTable)
    app.connect("builder-inited", recall)
    app.connect("build-finished", keep)
    app.connect("env-get-outdated", outdated)
    app.connect("env-purge-doc", forget)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
