r"""What does a file define, as far as somebody in another file can ask?

The first of two readings. It keeps the names that a module and its classes bind, with the
expressions that say what they are, and lets go of the bodies: the bodies of 1,758 files at once are
a gigabyte. The second reading ({py:mod}`~upstream_anchors.codebase_map.call_graph`) takes one file
at a time and asks these tables about all the others.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from upstream_anchors.codebase_map.imports import (
    LAZY,
    LOAD,
    TYPING,
    ImportStatement,
    branch_moments,
    imports_of,
    nested_bodies,
    read_imports,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class FunctionTable:
    r"""A function or a method: what a call of it needs to know, and where it stands.

    `node` is kept for the methods that assign attributes of their object, because those
    expressions are read in the method's own scope. Of the others only the signature is kept.
    """

    path: str
    name: str
    line: int
    parameters: ast.arguments
    returns: ast.expr | None
    decorators: tuple[str, ...]
    is_async: bool
    owner: ClassTable | None = None
    node: Function | None = None

    @property
    def is_property(self) -> bool:
        r"""Whether reading the attribute already calls it."""
        return any(name.endswith("property") for name in self.decorators)


@dataclass
class Variable:
    r"""An assigned name: its annotation, its value, and the method that assigned it, if any."""

    annotation: ast.expr | None
    value: ast.expr | None
    method: FunctionTable | None = None


@dataclass(eq=False)
class ClassTable:
    r"""A class: its bases as written, its methods, its attributes, the classes inside it."""

    path: str
    name: str
    line: int
    bases: list[ast.expr]
    methods: dict[str, FunctionTable] = field(default_factory=dict)
    classes: dict[str, ClassTable] = field(default_factory=dict)
    attributes: dict[str, list[Variable]] = field(default_factory=dict)


Binding = ImportStatement | FunctionTable | ClassTable | Variable


@dataclass
class ModuleTable:
    r"""A file: the names that it binds, its imports, and its size.

    `names` keeps every binding of a name, in the order of the lines: two branches may disagree.
    `is_empty` says that no statement stands in the file, a docstring aside.
    """

    path: str
    lines: int
    is_empty: bool
    imports: list[ImportStatement]
    names: dict[str, list[tuple[str, Binding]]] = field(default_factory=dict)
    stars: list[ImportStatement] = field(default_factory=list)
    exported: tuple[str, ...] | None = None

    @property
    def public(self) -> list[tuple[str, str, int]]:
        r"""The public names: `(name, kind, line)`, kinds class, function and constant.

        `__all__`, where it is a plain list, decides; else the names without an underscore that are
        defined here. A name that is only imported here is not the file's own.
        """
        found = []
        for name, bindings in self.names.items():
            own = [b for when, b in bindings if not isinstance(b, ImportStatement)]
            if not own or (name not in self.exported if self.exported else name.startswith("_")):
                continue
            # The last definition is the one that counts at run time.
            last = next((b for b in reversed(own) if not isinstance(b, Variable)), own[0])
            if isinstance(last, ClassTable):
                found.append((name, "class", last.line))
            elif isinstance(last, FunctionTable):
                found.append((name, "function", last.line))
            else:
                node = last.value or last.annotation
                found.append((name, "constant", node.lineno if node else 0))
        return sorted(found, key=lambda item: item[2])


def parse(source: str) -> ast.Module:
    r"""The syntax tree; a foreign file's warnings are not ours to print."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def read_definitions(path: str, source: str, module: ast.Module) -> ModuleTable:
    r"""The table of one parsed file."""
    body = module.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    table = ModuleTable(path, len(source.splitlines()), not body, read_imports(module))
    _read_module(table, module.body, LOAD)
    return table


def _read_module(table: ModuleTable, body: list[ast.stmt], when: str) -> None:
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            for one in imports_of(statement, when):
                if one.local == "*":
                    table.stars.append(one)
                else:
                    table.names.setdefault(one.local, []).append((when, one))
        elif isinstance(statement, Function):
            function = read_function(table.path, "", statement, None)
            table.names.setdefault(statement.name, []).append((when, function))
        elif isinstance(statement, ast.ClassDef):
            klass = read_class(table.path, "", statement)
            table.names.setdefault(statement.name, []).append((when, klass))
        elif isinstance(statement, ast.If):
            yes, no = branch_moments(statement.test, when)
            # Names bound under `if __name__ == "__main__"` are bound for nobody else.
            for block, moment in ((statement.body, yes), (statement.orelse, no)):
                if moment != LAZY:
                    _read_module(table, block, moment)
        else:
            for name, variable in assigned(statement):
                if name == "__all__":
                    table.exported = _literal_names(variable.value)
                table.names.setdefault(name, []).append((when, variable))
            for nested in nested_bodies(statement):
                _read_module(table, nested, when)


