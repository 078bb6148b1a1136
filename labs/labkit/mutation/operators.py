r"""In which small ways can a solution be wrong?

Each operator looks at one node of the syntax tree and proposes replacements. Only nodes inside the
marked regions are touched: what the starter gives away is nobody's mistake. The text of an error
message is left alone as well; tests that pin down the wording would reject correct solutions.

A mutant goes by what it changes, `needs_sample: a == b → a != b`, and not by its line, so that its
name survives an edit elsewhere in the file.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

from labkit import regions

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}
_DELETABLE = (
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr),
    *(ast.Raise, ast.Delete, ast.Break, ast.Continue),
)


@dataclass(frozen=True)
class Mutant:
    r"""A broken solution: its name, the task whose region it breaks, and its code."""

    id: str
    task: int
    code: CodeType


def mutants(source: str) -> list[Mutant]:
    r"""All generic mutants of a solution, in the order of the file; no two have the same text."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen = {ast.unparse(tree)}
    names: Counter[str] = Counter()
    for region in regions.parse(source):
        for parent, field, index, node in _sites(tree, region):
            for replacement in _replacements(node):
                before = _words(node)
                _put(parent, field, index, replacement)
                text = ast.unparse(ast.fix_missing_locations(tree))
                if text not in seen and (code := _compiled(tree)):
                    seen.add(text)
                    name = f"{region.function}: {before} → {_words(replacement)}"
                    names[name] += 1
                    suffix = f" #{names[name]}" if names[name] > 1 else ""
                    found.append(Mutant(name + suffix, region.task, code))
                _put(parent, field, index, node)
    return found


Site = tuple[ast.AST, str, int | None, ast.AST]


def _sites(tree: ast.AST, region: regions.Region) -> Iterator[Site]:
    """Every node of a region with its place in the tree, outside annotations and messages."""

    def walk(parent: ast.AST) -> Iterator[Site]:
        for field, value in ast.iter_fields(parent):
            if field in ("annotation", "returns") or isinstance(parent, ast.JoinedStr):
                continue
            if isinstance(parent, ast.Raise) and field == "exc":
                continue
            if isinstance(parent, ast.Expr) and isinstance(value, ast.Constant):
                continue  # a docstring
            for index, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.AST):
                    continue
                line = getattr(node, "lineno", None)
                if line is None or region.covers(line):
                    yield parent, field, index if isinstance(value, list) else None, node
                yield from walk(node)

    # Nodes without a line of their own (a comprehension, a slice) count when their parent does.
    inside: set[int] = set()
    for site in walk(tree):
        parent, _, _, node = site
        if hasattr(node, "lineno") or id(parent) in inside:
            inside.add(id(node))
            yield site


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _compiled(tree: ast.Module) -> CodeType | None:
    try:
        return compile(tree, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return None  # for example a `break` that is now outside its loop


def _words(node: ast.AST) -> str:
    if isinstance(node, ast.Pass):
        return "nothing"
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 70 else f"{text[:67]}..."


def _with(node: ast.AST, **fields: object) -> ast.AST:
    clone = copy.copy(node)
    for field, value in fields.items():
        setattr(clone, field, value)
    return clone


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            yield from _comparisons(node)
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(node.op)]())
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield _with(node, op=other)
            for index in range(len(node.values)):
                rest = node.values[:index] + node.values[index + 1 :]
                yield rest[0] if len(rest) == 1 else _with(node, values=rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant():
            yield from _constants(node)
        case ast.Call():
            yield from _calls(node)
        case ast.Slice():
            yield from _slices(node)
        case ast.comprehension(ifs=[_, *_]):
            yield _with(node, ifs=[])
            yield _with(node, ifs=[_negated(test) for test in node.ifs])
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield _with(node, value=ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
    if isinstance(node, ast.If | ast.While):
        yield _with(node, test=_negated(node.test))
    if isinstance(node, ast.If) and node.orelse:
        yield _with(node, orelse=[])
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if isinstance(node, _DELETABLE) and not docstring:
        yield ast.Pass()


def _comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    for index, op in enumerate(node.ops):
        for other in _COMPARE.get(type(op), ()):
            yield _with(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])


def _constants(node: ast.Constant) -> Iterator[ast.AST]:
    match node.value:
        case bool(value):
            yield ast.Constant(not value)
        case int(value) | float(value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case str(value):
            yield ast.Constant(f"{value}~")


def _calls(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        other = ast.Name(_FUNCTIONS[node.func.id], ast.Load())
        keywords = [] if other.id == "list" else node.keywords
        yield _with(node, func=other, keywords=keywords)
    commutes = isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
    starred = any(isinstance(arg, ast.Starred) for arg in node.args)
    if len(node.args) > 1 and not commutes and not starred:
        for index in range(len(node.args) - 1):
            swapped = [*node.args]
            swapped[index : index + 2] = reversed(swapped[index : index + 2])
            yield _with(node, args=swapped)


def _slices(node: ast.Slice) -> Iterator[ast.AST]:
    for field in ("lower", "upper"):
        bound = getattr(node, field)
        if bound is None:
            continue
        yield _with(node, **{field: None})
        if not isinstance(bound, ast.Constant):
            yield _with(node, **{field: ast.BinOp(bound, ast.Add(), ast.Constant(1))})
            yield _with(node, **{field: ast.BinOp(bound, ast.Sub(), ast.Constant(1))})


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.UnaryOp(ast.Not(), test)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
