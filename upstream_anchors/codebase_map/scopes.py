r"""Which names does a block of code bind, and by what?

Python decides per function: a name that is bound anywhere in it is its own everywhere in it. So a
scope is collected before anything in it is read. Bodies of classes are scopes that the functions
inside them do not see.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from upstream_anchors.codebase_map import kinds
from upstream_anchors.codebase_map.definitions import (
    ClassTable,
    Function,
    FunctionTable,
    own_parameter,
    read_class,
    read_function,
    unpacked,
)
from upstream_anchors.codebase_map.imports import LAZY, imports_of

if TYPE_CHECKING:
    from upstream_anchors.codebase_map.lookup import Lookup

Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp


@dataclass(frozen=True)
class Bound:
    r"""One way in which a name gets its value.

    `how` is one of: `declared` (an annotation), `value` (an expression), `item` (one of what the
    expression holds), `entered` (by `with`), `caught` (by `except`), `items` and `table` (a
    `*args` and a `**kwargs` of that annotation), `kind` (already known), `import`. A target inside
    a tuple also has the `steps` down to it.
    """

    how: str
    what: Any
    steps: tuple[int, ...] = ()


@dataclass
class Scope:
    r"""A module, a class body, a function, a lambda or a comprehension, while it is being read.

    `klass` is the class of the method that the scope belongs to, for `super()` and `Self`; `parent`
    is where a name is looked for next. The module's own names are not here: `lookup` has them.
    """

    lookup: Lookup
    path: str
    parent: Scope | None = None
    klass: ClassTable | None = None
    bindings: dict[str, list[Bound]] = field(default_factory=dict)
    kinds: dict[str, kinds.Kind] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)
    is_class: bool = False

    def bind(self, name: str, bound: Bound) -> None:
        r"""Add one binding of a name."""
        self.bindings.setdefault(name, []).append(bound)

    @property
    def outer(self) -> Scope:
        r"""The scope that a function defined here continues in."""
        scope = self
        while scope.is_class and scope.parent is not None:
            scope = scope.parent
        return scope


def function_scope(
    node: Function | ast.Lambda, table: FunctionTable | None, parent: Scope, symbol: str
) -> Scope:
    r"""The scope of a function or a lambda: its parameters and everything that its body binds."""
    klass = table.owner if table and table.owner else parent.klass
    scope = Scope(parent.lookup, parent.path, parent.outer, klass)
    _bind_parameters(scope, node.args, table)
    if isinstance(node, Function):
        for statement in node.body:
            _collect(scope, statement, symbol)
        for name in scope.foreign:  # `global` and `nonlocal`: bound here, looked up further out
            scope.bindings.pop(name, None)
    return scope


def comprehension_scope(node: Comprehension, parent: Scope) -> Scope:
    r"""The scope of a comprehension: the names after its `for`s."""
    scope = Scope(parent.lookup, parent.path, parent, parent.klass)
    for generator in node.generators:
        _bind_target(scope, generator.target, "item", generator.iter)
    return scope


def _bind_parameters(scope: Scope, args: ast.arguments, table: FunctionTable | None) -> None:
    own = own_parameter(table) if table else None
    for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]:
        if arg.annotation is not None:
            scope.bind(arg.arg, Bound("declared", arg.annotation))
        elif arg.arg == own and table is not None and table.owner is not None:
            is_class = "classmethod" in table.decorators or table.name.endswith(
                (".__new__", ".__init_subclass__", ".__class_getitem__")
            )
            owner = table.owner
            kind = kinds.ClassOf(owner) if is_class else kinds.Instance(owner)
            scope.bind(arg.arg, Bound("kind", kind))
        else:
            scope.bind(arg.arg, Bound("kind", kinds.Unknown(kinds.NO_ANNOTATION)))
    for starred, how in ((args.vararg, "items"), (args.kwarg, "table")):
        if starred is not None:
            bound = Bound("kind", kinds.Unknown(kinds.NO_ANNOTATION))
            if starred.annotation is not None:
                bound = Bound(how, starred.annotation)
            scope.bind(starred.arg, bound)


def _collect(scope: Scope, statement: ast.stmt, symbol: str) -> None:
    if isinstance(statement, Function):
        table = read_function(scope.path, f"{symbol}.", statement, None)
        scope.bind(statement.name, Bound("kind", kinds.FunctionOf(table)))
        return
    if isinstance(statement, ast.ClassDef):
        klass = read_class(scope.path, f"{symbol}.", statement)
        scope.bind(statement.name, Bound("kind", kinds.ClassOf(klass)))
        return
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        for one in imports_of(statement, LAZY):
            scope.bind(one.local, Bound("import", one))
        return
    for node in _own_expressions(statement):
        if isinstance(node, ast.NamedExpr):
            _bind_target(scope, node.target, "value", node.value)
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            _bind_target(scope, target, "value", statement.value)
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        scope.bind(statement.target.id, Bound("declared", statement.annotation))
    elif isinstance(statement, (ast.For, ast.AsyncFor)):
        _bind_target(scope, statement.target, "item", statement.iter)
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        for item in statement.items:
            if item.optional_vars is not None:
                _bind_target(scope, item.optional_vars, "entered", item.context_expr)
    elif isinstance(statement, ast.Match):
        for case in statement.cases:
            for node in ast.walk(case.pattern):
                name = getattr(node, "name", None) or getattr(node, "rest", None)
                if isinstance(name, str):
                    scope.bind(name, Bound("kind", kinds.Unknown(kinds.NO_TYPE)))
    elif isinstance(statement, (ast.Global, ast.Nonlocal)):
        scope.foreign.update(statement.names)
    for handler in getattr(statement, "handlers", ()):
        if handler.name:
            scope.bind(handler.name, Bound("caught", handler.type))
        for inner in handler.body:
            _collect(scope, inner, symbol)
    for case in getattr(statement, "cases", ()):
        for inner in case.body:
            _collect(scope, inner, symbol)
    for part in ("body", "orelse", "finalbody"):
        for inner in getattr(statement, part, ()):
            _collect(scope, inner, symbol)


def _bind_target(scope: Scope, target: ast.expr, how: str, value: ast.expr) -> None:
    if how == "value":
        for part, own in unpacked(target, value):
            if isinstance(part, ast.Name) and own is not None:
                scope.bind(part.id, Bound("value", own))
        if isinstance(target, (ast.Tuple, ast.List)):
            known = {p.id for p, own in unpacked(target, value) if isinstance(p, ast.Name) and own}
            for name, steps in _places(target):
                if name not in known:
                    scope.bind(name, Bound("value", value, steps))
        return
    for name, steps in _places(target):
        scope.bind(name, Bound(how, value, steps))


def _places(target: ast.expr, steps: tuple[int, ...] = ()) -> Iterator[tuple[str, tuple[int, ...]]]:
    # The names of a target and the way down to each; a starred one has no kind of its own.
    if isinstance(target, ast.Name):
        yield target.id, steps
    elif isinstance(target, ast.Starred):
        yield from _places(target.value, (*steps, -1))
    elif isinstance(target, (ast.Tuple, ast.List)):
        for place, part in enumerate(target.elts):
            yield from _places(part, (*steps, place))


def _own_expressions(statement: ast.stmt) -> Iterable[ast.AST]:
    # The expressions of a statement itself, without those of the statements inside it.
    pending: list[ast.AST] = [
        child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr)
    ]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (ast.Lambda, *Comprehension.__args__)):
            pending.extend(ast.iter_child_nodes(node))
