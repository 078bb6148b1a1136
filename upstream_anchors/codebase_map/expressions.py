r"""What does an expression stand for, read where it stands?

Only what the text settles is settled. Of `self.pool.get(n)` the class of `self` is known, its
attribute `pool` may be annotated or assigned from a constructor, and the method is then looked up
along the bases. One step that the text leaves open makes the whole expression unknown, and the
reason is kept.

What is found is the *declared* address. An object may belong to a subclass that overrides the
method: a call graph made without running anything can promise no more.
"""

from __future__ import annotations

import ast
import builtins

from upstream_anchors.codebase_map import kinds
from upstream_anchors.codebase_map.kinds import Kind, Unknown
from upstream_anchors.codebase_map.scopes import Bound, Comprehension, Scope, comprehension_scope

_BUILTINS = frozenset(dir(builtins))
_COPIES = frozenset(("copy.copy", "copy.deepcopy"))
_SERIES = frozenset(
    f"builtins.{name}"
    for name in ("list", "set", "tuple", "frozenset", "sorted", "reversed", "iter")
) | {"collections.deque"}
_CONTEXTS = frozenset(("contextmanager", "asynccontextmanager"))


def kind_of(node: ast.expr | None, scope: Scope) -> Kind:
    r"""The kind of an expression."""
    match node:
        case ast.Name():
            return name_kind(node.id, scope)
        case ast.Attribute():
            return scope.lookup.attribute(kind_of(node.value, scope), node.attr)
        case ast.Call():
            return _result(node, scope)
        case ast.Constant():
            return kinds.NONE if node.value is None else _literal(node.value)
        case ast.JoinedStr() | ast.Compare():
            return kinds.Outside("builtins.str", is_instance=True)
        case ast.Await():
            awaited = kind_of(node.value, scope)
            if isinstance(awaited, kinds.Awaited):
                return awaited.result
            return awaited if isinstance(awaited, Unknown) else Unknown(kinds.NO_TYPE)
        case ast.IfExp():
            return kinds.agreed(kind_of(part, scope) for part in (node.body, node.orelse))
        case ast.BoolOp():
            return kinds.agreed(kind_of(part, scope) for part in node.values)
        case ast.NamedExpr():
            return kind_of(node.value, scope)
        case ast.List() | ast.Set():
            return kinds.Items(kinds.agreed(kind_of(part, scope) for part in node.elts))
        case ast.Tuple():
            return kinds.Row(tuple(kind_of(part, scope) for part in node.elts))
        case ast.Dict():
            keys = kinds.agreed(kind_of(key, scope) for key in node.keys if key)
            return kinds.Mapping(keys, kinds.agreed(kind_of(v, scope) for v in node.values))
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return kinds.Items(kind_of(node.elt, comprehension_scope(node, scope)))
        case ast.DictComp():
            inner = comprehension_scope(node, scope)
            return kinds.Mapping(kind_of(node.key, inner), kind_of(node.value, inner))
        case ast.BinOp():
            left, right = kind_of(node.left, scope), kind_of(node.right, scope)
            closed = all(_is_closed(side) for side in (left, right))
            return left if closed else Unknown(kinds.COMPUTED)
        case ast.Subscript():
            return _taken(kind_of(node.value, scope), node.slice, scope)
        case _:
            return Unknown(kinds.COMPUTED)


def name_kind(name: str, scope: Scope) -> Kind:
    r"""The kind of a name: of this scope, of one around it, of the module, of Python."""
    here: Scope | None = scope
    while here is not None:
        if name in here.bindings:
            if name not in here.kinds:
                # While it is being read, a name that leads back to itself says nothing.
                here.kinds[name] = Unknown(kinds.CIRCULAR)
                here.kinds[name] = _bound_kind(name, here)
            return here.kinds[name]
        here = here.parent
    found = scope.lookup.module_name(scope.path, name)
    if found is not None:
        return found
    if name in _BUILTINS:
        return kinds.Outside(f"builtins.{name}")
    return Unknown(kinds.NOT_FOUND)


