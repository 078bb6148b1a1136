r"""Who calls whom?

The second reading: one file at a time, every call expression in it, asked where its callee is
defined. Three answers. **Resolved**: the text leads to a definition of the tree, by its name, along
the imports, or through the class that an annotation or a constructor states. **Outside**: it leads
to a library or a builtin. **Unresolved**: the text does not say, and why it does not is counted.

A resolved call is an address and no promise about the run: a subclass may override the method, and
somebody may have replaced the name. What is only passed on as a value (a callback, a decorator
without parentheses) is not called where it is passed, and is not counted.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from upstream_anchors.codebase_map import kinds
from upstream_anchors.codebase_map.definitions import (
    ClassTable,
    Function,
    FunctionTable,
    read_class,
    read_function,
)
from upstream_anchors.codebase_map.expressions import kind_of, name_kind
from upstream_anchors.codebase_map.lookup import Lookup
from upstream_anchors.codebase_map.scopes import (
    Comprehension,
    Scope,
    comprehension_scope,
    function_scope,
)


@dataclass(frozen=True, order=True)
class Call:
    r"""A call whose callee is known; a symbol is dotted, and `""` is the module's own body."""

    path: str
    caller: str
    line: int
    callee_path: str
    callee: str


@dataclass
class FileCalls:
    r"""The calls of one file: those that are resolved, and the tally of the others."""

    resolved: list[Call] = field(default_factory=list)
    outside: int = 0
    unresolved: Counter[str] = field(default_factory=Counter)


def read_calls(path: str, module: ast.Module, lookup: Lookup) -> FileCalls:
    r"""Every call of one parsed file, resolved as far as its text allows."""
    reader = _Reader(path, lookup)
    reader.visit_all(module.body, lookup.module_scope(path), "")
    return reader.found


class _Reader:
    # Walks a file once, carrying the scope and the name of the innermost definition.

    def __init__(self, path: str, lookup: Lookup) -> None:
        self.path = path
        self.lookup = lookup
        self.found = FileCalls()

    def visit_all(self, nodes: Iterable[ast.AST | None], scope: Scope, symbol: str) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node, scope, symbol)

    def visit(self, node: ast.AST, scope: Scope, symbol: str) -> None:
        if isinstance(node, Function):
            self._function(node, scope, symbol)
        elif isinstance(node, ast.ClassDef):
            self._class(node, scope, symbol)
        elif isinstance(node, ast.Lambda):
            self.visit_all([*node.args.defaults, *node.args.kw_defaults], scope, symbol)
            self.visit(node.body, function_scope(node, None, scope, symbol), symbol)
        elif isinstance(node, Comprehension):
            inner = comprehension_scope(node, scope)
            self.visit_all(ast.iter_child_nodes(node), inner, symbol)
        else:
            if isinstance(node, ast.Call):
                self._call(node, scope, symbol)
            if isinstance(node, ast.AnnAssign):
                # An annotation is read, not run.
                self.visit_all((node.target, node.value), scope, symbol)
            else:
                self.visit_all(ast.iter_child_nodes(node), scope, symbol)

    def _function(self, node: Function, scope: Scope, symbol: str) -> None:
        around = [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]
        self.visit_all(around, scope, symbol)
        name = f"{symbol}.{node.name}" if symbol else node.name
        table = self._table(node, scope, name)
        self.visit_all(node.body, function_scope(node, table, scope, name), name)

    def _table(self, node: Function, scope: Scope, name: str) -> FunctionTable:
        prefix = name.removesuffix(node.name)
        owner = scope.klass if scope.is_class else None
        return read_function(self.path, prefix, node, owner)

    def _class(self, node: ast.ClassDef, scope: Scope, symbol: str) -> None:
        around = [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]
        self.visit_all(around, scope, symbol)
        klass = self._known(node, scope)
        if klass is None:
            klass = read_class(self.path, f"{symbol}." if symbol else "", node)
        inner = self.lookup.class_scope(klass)
        inner.parent = scope
        self.visit_all(node.body, inner, klass.name)

    def _known(self, node: ast.ClassDef, scope: Scope) -> ClassTable | None:
        # The table that everybody else knows this class by.
        kind = name_kind(node.name, scope)
        if isinstance(kind, kinds.ClassOf) and kind.table.line == node.lineno:
            return kind.table
        return None

    def _call(self, node: ast.Call, scope: Scope, symbol: str) -> None:
        callee = kind_of(node.func, scope)
        if isinstance(callee, kinds.Instance):
            callee = self.lookup.attribute(callee, "__call__")
        if isinstance(callee, (kinds.FunctionOf, kinds.ClassOf)):
            table = callee.table
            call = Call(self.path, symbol, node.lineno, table.path, table.name)
            self.found.resolved.append(call)
        elif isinstance(callee, kinds.Unknown):
            self.found.unresolved[callee.reason] += 1
        elif isinstance(callee, kinds.Outside) and callee.name.endswith("typing.Callable"):
            self.found.unresolved[kinds.PASSED_IN] += 1
        elif isinstance(callee, kinds.Outside):
            self.found.outside += 1
        else:
            self.found.unresolved[kinds.COMPUTED] += 1