def read_class(path: str, prefix: str, node: ast.ClassDef) -> ClassTable:
    klass = ClassTable(path, prefix + node.name, node.lineno, list(node.bases))
    _read_class_body(klass, node.body)
    return klass


def _read_class_body(klass: ClassTable, body: list[ast.stmt]) -> None:
    for statement in body:
        if isinstance(statement, Function):
            method = read_function(klass.path, f"{klass.name}.", statement, klass)
            known = klass.methods.get(statement.name)
            if not (known and _is_accessory(method)):
                klass.methods[statement.name] = method
            _read_own_attributes(klass, method, statement)
        elif isinstance(statement, ast.ClassDef):
            klass.classes[statement.name] = read_class(klass.path, f"{klass.name}.", statement)
        else:
            for name, variable in assigned(statement):
                klass.attributes.setdefault(name, []).append(variable)
            for nested in nested_bodies(statement):
                _read_class_body(klass, nested)


def _is_accessory(method: FunctionTable) -> bool:
    # A setter is not what reading the attribute calls.
    return any(name.endswith((".setter", ".deleter")) for name in method.decorators)


def read_function(
    path: str, prefix: str, node: Function, owner: ClassTable | None
) -> FunctionTable:
    return FunctionTable(
        path,
        prefix + node.name,
        node.lineno,
        node.args,
        node.returns,
        tuple(dotted(decorator) or "?" for decorator in node.decorator_list),
        isinstance(node, ast.AsyncFunctionDef),
        owner,
    )


def _read_own_attributes(klass: ClassTable, method: FunctionTable, node: Function) -> None:
    # `self.name = …`, in whichever method of the class.
    own = own_parameter(method)
    if own is None:
        return
    for inner in ast.walk(node):
        if not isinstance(inner, (ast.Assign, ast.AnnAssign)):
            continue
        targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
        for target in targets:
            for part, value in unpacked(target, inner.value):
                if (
                    isinstance(part, ast.Attribute)
                    and isinstance(part.value, ast.Name)
                    and part.value.id == own
                ):
                    annotation = inner.annotation if isinstance(inner, ast.AnnAssign) else None
                    variable = Variable(annotation, value, method)
                    klass.attributes.setdefault(part.attr, []).append(variable)
                    method.node = node


def own_parameter(function: FunctionTable) -> str | None:
    r"""What a method calls its own object, or its class; `None` where it has neither."""
    if function.owner is None or "staticmethod" in function.decorators:
        return None
    first = [*function.parameters.posonlyargs, *function.parameters.args][:1]
    return first[0].arg if first else None


def assigned(statement: ast.stmt) -> Iterator[tuple[str, Variable]]:
    r"""The plain names that an assignment binds."""
    if isinstance(statement, ast.AnnAssign):
        if isinstance(statement.target, ast.Name):
            yield statement.target.id, Variable(statement.annotation, statement.value)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            for part, value in unpacked(target, statement.value):
                if isinstance(part, ast.Name):
                    yield part.id, Variable(None, value)


def unpacked(
    target: ast.expr, value: ast.expr | None
) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    r"""The single targets of an assignment, each with the expression that it gets, if one does.

    `a, b = f(), g()` pairs up; `a, b = f()` cannot, so each part's value is unknown here.
    """
    if not isinstance(target, (ast.Tuple, ast.List)):
        yield target, value
        return
    values: list[ast.expr | None] = [None] * len(target.elts)
    if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
        values = list(value.elts)
    if any(isinstance(part, ast.Starred) for part in target.elts):
        values = [None] * len(target.elts)
    for part, own_value in zip(target.elts, values, strict=True):
        inner = part.value if isinstance(part, ast.Starred) else part
        yield from unpacked(inner, own_value)


def dotted(node: ast.expr) -> str | None:
    r"""`a.b.c` of a name or of the function of a call, `None` for anything else."""
    if isinstance(node, ast.Call):
        node = node.func
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def _literal_names(value: ast.expr | None) -> tuple[str, ...] | None:
    if not isinstance(value, (ast.List, ast.Tuple)):
        return None
    names = [e.value for e in value.elts if isinstance(e, ast.Constant)]
    if len(names) != len(value.elts):
        return None
    return tuple(name for name in names if isinstance(name, str))


__all__ = [
    "TYPING",
    "Binding",
    "ClassTable",
    "Function",
    "FunctionTable",
    "ModuleTable",
    "Variable",
    "assigned",
    "dotted",
    "own_parameter",
    "parse",
    "read_definitions",
    "unpacked",
]
