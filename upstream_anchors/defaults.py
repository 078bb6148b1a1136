r"""Is the default really what the sentence says?

`default:vllm/config/cache.py#CacheConfig.block_size=16` is a link and a claim. The claim is checked
against the syntax tree, as a value and with its type: `0.92` is not `0.920001`, and `True` is not
`1`. Four spellings of a default are seen through: a literal, `field(default=…)` and its relatives,
a name that a constant of the same class or file defines, and a parameter of a function. Anything
else (a factory, an expression) is compared as source text.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from upstream_anchors.errors import AnchorError, nearest_names
from upstream_anchors.place import Place
from upstream_anchors.symbols import Function, SymbolTable
from upstream_anchors.target import Target

if TYPE_CHECKING:
    from upstream_anchors.resolver import Resolver

_UNKNOWN = object()


def check_default(resolver: Resolver, target: Target) -> Place:
    r"""The line of a default, once its value has been found to be the claimed one."""
    path = resolver.existing_path(target)
    if not path.endswith(".py"):
        raise AnchorError(f"{target.text}: defaults are read from Python files only")
    name = target.symbol or ""
    table = resolver.table(path)
    node, start, end = _default_node(table, path, name)
    claimed = (target.value or "").strip()
    if not _matches(node, claimed, table, name):
        raise AnchorError(
            f"{target.text}: the default is {_shown(node, table, name)}, not {claimed}",
            [f"default:{path}#{name}={_shown(node, table, name)}"],
        )
    return Place(target.text, "default", path, name, start, end)


def read_default(resolver: Resolver, path: str, name: str) -> tuple[str, int, int]:
    r"""What a default is, as a target would claim it, and the lines that declare it."""
    table = resolver.table(path)
    node, start, end = _default_node(table, path, name)
    return _shown(node, table, name), start, end


def _default_node(table: SymbolTable, path: str, name: str) -> tuple[ast.expr, int, int]:
    if name in table:
        symbol = table[name]
        value = getattr(symbol.node, "value", None)
        if isinstance(symbol.node, (ast.Assign, ast.AnnAssign)) and value is not None:
            return _unwrap(value), symbol.start, symbol.end
        raise AnchorError(f"{path}#{name} has no default")
    owner, _, parameter = name.rpartition(".")
    function = table[owner].node if owner in table else None
    if isinstance(function, Function):
        defaults = dict(_parameters(function))
        if parameter in defaults:
            argument, value = defaults[parameter]
            return value, argument.lineno, value.end_lineno or value.lineno
        near = [f"{path}#{owner}.{other}" for other in nearest_names(parameter, defaults)]
        raise AnchorError(f"{path}#{owner} has no parameter {parameter} with a default", near)
    near = [f"{path}#{other}" for other in nearest_names(name, table)]
    raise AnchorError(f"{path} defines no {name}", near)


def _parameters(function: Function) -> list[tuple[str, tuple[ast.arg, ast.expr]]]:
    spec = function.args
    positional = [*spec.posonlyargs, *spec.args]
    with_default = positional[len(positional) - len(spec.defaults) :]
    pairs = list(zip(with_default, spec.defaults))
    pairs += [(arg, value) for arg, value in zip(spec.kwonlyargs, spec.kw_defaults) if value]
    return [(arg.arg, (arg, value)) for arg, value in pairs]


def _unwrap(value: ast.expr) -> ast.expr:
    # field(default=…), Field(default=…), Field(16, gt=0)
    if not isinstance(value, ast.Call):
        return value
    called = getattr(value.func, "attr", getattr(value.func, "id", ""))
    if called.lower() != "field":
        return value
    for keyword in value.keywords:
        if keyword.arg == "default":
            return keyword.value
    return value.args[0] if value.args else value


def _literal(node: ast.expr, table: SymbolTable, name: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, ast.Name):
        owner = name.rpartition(".")[0]
        for candidate in ([f"{owner}.{node.id}"] if owner else []) + [node.id]:
            found = table[candidate].node if candidate in table else None
            value = getattr(found, "value", None)
            if (
                isinstance(found, (ast.Assign, ast.AnnAssign))
                and value is not None
                and value is not node
            ):
                return _literal(value, table, "")
    return _UNKNOWN


def _matches(node: ast.expr, claimed: str, table: SymbolTable, name: str) -> bool:
    if ast.unparse(node) == claimed:
        return True
    actual = _literal(node, table, name)
    if actual is _UNKNOWN:
        return False
    try:
        value = ast.literal_eval(claimed)
    except (ValueError, SyntaxError):
        return False
    return type(value) is type(actual) and value == actual


def _shown(node: ast.expr, table: SymbolTable, name: str) -> str:
    actual = _literal(node, table, name)
    return ast.unparse(node) if actual is _UNKNOWN else repr(actual)
