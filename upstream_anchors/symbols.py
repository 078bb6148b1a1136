r"""Which lines of a Python file does a name own?

The syntax tree knows, without importing anything: vLLM cannot be imported on most machines that
build this book. A definition owns its lines from its first decorator to its last statement. The
awkward cases are names that are defined twice, and Python's own rule, *the last one wins*, is
wrong for half of them: of a property it would show the setter, of a `try` it would show the stub
for machines that lack a library. So each definition has a weight, and the heaviest wins:

| weight | definition |
|---|---|
| 0 | `self.name = …` in a method |
| 1 | `self.name = …` in the constructor |
| 2 | a property's setter or deleter |
| 3 | under `if TYPE_CHECKING` |
| 4 | an `@overload` stub |
| 5 | in an `else`, a `case` or an `except` |
| 6 | an assignment |
| 7 | a plain `def` or `class` |

Between two of the same weight, the later `def` wins, as it does at run time; of assignments the
first is the definition and the rest are updates.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_INSTANCE, _SETTER, _TYPING, _OVERLOAD, _ALTERNATIVE, _ASSIGNED, _DEFINED = range(1, 8)
_LATER_INSTANCE = 0  # `self.name = …` outside the constructor

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Symbol:
    r"""A name, the lines it owns (1-based, inclusive) and the node it came from.

    `kind` is one of module, class, function, method, attribute, constant, heading.
    """

    name: str
    kind: str
    start: int
    end: int
    node: ast.AST | None = None


class SymbolTable:
    r"""Every symbol of one module by its dotted name, and the names that it imports.

    `imported` maps a local name to the dotted name it stands for, absolute or beginning with a dot:
    it is how a re-export in an `__init__` is followed to the file that defines it.
    """

    def __init__(self, source: str) -> None:
        self.symbols: dict[str, Symbol] = {}
        self.imported: dict[str, str] = {}
        self._weights: dict[str, int] = {}
        with warnings.catch_warnings():
            # Invalid escapes in a foreign tree are not ours to report.
            warnings.simplefilter("ignore")
            module = ast.parse(source)
        self.module = module
        self._walk(module.body, "", "module", _DEFINED)

    def __contains__(self, name: str) -> bool:
        return name in self.symbols

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __getitem__(self, name: str) -> Symbol:
        return self.symbols[name]

    def _add(self, symbol: Symbol, weight: int) -> None:
        held = self._weights.get(symbol.name, -1)
        later_wins = isinstance(symbol.node, (Function, ast.ClassDef))
        if weight > held or (weight == held and later_wins):
            self.symbols[symbol.name] = symbol
            self._weights[symbol.name] = weight

    def _walk(self, body: Iterable[ast.stmt], prefix: str, inside: str, weight: int) -> None:
        # `inside`: module, class or function. `weight`: the most that a definition here can have.
        for statement in body:
            if isinstance(statement, Function):
                self._function(statement, prefix, inside, weight)
            elif isinstance(statement, ast.ClassDef):
                name = prefix + statement.name
                self._add(_span(name, "class", statement), weight)
                self._walk(statement.body, f"{name}.", "class", _DEFINED)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and inside != "function":
                kind = "constant" if inside == "module" else "attribute"
                for name in _assigned_names(statement):
                    symbol = _span(prefix + name, kind, statement)
                    self._add(symbol, min(weight, _ASSIGNED))
            elif isinstance(statement, (ast.Import, ast.ImportFrom)) and inside == "module":
                self._imports(statement)
            else:
                for nested, limit in _branches(statement, weight):
                    self._walk(nested, prefix, inside, limit)

    def _function(self, node: Function, prefix: str, inside: str, weight: int) -> None:
        name = prefix + node.name
        kind = "method" if inside == "class" else "function"
        decorators = {_last_part(decorator) for decorator in node.decorator_list}
        if decorators & {"setter", "deleter"}:
            weight = min(weight, _SETTER)
        elif "overload" in decorators:
            weight = min(weight, _OVERLOAD)
        self._add(_span(name, kind, node), weight)
        self._walk(node.body, f"{name}.", "function", _DEFINED)
        if inside == "class" and node.args.args:
            self._instance_attributes(node, prefix, node.args.args[0].arg)

    def _instance_attributes(self, method: Function, prefix: str, own_name: str) -> None:
        for node in ast.walk(method):
            if not isinstance(node, (ast.Assign, ast.AnnAssign)):
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
                    continue
                if target.value.id == own_name:
                    # The constructor's is the definition, wherever it stands in the class.
                    weight = _INSTANCE if method.name == "__init__" else _LATER_INSTANCE
                    self._add(_span(prefix + target.attr, "attribute", node), weight)

    def _imports(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    self.imported.setdefault(alias.asname, alias.name)
            return
        source = "." * node.level + (node.module or "")
        joint = "" if source.endswith(".") else "."
        for alias in node.names:
            self.imported.setdefault(alias.asname or alias.name, f"{source}{joint}{alias.name}")


def markdown_headings(lines: Iterable[str]) -> dict[str, Symbol]:
    r"""The headings of a Markdown file, each owning its section down to the next of its level.

    A heading is named by its text without backticks. One that occurs twice is left out: naming it
    would be a guess.
    """
    found: list[tuple[int, str, int]] = []
    fence, last = "", 0
    for last, line in enumerate(lines, start=1):
        stripped = line.lstrip()
        if stripped.startswith(("```", "~~~")):
            mark = stripped[:3]
            fence = mark if not fence else ("" if mark == fence else fence)
        elif not fence and line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            found.append((level, line[level:].strip().replace("`", ""), last))
    headings: dict[str, Symbol] = {}
    names = [name for _, name, _ in found]
    for position, (level, name, start) in enumerate(found):
        after = (at for other, _, at in found[position + 1 :] if other <= level)
        if names.count(name) == 1:
            headings[name] = Symbol(name, "heading", start, next(after, last + 1) - 1)
    return headings


def _span(name: str, kind: str, node: ast.stmt) -> Symbol:
    decorators = getattr(node, "decorator_list", [])
    start = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return Symbol(name, kind, start, node.end_lineno or node.lineno, node)


def _branches(statement: ast.stmt, weight: int) -> Iterator[tuple[list[ast.stmt], int]]:
    alternative = min(weight, _ALTERNATIVE)
    if isinstance(statement, ast.If):
        typing_only = "TYPE_CHECKING" in {_last_part(statement.test)}
        yield statement.body, min(weight, _TYPING) if typing_only else weight
        yield statement.orelse, weight if typing_only else alternative
    elif isinstance(statement, (ast.Try, ast.TryStar)):
        yield statement.body, weight
        for handler in statement.handlers:
            yield handler.body, alternative
        yield statement.orelse, weight
        yield statement.finalbody, weight
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        yield statement.body, weight
    elif isinstance(statement, (ast.For, ast.AsyncFor, ast.While)):
        yield statement.body, weight
        yield statement.orelse, weight
    elif isinstance(statement, ast.Match):
        for case in statement.cases:
            yield case.body, alternative


def _assigned_names(statement: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _last_part(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