def _bound_kind(name: str, scope: Scope) -> Kind:
    bounds = scope.bindings[name]
    for bound in bounds:
        if bound.how == "declared":  # it holds for every assignment of the name
            return scope.lookup.declared(bound.what, scope)
    found = [_one_bound(bound, scope) for bound in bounds]
    circular = Unknown(kinds.CIRCULAR)
    if circular in found and any(kind != circular for kind in found):
        # `name = name.strip()`: suppose what the other assignments say, and see if it holds.
        supposed = kinds.agreed(kind for kind in found if kind != circular)
        scope.kinds[name] = supposed
        again = kinds.agreed(_one_bound(bound, scope) for bound in bounds)
        return supposed if kinds.same(again, supposed) else circular
    return kinds.agreed(found)


def _one_bound(bound: Bound, scope: Scope) -> Kind:
    kind: Kind
    if bound.how == "kind":
        return bound.what
    if bound.how == "import":
        return scope.lookup.imported(scope.path, bound.what)
    if bound.how == "items":
        return kinds.Items(scope.lookup.declared(bound.what, scope))
    if bound.how == "table":
        return kinds.Mapping(_literal(""), scope.lookup.declared(bound.what, scope))
    if bound.how == "caught":
        kind = kind_of(bound.what, scope)
        return (
            kinds.Instance(kind.table) if isinstance(kind, kinds.ClassOf) else Unknown(kinds.UNION)
        )
    if bound.how == "entered":
        kind = _entered(bound.what, scope)
    elif bound.how == "item":
        kind = item_of(kind_of(bound.what, scope))
    else:
        kind = kind_of(bound.what, scope)
    for step in bound.steps:
        if isinstance(kind, kinds.Row) and 0 <= step < len(kind.parts):
            kind = kind.parts[step]
        elif isinstance(kind, Unknown):
            return kind
        else:
            kind = item_of(kind) if step >= 0 else Unknown(kinds.NO_TYPE)
    return kind


def item_of(kind: Kind) -> Kind:
    r"""What a loop over it gets."""
    if isinstance(kind, kinds.Items):
        return kind.item
    if isinstance(kind, kinds.Mapping):
        return kind.key
    if isinstance(kind, kinds.Row):
        return kinds.agreed(kind.parts)
    if isinstance(kind, kinds.Outside) and kind.name in kinds.CLOSED:
        return kind
    return kind if isinstance(kind, Unknown) else Unknown(kinds.NO_TYPE)


def _entered(node: ast.expr, scope: Scope) -> Kind:
    # What `with node as …` binds.
    callee = kind_of(node.func, scope) if isinstance(node, ast.Call) else None
    if isinstance(callee, kinds.FunctionOf):
        last_parts = {name.rsplit(".", 1)[-1] for name in callee.table.decorators}
        if last_parts & _CONTEXTS:
            return item_of(scope.lookup.returned(callee, decorated=True))
    kind = kind_of(node, scope)
    if isinstance(kind, kinds.Instance):
        for name in ("__enter__", "__aenter__"):
            method = scope.lookup.attribute(kind, name)
            if isinstance(method, kinds.FunctionOf):
                given = scope.lookup.returned(method)
                return given.result if isinstance(given, kinds.Awaited) else given
    return kind if isinstance(kind, Unknown) else Unknown(kinds.NO_TYPE)


def _taken(kind: Kind, index: ast.expr, scope: Scope) -> Kind:
    if isinstance(kind, kinds.ClassOf):
        return kind  # `Pool[int]`
    if isinstance(kind, kinds.Outside) and not kind.is_instance:
        return kind  # `list[int]`
    if isinstance(kind, kinds.Mapping):
        return kind.value
    if isinstance(index, ast.Slice) and isinstance(kind, (kinds.Items, kinds.Outside)):
        return kind
    if isinstance(kind, kinds.Items):
        return kind.item
    if isinstance(kind, kinds.Row) and isinstance(index, ast.Constant):
        at = index.value
        return (
            kind.parts[at]
            if isinstance(at, int) and at < len(kind.parts)
            else Unknown(kinds.NO_TYPE)
        )
    if isinstance(kind, kinds.Instance):
        method = scope.lookup.attribute(kind, "__getitem__")
        if isinstance(method, kinds.FunctionOf):
            return scope.lookup.returned(method)
    if isinstance(kind, kinds.Outside) and kind.name in kinds.CLOSED:
        return kind
    return kind if isinstance(kind, Unknown) else Unknown(kinds.NO_TYPE)


