r"""`{docstring}`, `{object}` and `{remaining-objects}`: docstrings as pages, each object once."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from autodoc2.sphinx.utils import get_database
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from book._ext.weave import outline, signature
from book._ext.weave.homes import claimed, note_asker, shares
from book._ext.weave.names import known_names
from book._ext.weave.source import SourceError, comment_above, find_module, locate, parse_file

_MEMBER_TYPES = {"class", "property", "attribute", "method", "exception"}
_MODULE_TYPES = {"module", "package"}


class WeaveDirective(SphinxDirective):
    """What the weaving directives share: the database, the source and nested parsing."""

    required_arguments = 1

    def item(self, full_name: str) -> dict[str, Any]:
        """The database entry of an object, or a directive error that names it."""
        found = get_database(self.env).get_item(full_name)
        if found is None:
            raise self.error(f"{self.name}: there is no {full_name!r} in the analysed packages")
        return found  # type: ignore[return-value]

    @property
    def roots(self) -> tuple[Path, ...]:
        """Folders in which packages are looked for."""
        return tuple(Path(root) for root in self.config.weave_roots)

    def piece(self, full_name: str) -> Any:
        """The source of an object; notes the file, so that editing it re-reads this page."""
        found = self.located(full_name)
        self.env.note_dependency(str(found.path))
        return found

    def located(self, full_name: str) -> Any:
        """The source of an object, or a directive error that says why there is none."""
        try:
            return locate(full_name, self.roots)
        except SourceError as problem:
            raise self.error(f"{self.name}: {problem}") from problem

    @contextmanager
    def context(self, module: str, klass: str | None) -> Iterator[None]:
        """Let the Python domain's directives and relative references see where they stand."""
        before = {key: self.env.ref_context.get(key) for key in ("py:module", "py:class")}
        self.env.ref_context.update({"py:module": module, "py:class": klass})
        try:
            yield
        finally:
            self.env.ref_context.update(before)

    def parse(self, lines: Iterable[str], base: nodes.Element | None = None) -> list[nodes.Node]:
        """Parse generated MyST with the page's own parser; warnings point at this directive."""
        base = nodes.Element() if base is None else base
        source, _ = self.get_source_info()
        text = StringList(list(lines), source=source)
        self.state.nested_parse(text, 0, base)
        return base.children


class ModuleDocstring(WeaveDirective):
    r"""A module's docstring as prose, and the home of the module's name.

    Its headings start at `##` in the source. On the page they become children of the section in
    which the directive stands. `:no-index:` leaves the name to another page.
    """

    option_spec: ClassVar[dict] = {"no-index": directives.flag}

    def run(self) -> list[nodes.Node]:
        """Register the module, then render the text below the current section."""
        name = self.arguments[0]
        item = self.item(name)
        if item["type"] not in _MODULE_TYPES:
            raise self.error(f"docstring: {name} is no module; use {{object}} for a {item['type']}")
        self.piece(name)
        if not item["doc"].strip():
            raise self.error(f"docstring: {name} has none")
        box = nodes.Element()
        if "no-index" not in self.options:
            self.parse([f"```{{py:module}} {name}", "```"], box)
        with self.context(name, None):
            self._render_below_current_section(item["doc"], box)
        return box.children

    def _render_below_current_section(self, text: str, box: nodes.Element) -> None:
        """Render Markdown into `box` with `##` one level below the section we stand in.

        MyST-Parser keeps a stack of sections for the whole document and would hang the new ones
        on that, in front of the text they belong to (MyST-Parser 1050). So the stack is replaced
        by one that starts at `box`, for the time of the call. Private names: a test watches them.
        """
        renderer = self.state._renderer  # type: ignore[attr-defined]
        stack = renderer._level_to_section
        level = max(stack)
        renderer._level_to_section = {level: box}
        try:
            with renderer.current_node_context(box):
                renderer.nested_render_text(
                    text, self.lineno, temp_root_node=box, heading_offset=level - 1
                )
        finally:
            renderer._level_to_section = stack


