r"""Where is a name of another file defined, and what does a class answer to?

The tables of all files, asked together: a name of a module, through re-exports and `import *`; an
attribute of a class, along its bases in Python's own order; what a function says it returns.
Answers are kept, since the same few names are asked for a hundred thousand times.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from upstream_anchors.codebase_map import kinds
from upstream_anchors.codebase_map.annotations import declared
from upstream_anchors.codebase_map.definitions import (
    ClassTable,
    FunctionTable,
    ModuleTable,
    Variable,
    dotted,
)
from upstream_anchors.codebase_map.expressions import kind_of
from upstream_anchors.codebase_map.imports import TYPING, ImportStatement
from upstream_anchors.codebase_map.kinds import Kind, Unknown
from upstream_anchors.codebase_map.modules import ModuleNames
from upstream_anchors.codebase_map.scopes import Bound, Scope, function_scope

# Decorators that leave what a function returns as it says.
_PLAIN = frozenset(
    {
        "staticmethod",
        "classmethod",
        "property",
        "cached_property",
        "abstractmethod",
        "override",
        "final",
        "cache",
        "lru_cache",
        "wraps",
        "inference_mode",
        "no_grad",
        "overload",
        "deprecated",
        "instrument",
    }
)
# Bases outside the tree that give no methods which somebody would call by name.
_BARE = frozenset({"object", "ABC", "Generic", "Protocol", "NamedTuple", "TypedDict"})


class Lookup:
    r"""Questions that need more than one file."""

    def __init__(self, tables: Mapping[str, ModuleTable], names: ModuleNames) -> None:
        self.tables = tables
        self.names = names
        self._module_names: dict[tuple[str, str], Kind | None] = {}
        self._members: dict[tuple[ClassTable, str, bool], Kind | None] = {}
        self._orders: dict[ClassTable, list[Kind]] = {}
        self._returned: dict[tuple[str, str, int, ClassTable | None], Kind] = {}
        self._method_scopes: dict[tuple[str, str, int, ClassTable | None], Scope] = {}
        self._aliases: set[tuple[str, str]] = set()

    def declared(self, annotation: ast.expr | None, scope: Scope) -> Kind:
        r"""The kind of an object with this annotation."""
        return declared(annotation, scope)

    # ---- modules ------------------------------------------------------------------------------
    def module_scope(self, path: str) -> Scope:
        r"""The scope of a module's own statements."""
        return Scope(self, path)

    def module_name(self, path: str, name: str) -> Kind | None:
        r"""What a module binds to a name, `None` if nothing."""
        key = (path, name)
        if key not in self._module_names:
            self._module_names[key] = Unknown(kinds.CIRCULAR)
            self._module_names[key] = self._read_module_name(path, name)
        return self._module_names[key]

    def _read_module_name(self, path: str, name: str) -> Kind | None:
        table = self.tables[path]
        bindings = table.names.get(name)
        if bindings is None:
            for star in table.stars:
                source = self.module_path(path, star)
                if source is not None and not name.startswith("_"):
                    found = self.module_name(source, name)
                    if found is not None:
                        return found
            return None
        said = [binding for when, binding in bindings if when == TYPING]
        for variable in said:
            if isinstance(variable, Variable) and variable.annotation is not None:
                return declared(variable.annotation, self.module_scope(path))
        firm = [b for _, b in bindings if not isinstance(b, Variable)]
        if said and any(not isinstance(b, Variable) for b in said):
            # What the type checker is told stands for the stand-in that runs.
            firm = [b for b in said if not isinstance(b, Variable)]
        loose = [b for _, b in bindings if isinstance(b, Variable) and not _is_nothing(b)]
        kinds_found = [self._bound(path, binding) for binding in firm]
        if not (said and firm):
            kinds_found += [self._variable(variable, self.module_scope(path)) for variable in loose]
        if firm and all(isinstance(b, (FunctionTable, ClassTable)) for b in firm) and not loose:
            return kinds_found[-1]  # one name, one file: whichever branch runs
        kind = kinds.agreed(kinds_found)
        return Unknown(kinds.SEVERAL) if kind == Unknown(kinds.UNION) else kind

    def _bound(self, path: str, binding: ImportStatement | FunctionTable | ClassTable) -> Kind:
        if isinstance(binding, ImportStatement):
            return self.imported(path, binding)
        if isinstance(binding, FunctionTable):
            return kinds.FunctionOf(binding)
        return kinds.ClassOf(binding)

    def _variable(self, variable: Variable, scope: Scope) -> Kind:
        if variable.annotation is not None:
            kind = declared(variable.annotation, scope)
            name = getattr(kind, "name", "")
            if not name.endswith("TypeAlias"):
                return kind
        if variable.value is None:
            return Unknown(kinds.NO_TYPE)
        return kind_of(variable.value, scope)

    def imported(self, path: str, statement: ImportStatement) -> Kind:
        r"""What the local name of an import stands for."""
        module = self.names.absolute(path, statement.level, statement.module)
        if module is None:
            return Unknown(kinds.NOT_FOUND)
        if statement.name is None:
            if statement.local != module.split(".")[0]:
                return self._module(module)
            return self._module(statement.local)
        return self.attribute(self._module(module), statement.name)

    def _module(self, name: str) -> Kind:
        return kinds.Module(name) if self.names.is_inside(name) else kinds.Outside(name)

    def module_path(self, path: str, statement: ImportStatement) -> str | None:
        r"""The file that an import statement leads to, `None` if it leaves the tree.

        `from package import name` leads to the module `package.name` if there is one, unless the
        package binds that name to something else.
        """
        module = self.names.absolute(path, statement.level, statement.module)
        if module is None or not self.names.is_inside(module):
            return None
        if statement.name is not None and statement.name != "*":
            below = f"{module}.{statement.name}"
            if self.names.path(below) and self.attribute(
                kinds.Module(module), statement.name
            ) == kinds.Module(below):
                return self.names.path(below)
        return self.names.path(module)

    # ---- attributes ---------------------------------------------------------------------------
    def attribute(self, kind: Kind, name: str) -> Kind:
        r"""What `kind.name` stands for."""
        if isinstance(kind, kinds.Module):
            return self._of_module(kind.name, name)
        if isinstance(kind, kinds.Outside):
            return kinds.Outside(f"{kind.name}.{name}", kind.is_instance)
        if isinstance(kind, (kinds.Items, kinds.Mapping, kinds.Row, kinds.Awaited)):
            return kinds.Outside(f"builtins.{type(kind).__name__.lower()}.{name}")
        if isinstance(kind, kinds.ClassOf):
            return self._of_class(kind.table, name, on_class=True) or Unknown(kinds.NOT_FOUND)
        if isinstance(kind, kinds.Instance):
            return self._of_class(kind.of, name) or Unknown(kinds.NOT_FOUND)
        if isinstance(kind, kinds.Super):
            return self._along(self.order(kind.of)[1:], kind.of, name) or Unknown(kinds.NOT_FOUND)
        if isinstance(kind, kinds.FunctionOf):
            return kinds.Outside(f"builtins.function.{name}")
        return kind

    def _of_module(self, module: str, name: str) -> Kind:
        path, below = self.names.path(module), f"{module}.{name}"
        found = self.module_name(path, name) if path else None
        if found is not None and found != Unknown(kinds.CIRCULAR):
            return found
        if self.names.path(below) or self.names.is_package(below):
            return kinds.Module(below)
        return found or Unknown(kinds.NOT_FOUND)

    def _of_class(self, klass: ClassTable, name: str, on_class: bool = False) -> Kind | None:
        key = (klass, name, on_class)
        if key not in self._members:
            self._members[key] = Unknown(kinds.CIRCULAR)
            self._members[key] = self._along(self.order(klass), klass, name, on_class)
        return self._members[key]

    def _along(
        self, order: list[Kind], receiver: ClassTable, name: str, on_class: bool = False
    ) -> Kind | None:
        passed: Kind | None = None
        for base in order:
            if isinstance(base, kinds.ClassOf):
                found = self._own_member(base.table, receiver, name, on_class)
                if found is not None:
                    if isinstance(passed, kinds.Outside):
                        return Unknown(kinds.OUTSIDE_FIRST)
                    return passed or found
            elif isinstance(base, Unknown):
                passed = passed or base
            elif isinstance(base, kinds.Outside) and base.name.rsplit(".", 1)[-1] not in _BARE:
                passed = passed or kinds.Outside(f"{base.name}.{name}")
        if passed is None and name.startswith("__") and name.endswith("__"):
            return kinds.Outside(f"builtins.object.{name}")
        return passed

    def _own_member(
        self, klass: ClassTable, receiver: ClassTable, name: str, on_class: bool
    ) -> Kind | None:
        scope = self.class_scope(klass, receiver)
        method = klass.methods.get(name)
        if method is not None:
            function = kinds.FunctionOf(method, receiver)
            return self.returned(function) if method.is_property and not on_class else function
        if name in klass.classes:
            return kinds.ClassOf(klass.classes[name])
        variables = klass.attributes.get(name)
        if not variables:
            return None
        for variable in variables:
            if variable.annotation is not None:
                return declared(variable.annotation, self._scope_of(variable, scope))
        if any(v.method is None for v in variables) and self._is_enum(klass):
            return kinds.Instance(klass)
        return kinds.agreed(
            Unknown(kinds.NO_TYPE)
            if variable.value is None
            else kind_of(variable.value, self._scope_of(variable, scope))
            for variable in variables
        )

    def _scope_of(self, variable: Variable, around: Scope) -> Scope:
        # `self.name = …` is read in the method that says so.
        method = variable.method
        if method is None or method.node is None:
            return around
        key = (method.path, method.name, method.line, around.klass)
        if key not in self._method_scopes:
            scope = function_scope(method.node, method, around, method.name)
            self._method_scopes[key] = scope
        return self._method_scopes[key]

    def class_scope(self, klass: ClassTable, receiver: ClassTable | None = None) -> Scope:
        r"""The scope of the statements of a class body."""
        module = self.module_scope(klass.path)
        scope = Scope(self, klass.path, module, receiver or klass, is_class=True)
        for name, inner in klass.classes.items():
            scope.bind(name, Bound("kind", kinds.ClassOf(inner)))
        for name, method in klass.methods.items():
            scope.bind(name, Bound("kind", kinds.FunctionOf(method)))
        return scope

    # ---- classes ------------------------------------------------------------------------------
    def order(self, klass: ClassTable) -> list[Kind]:
        r"""A class and its bases in the order in which Python asks them.

        Python's own merge. Where it has no solution, or a base is not a class that can be read,
        that base stays in the list as what it is and `_along` stops trusting what comes after it.
        """
        if klass not in self._orders:
            self._orders[klass] = [kinds.ClassOf(klass)]  # a class that inherits from itself
            scope = self.module_scope(klass.path)
            bases: list[Kind] = []
            for expression in klass.bases:
                node = expression.value if isinstance(expression, ast.Subscript) else expression
                bases.append(kind_of(node, scope))
            lists: list[list[Kind]] = [
                self.order(b.table) if isinstance(b, kinds.ClassOf) else [b] for b in bases
            ]
            self._orders[klass] = [kinds.ClassOf(klass), *_merged([*lists, bases])]
        return self._orders[klass]

    def _is_enum(self, klass: ClassTable) -> bool:
        return any(
            isinstance(base, kinds.Outside)
            and base.name.rsplit(".", 1)[-1].endswith(("Enum", "Flag"))
            for base in self.order(klass)
        )

    # ---- functions ----------------------------------------------------------------------------
    def returned(self, function: kinds.FunctionOf, decorated: bool = False) -> Kind:
        r"""What a call of a function gives; `decorated` trusts the annotation all the same."""
        table = function.table
        key = (table.path, table.name, table.line, function.receiver)
        if decorated or key not in self._returned:
            kind = self._read_returned(function, decorated)
            if decorated:
                return kind
            self._returned[key] = kind
        return self._returned[key]

    def _read_returned(self, function: kinds.FunctionOf, decorated: bool) -> Kind:
        table = function.table
        if table.returns is None:
            return Unknown(kinds.NO_RETURN)
        if not decorated and not {d.rsplit(".", 1)[-1] for d in table.decorators} <= _PLAIN:
            return Unknown(kinds.DECORATED)
        scope = self.module_scope(table.path)
        if table.owner is not None:
            scope = self.class_scope(table.owner, function.receiver)
        kind = declared(table.returns, scope)
        is_generator = isinstance(kind, kinds.Items)
        return kinds.Awaited(kind) if table.is_async and not is_generator else kind

    def alias(self, annotation: ast.Name | ast.Attribute, scope: Scope) -> Kind | None:
        r"""What a name that stands for an annotation promises, `None` if it is no such name."""
        for path, name in self._definitions(annotation, scope):
            table, key = self.tables[path], (path, name)
            if key in self._aliases:
                continue
            for _, binding in table.names.get(name, ()):
                if isinstance(binding, Variable) and binding.value is not None:
                    value = binding.value
                    if isinstance(value, ast.Call):
                        if (dotted(value) or "").endswith("NewType") and len(value.args) == 2:
                            value = value.args[1]
                        else:
                            return Unknown(kinds.TYPE_VARIABLE)
                    self._aliases.add(key)
                    try:
                        return declared(value, self.module_scope(path))
                    finally:
                        self._aliases.discard(key)
        return None

    def _definitions(self, node: ast.Name | ast.Attribute, scope: Scope) -> list[tuple[str, str]]:
        # Where a name's own assignment stands: here, or behind one import.
        if isinstance(node, ast.Attribute):
            module = kind_of(node.value, scope)
            path = self.names.path(module.name) if isinstance(module, kinds.Module) else None
            return [(path, node.attr)] if path else []
        places = [(scope.path, node.id)]
        table = self.tables[scope.path]
        if node.id not in table.names:
            stars = [self.module_path(scope.path, star) for star in table.stars]
            places += [(path, node.id) for path in stars if path]
        for _, binding in table.names.get(node.id, ()):
            if isinstance(binding, ImportStatement) and binding.name:
                path = self.module_path(scope.path, binding)
                if path:
                    places.append((path, binding.name))
        return places


def _merged(lists: list[list[Kind]]) -> list[Kind]:
    # C3: the first head that is in nobody's tail. Without a solution, the order of writing.
    rest = [list(one) for one in lists if one]
    result: list[Kind] = []
    while rest:
        head = next((one[0] for one in rest if not _in_a_tail(one[0], rest)), rest[0][0])
        result.append(head)
        rest = [[k for k in one if not kinds.same(k, head)] for one in rest]
        rest = [one for one in rest if one]
    return result


def _in_a_tail(kind: Kind, lists: list[list[Kind]]) -> bool:
    return any(kinds.same(kind, other) for one in lists for other in one[1:])


def _is_nothing(variable: Variable) -> bool:
    # `name = None`, the stand-in of a `try`.
    return isinstance(variable.value, ast.Constant) and variable.value.value is None