def _result(call: ast.Call, scope: Scope) -> Kind:
    if isinstance(call.func, ast.Attribute):
        held = kind_of(call.func.value, scope)
        given = _from_container(held, call.func.attr)
        if given is not None:
            return given
    callee = kind_of(call.func, scope)
    if isinstance(callee, kinds.ClassOf):
        return kinds.Instance(callee.table)
    if isinstance(callee, kinds.FunctionOf):
        return scope.lookup.returned(callee)
    if isinstance(callee, kinds.Instance):
        method = scope.lookup.attribute(callee, "__call__")
        if isinstance(method, kinds.FunctionOf):
            return scope.lookup.returned(method)
        return Unknown(kinds.FROM_OUTSIDE)
    if not isinstance(callee, kinds.Outside):
        return callee if isinstance(callee, Unknown) else Unknown(kinds.COMPUTED)
    first = call.args[0] if call.args else None
    if callee.name == "builtins.super" and scope.klass is not None:
        return kinds.Super(scope.klass)
    if callee.name.endswith("typing.cast") and len(call.args) == 2:
        return scope.lookup.declared(call.args[0], scope)
    if callee.name == "builtins.type" and len(call.args) == 1:
        kind = kind_of(first, scope)
        return (
            kinds.ClassOf(kind.of) if isinstance(kind, kinds.Instance) else Unknown(kinds.NO_TYPE)
        )
    if callee.name in _COPIES and first is not None:
        return kind_of(first, scope)
    if callee.name in _SERIES and first is not None:
        return kinds.Items(item_of(kind_of(first, scope)))
    if callee.name == "builtins.enumerate" and first is not None:
        return kinds.Items(kinds.Row((_literal(0), item_of(kind_of(first, scope)))))
    if callee.name == "builtins.zip":
        return kinds.Items(kinds.Row(tuple(item_of(kind_of(arg, scope)) for arg in call.args)))
    if callee.name == "builtins.next" and first is not None:
        return item_of(kind_of(first, scope))
    if callee.name in kinds.CLOSED:
        return kinds.Outside(callee.name, is_instance=True)
    owner, _, _ = callee.name.rpartition(".")
    if callee.is_instance and owner in kinds.CLOSED:
        return kinds.Outside(owner, is_instance=True)
    return Unknown(kinds.FROM_OUTSIDE)


def _from_container(held: Kind, method: str) -> Kind | None:
    # What the methods of the builtin containers give back.
    if isinstance(held, kinds.Mapping):
        if method in {"get", "pop", "setdefault"}:
            return held.value
        if method == "values":
            return kinds.Items(held.value)
        if method == "keys":
            return kinds.Items(held.key)
        if method == "items":
            return kinds.Items(kinds.Row((held.key, held.value)))
        if method == "popitem":
            return kinds.Row((held.key, held.value))
        return held if method == "copy" else None
    if isinstance(held, kinds.Items):
        if method in {"pop", "popleft"}:
            return held.item
        if method in {"copy", "union", "intersection", "difference"}:
            return held
    return None


def _is_closed(kind: Kind) -> bool:
    return isinstance(kind, kinds.Outside) and kind.is_instance and kind.name in kinds.CLOSED


def _literal(value: object) -> Kind:
    return kinds.Outside(f"builtins.{type(value).__name__}", is_instance=True)


__all__ = ["Comprehension", "item_of", "kind_of", "name_kind"]
