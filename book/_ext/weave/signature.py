r"""Signatures as the source has them, where the analysis database loses something.

The database (sphinx-autodoc2 0.5) drops the quotes of `Literal["a"]`, gives a dataclass no
constructor, an enum a wrong one, and a field without a default the value `None`. The syntax tree
knows better, so these four come from there.
"""

from __future__ import annotations

import ast
import copy

from book._ext.weave.names import qualified

_NO_CONSTRUCTOR = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "Protocol", "NamedTuple"}


def base_names(node: ast.ClassDef) -> list[str]:
    """The bases as written, without the type arguments of `Generic`."""
    return [ast.unparse(base) for base in node.bases]


def class_arguments(node: ast.ClassDef, names: dict[str, str]) -> str | None:
    """Text between the brackets of a class signature, or `None` when it should have none."""
    if any(name.split(".")[-1].split("[")[0] in _NO_CONSTRUCTOR for name in base_names(node)):
        return None
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return function_arguments(statement, names, drop_first=True)
    if _is_dataclass(node):
        return _dataclass_arguments(node, names)
    return None


def function_arguments(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    names: dict[str, str],
    *,
    drop_first: bool = False,
) -> str:
    """The parameter list as written; `drop_first` leaves out `self` or `cls`."""
    arguments = copy.deepcopy(node.args)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = qualified(argument.annotation, names)
    if drop_first:
        positional = [*arguments.posonlyargs, *arguments.args][1:]
        split = max(len(arguments.posonlyargs) - 1, 0)
        arguments = ast.arguments(
            posonlyargs=positional[:split],
            args=positional[split:],
            vararg=arguments.vararg,
            kwonlyargs=arguments.kwonlyargs,
            kw_defaults=arguments.kw_defaults,
            kwarg=arguments.kwarg,
            defaults=arguments.defaults[-len(positional) :] if positional else [],
        )
    return ast.unparse(arguments)


def returns(node: ast.FunctionDef | ast.AsyncFunctionDef, names: dict[str, str]) -> str:
    """The return annotation with its arrow, or nothing."""
    written = qualified(node.returns, names)
    return f" -> {ast.unparse(written)}" if written is not None else ""


def assigned_value(node: ast.AST) -> str | None:
    """The right-hand side of an assignment when it is short enough to help, else `None`."""
    value = getattr(node, "value", None)
    if value is None:
        return None
    text = _field_default(value) if _is_field_call(value) else ast.unparse(value)
    return text if text is not None and len(text) <= 60 and "\n" not in text else None


def annotation(node: ast.AST, names: dict[str, str]) -> str | None:
    """The annotation of an assignment, or what a property returns."""
    written = qualified(getattr(node, "annotation", None) or getattr(node, "returns", None), names)
    return None if written is None else ast.unparse(written)


def decorator_names(node: ast.AST) -> set[str]:
    """Names of the decorators, the last part of a dotted one."""
    names = set()
    for decorator in getattr(node, "decorator_list", []):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.add(ast.unparse(target).split(".")[-1])
    return names


def _is_dataclass(node: ast.ClassDef) -> bool:
    return "dataclass" in decorator_names(node)


def _dataclass_arguments(node: ast.ClassDef, names: dict[str, str]) -> str:
    shown: list[str] = []
    keyword_only = _decorator_flag(node, "kw_only")
    if keyword_only:
        shown.append("*")
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        written = ast.unparse(statement.annotation)
        if written == "KW_ONLY" and not keyword_only:
            shown.append("*")
            continue
        if written.split(".")[-1].startswith("ClassVar"):
            continue
        if _is_field_call(statement.value) and _field_flag(statement.value, "init") is False:
            continue
        entry = f"{statement.target.id}: {ast.unparse(qualified(statement.annotation, names))}"
        if statement.value is not None:
            default = (
                _field_default(statement.value)
                if _is_field_call(statement.value)
                else ast.unparse(statement.value)
            )
            entry += f" = {default}" if default is not None else ""
        shown.append(entry)
    return ", ".join(shown)


def _decorator_flag(node: ast.ClassDef, name: str) -> bool:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call):
            for keyword in decorator.keywords:
                if keyword.arg == name and isinstance(keyword.value, ast.Constant):
                    return bool(keyword.value.value)
    return False


def _is_field_call(value: ast.AST | None) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func).split(".")[-1] == "field"


def _field_flag(value: ast.AST | None, name: str) -> object:
    for keyword in getattr(value, "keywords", []):
        if keyword.arg == name and isinstance(keyword.value, ast.Constant):
            return keyword.value.value
    return None


def _field_default(value: ast.AST) -> str | None:
    for keyword in getattr(value, "keywords", []):
        if keyword.arg == "default":
            return ast.unparse(keyword.value)
        if keyword.arg == "default_factory":
            factory = ast.unparse(keyword.value)
            literal = {"list": "[]", "dict": "{}", "set": "set()"}
            return literal.get(factory, f"{factory}()" if factory.isidentifier() else "...")
    return None
