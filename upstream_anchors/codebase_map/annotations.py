r"""What kind of object does an annotation promise?

Annotations are taken at their word, as a type checker takes them. Where they leave a choice (a
union, a type variable, `Any`, a `Callable`) the answer is `Unknown` with that reason: an object of
*some* class is no address for a call.
"""

from __future__ import annotations

import ast

from upstream_anchors.codebase_map import kinds
from upstream_anchors.codebase_map.expressions import kind_of
from upstream_anchors.codebase_map.kinds import Kind, Unknown
from upstream_anchors.codebase_map.scopes import Scope

_ITEMS = frozenset(
    {
        "list",
        "set",
        "frozenset",
        "deque",
        "List",
        "Set",
        "FrozenSet",
        "Deque",
        "Sequence",
        "MutableSequence",
        "Iterable",
        "Iterator",
        "Collection",
        "Generator",
        "AsyncGenerator",
        "AsyncIterator",
        "AsyncIterable",
        "AbstractSet",
        "MutableSet",
        "KeysView",
        "ValuesView",
    }
)
_MAPPINGS = frozenset(
    {"dict", "Dict", "defaultdict", "DefaultDict", "OrderedDict", "Mapping", "MutableMapping"}
)
_TRANSPARENT = frozenset(
    {"Annotated", "Final", "ClassVar", "Required", "NotRequired", "ReadOnly", "InitVar"}
)
_ANYTHING = frozenset(("typing.Any", "builtins.object", "typing_extensions.Any"))


def declared(annotation: ast.expr | None, scope: Scope) -> Kind:
    r"""The kind of an object with this annotation, read in the scope where it stands."""
    if annotation is None:
        return Unknown(kinds.NO_TYPE)
    if isinstance(annotation, ast.Constant):
        if annotation.value is None:
            return kinds.NONE
        if isinstance(annotation.value, str):
            try:
                return declared(ast.parse(annotation.value.strip(), mode="eval").body, scope)
            except SyntaxError:
                return Unknown(kinds.NOT_FOUND)
        return kinds.VALUE
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return _union([annotation.left, annotation.right], scope)
    if isinstance(annotation, ast.Subscript):
        return _subscripted(annotation, scope)
    if not isinstance(annotation, (ast.Name, ast.Attribute)):
        return Unknown(kinds.NOT_FOUND)
    return _plain(annotation, scope)


def _plain(annotation: ast.Name | ast.Attribute, scope: Scope) -> Kind:
    # A name that stands for an annotation: `BlockIds: TypeAlias = tuple[int, ...]`.
    alias = scope.lookup.alias(annotation, scope)
    if alias is not None:
        return alias
    meant = kind_of(annotation, scope)
    if isinstance(meant, kinds.ClassOf):
        return kinds.Instance(meant.table)
    if isinstance(meant, kinds.Outside):
        last = meant.name.rsplit(".", 1)[-1]
        if meant.name in _ANYTHING:
            return Unknown(kinds.ANYTHING)
        if last in {"Self"} and scope.klass is not None:
            return kinds.Instance(scope.klass)
        if last == "Callable":
            return Unknown(kinds.PASSED_IN)
        if last in _ITEMS:
            return kinds.Items(Unknown(kinds.NO_TYPE))
        if last in _MAPPINGS:
            return kinds.Mapping(Unknown(kinds.NO_TYPE), Unknown(kinds.NO_TYPE))
        if last in {"tuple", "Tuple"}:
            return kinds.Items(Unknown(kinds.NO_TYPE))
        if last in {"type", "Type"}:
            return Unknown(kinds.NO_TYPE)
        return kinds.Outside(meant.name, is_instance=True)
    return meant if isinstance(meant, Unknown) else Unknown(kinds.NOT_FOUND)


def _union(parts: list[ast.expr], scope: Scope) -> Kind:
    return kinds.agreed(declared(part, scope) for part in parts)


def _subscripted(annotation: ast.Subscript, scope: Scope) -> Kind:
    outer = kind_of(annotation.value, scope)
    inner = annotation.slice
    parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if isinstance(outer, kinds.ClassOf):
        return kinds.Instance(outer.table)
    if not isinstance(outer, kinds.Outside):
        return outer if isinstance(outer, Unknown) else Unknown(kinds.NOT_FOUND)
    name = outer.name.rsplit(".", 1)[-1]
    if name == "Optional" or name in _TRANSPARENT:
        return declared(parts[0], scope)
    if name == "Union":
        return _union(parts, scope)
    if name in _ITEMS:
        return kinds.Items(declared(parts[0], scope))
    if name in _MAPPINGS and len(parts) == 2:
        return kinds.Mapping(declared(parts[0], scope), declared(parts[1], scope))
    if name in {"tuple", "Tuple"}:
        if len(parts) == 2 and isinstance(parts[1], ast.Constant) and parts[1].value is ...:
            return kinds.Items(declared(parts[0], scope))
        return kinds.Row(tuple(declared(part, scope) for part in parts))
    if name in {"type", "Type"}:
        kind = declared(parts[0], scope)
        return kinds.ClassOf(kind.of) if isinstance(kind, kinds.Instance) else kind
    if name in {"Awaitable", "Future", "Task"}:
        return kinds.Awaited(declared(parts[0], scope))
    if name == "Coroutine" and len(parts) == 3:
        return kinds.Awaited(declared(parts[2], scope))
    if name == "Callable":
        return Unknown(kinds.PASSED_IN)
    if name in {"AbstractContextManager", "AbstractAsyncContextManager", "ContextManager"}:
        return Unknown(kinds.NO_TYPE)
    return kinds.Outside(outer.name, is_instance=True)