class ObjectHome(WeaveDirective):
    r"""Signature and docstring of a class, function or constant, and the home of its name.

    A class shows its public members that have a docstring; `:members: a, b` chooses,
    `:no-members:` shows none. What no page chooses ends on the reference pages.
    """

    option_spec: ClassVar[dict] = {
        "members": directives.unchanged_required,
        "no-members": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """Render the object, in the context of its module and, for a member, its class."""
        name = self.arguments[0]
        members: set[str] | None = None
        if "no-members" in self.options:
            members = set()
        elif "members" in self.options:
            members = {m.strip() for m in self.options["members"].split(",")}
            for member in sorted(members):
                self.item(f"{name}.{member}")
        return self.render(name, members)

    def render(self, name: str, members: set[str] | None) -> list[nodes.Node]:
        """The nodes of one object."""
        item = self.item(name)
        if item["type"] in _MODULE_TYPES:
            raise self.error(f"object: {name} is a module; use {{docstring}}")
        self.piece(name)
        module, klass = self._parents(name)
        with self.context(module, klass):
            return self.parse(self._lines(item, members))

    def _parents(self, name: str) -> tuple[str, str | None]:
        """Module, and the dotted name of the enclosing class inside it (or `None`)."""
        classes: list[str] = []
        for ancestor in get_database(self.env).get_ancestors(name, include_self=False):
            if ancestor is None:
                break
            if ancestor["type"] in _MODULE_TYPES:
                return ancestor["full_name"], ".".join(reversed(classes)) or None
            classes.append(ancestor["full_name"].rsplit(".", 1)[-1])
        raise self.error(f"{self.name}: {name} stands in no analysed module")

    def _lines(self, item: dict[str, Any], members: set[str] | None) -> list[str]:
        full_name, kind = item["full_name"], item["type"]
        short = full_name.rsplit(".", 1)[-1]
        piece = locate(full_name, self.roots)
        node, names = piece.node, self._names(full_name)
        options: list[str] = []
        body: list[str] = []
        heading = short
        if kind in {"class", "exception"}:
            arguments = signature.class_arguments(node, names)
            heading = short if arguments is None else f"{short}({arguments})"
            body += self._bases(node)
        elif kind in {"function", "method"}:
            static = "staticmethod" in item.get("properties", [])
            arguments = signature.function_arguments(
                node, names, drop_first=kind == "method" and not static
            )
            heading = f"{short}({arguments}){signature.returns(node, names)}"
            wanted = {"async", "abstractmethod", "classmethod", "staticmethod"}
            options += [f"{p}:" for p in item.get("properties", []) if p in wanted]
        else:
            if (written := signature.annotation(node, names)) is not None:
                options.append(f"type: {json.dumps(written)}")
            if (value := signature.assigned_value(node)) is not None:
                options.append(f"value: {json.dumps(value)}")
        if not (item.get("inherited") or item.get("doc_inherited")):
            body += [*(item["doc"] or comment_above(piece)).splitlines(), ""]
        if kind in {"class", "exception"}:
            for child in self._members(full_name, members):
                body += self._lines(child, None)
        fence = _fence(body)
        if options:
            options = ["---", *options, "---"]
        return [f"{fence}{{py:{kind}}} {heading}", *options, "", *body, fence, ""]

    def _names(self, full_name: str) -> dict[str, str]:
        path, rest = find_module(full_name, self.roots)
        module = ".".join(full_name.split(".")[: len(full_name.split(".")) - len(rest)])
        return known_names(parse_file(path)[1], module, is_package=path.name == "__init__.py")

    def _bases(self, node: ast.ClassDef) -> list[str]:
        names = [n for n in signature.base_names(node) if n not in {"ABC", "abc.ABC", "object"}]
        if not names:
            return []
        return ["[" + ", ".join(f"`{n}`" for n in names) + "]{.object-bases}", ""]

    def _members(self, name: str, chosen: set[str] | None) -> Iterator[dict[str, Any]]:
        homes = claimed(self.env)
        if chosen is None:
            note_asker(self.env)
        for child in get_database(self.env).get_children(name, types=_MEMBER_TYPES):
            short = child["full_name"].rsplit(".", 1)[-1]
            if child.get("inherited") or (chosen is not None and short not in chosen):
                continue
            if chosen is None:
                elsewhere = child["full_name"] in homes
                if short.startswith("_") or not child["doc"].strip() or elsewhere:
                    continue
                if child.get("doc_inherited"):
                    continue
            yield child  # type: ignore[misc]


class RemainingObjects(ObjectHome):
    r"""Every public object of a package that no other page has claimed, module by module.

    Several pages may share a package: a module is printed where the longest name above it is.
    """

    option_spec: ClassVar[dict] = {}

    def piece(self, full_name: str) -> Any:
        """The source of an object; its page depends on what it prints, not on the file."""
        return self.located(full_name)

    def run(self) -> list[nodes.Node]:
        """Walk the package; a module whose objects all live elsewhere prints nothing."""
        note_asker(self.env)
        package = self.arguments[0]
        self.item(package)
        database = get_database(self.env)
        homes = claimed(self.env)
        result: list[nodes.Node] = []
        inner = {other for other in shares(self.env) if other.startswith(f"{package}.")}
        names = sorted(
            entry["full_name"]
            for kind in _MODULE_TYPES
            for entry in database.get_by_type(kind)
            if _within(entry["full_name"], package)
            and not any(_within(entry["full_name"], other) for other in inner)
        )
        for module in names:
            result += self._module(module, homes)
        if not result:
            result.append(nodes.paragraph("", "Every object has its home in a chapter."))
        return result

    def _module(self, module: str, homes: dict[str, str]) -> list[nodes.Node]:
        shown: list[nodes.Node] = []
        outline.note(self.env, module, self.piece(module).path)
        if module not in homes:
            shown += self.parse([f"```{{py:module}} {module}", "```"])
        body: list[nodes.Node] = []
        kinds = {"class", "exception", "function", "data"}
        for child in get_database(self.env).get_children(module, types=kinds):
            name = child["full_name"]
            short = name.rsplit(".", 1)[-1]
            if short.startswith("_") or short == "__all__":
                continue
            if name not in homes:
                body += self.render(name, None)
            elif f"{name}.*" not in homes and child["type"] in {"class", "exception"}:
                for member in self._members(name, None):
                    body += self.render(member["full_name"], None)
        if not body:
            return shown
        title = nodes.rubric(module, "", nodes.literal(module, module))
        title["classes"].append("remaining-module")
        return [*shown, title, *body]


def _within(module: str, package: str) -> bool:
    """Whether a module is the package or stands below it."""
    return module == package or module.startswith(f"{package}.")


def _fence(lines: list[str]) -> str:
    """A fence longer than any that stands in the lines."""
    longest = 2
    for line in lines:
        stripped = line.lstrip()
        longest = max(longest, len(stripped) - len(stripped.lstrip("`")))
    return "`" * (longest + 1)
