r"""`{qty}` and `{quantities}`: computed numbers on a page, in a docstring, on a cheat sheet."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
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
        note_print(self.env, self.text)
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
        note_print(self.env, _request(phase))
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
    return f"{entry.description} Source: {entry.source}.".replace("`", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _request(phase: int | None) -> str:
    return "table" if phase is None else f"table {phase}"


def _texts(request: str, modules: set[str] | None = None) -> dict[str, str]:
    """What a page prints for this request, by the module that computes it; all, or of `modules`.

    A failure is a text as well: it differs from what was printed.
    """
    if not request.startswith("table"):
        try:
            module = registry.get(request.split()[0]).function.__module__
            return {module: f"{registry.printed(request)}\n{_title(request)}"}
        except registry.QuantityError as problem:
            return {"": str(problem)}
    phase = int(request[5:]) if request[5:] else None
    if modules is None:
        modules = {q.function.__module__ for q in registry.all_quantities(phase)}
    rows = {module: _rows(module, phase) for module in modules}
    return {module: text for module, text in rows.items() if text}


def _rows(module: str, phase: int | None) -> str:
    try:
        chosen = registry.known(module, phase)
        return "\n".join(f"{q.name} {q.text()} {q.description} {q.source}" for q in chosen)
    except registry.QuantityError as problem:
        return str(problem)


def note_print(env: BuildEnvironment, request: str) -> None:
    """Remember what was printed, so that the page is read again when that would differ."""
    if not hasattr(env, "quantity_prints"):
        env.quantity_prints = {}  # type: ignore[attr-defined]
    env.quantity_prints.setdefault(env.docname, {})[request] = _texts(request)


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


def code_by_module(tree: CodeTree) -> dict[str, str]:
    """For each module with numbers a digest over what they depend on, and what is said of them."""
    digests = {}
    for path in sorted((tree.root / "book" / "quantities").glob("[!_]*.py")):
        if path.stem in registry.COMMANDS:
            continue
        module = f"book.quantities.{path.stem}"
        digests[module] = f"{tree.facts(path).text} {code_of(module, tree)}"
    return digests


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

    Only the modules whose code has changed are imported and asked: most edits change none.
    """
    code = code_by_module(code_tree(app))
    before: dict[str, str] = getattr(env, "quantity_code", {})
    env.quantity_code = code  # type: ignore[attr-defined]
    changed = {m for m in {*code, *before} if code.get(m) != before.get(m)}
    for module in sorted(changed & set(code)):
        importlib.import_module(module)
    prints: dict[str, dict[str, dict[str, str]]] = getattr(env, "quantity_prints", {})
    return [
        docname
        for docname, printed in sorted(prints.items())
        if docname in env.found_docs
        and any(_differs(request, texts, changed) for request, texts in printed.items())
    ]


def _differs(request: str, printed: dict[str, str], changed: set[str]) -> bool:
    """Whether what a page has printed is not what the changed modules would have it print now."""
    if not changed or not (request.startswith("table") or changed & set(printed)):
        return False
    now = {m: text for m, text in _texts(request, changed).items() if m in {*changed, ""}}
    return now != {m: text for m, text in printed.items() if m in changed}


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
    return {"version": "1", "env_version": 2, "parallel_read_safe": False}
