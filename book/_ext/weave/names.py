r"""Full names for the names in an annotation, so that a signature links to what it mentions.

An annotation says `Path` or `Request`; the link needs `pathlib.Path` or
`mini_vllm.core.request.Request`. The module's imports and definitions say which. A leading tilde
asks Sphinx to print the last part only.
"""

from __future__ import annotations

import ast
import builtins
import copy
from functools import lru_cache


@lru_cache(maxsize=1024)
def known_names(tree: ast.Module, module: str, *, is_package: bool = False) -> dict[str, str]:
    """Full names of what an annotation in this module can use; kept, so not to be changed."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, module, is_package)
            for alias in node.names:
                names[alias.asname or alias.name] = f"{origin}.{alias.name}"
    for statement in tree.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names[statement.name] = f"{module}.{statement.name}"
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    names[target.id] = f"{module}.{target.id}"
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names[statement.target.id] = f"{module}.{statement.target.id}"
    return names


def _origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    keep = len(parts) - node.level + (1 if is_package else 0)
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


class _Qualifier(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        full = self.names.get(node.id)
        if full is None or full == node.id or hasattr(builtins, node.id):
            return node
        return ast.Name(id=f"~{full}", ctx=node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        dotted = ast.unparse(node)
        first, _, rest = dotted.partition(".")
        if not dotted.replace(".", "").isidentifier() or first not in self.names:
            return node
        return ast.Name(id=f"~{self.names[first]}.{rest}", ctx=node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        # The strings in Literal["a"] are values, not forward references.
        if ast.unparse(node.value).split(".")[-1] == "Literal":
            return ast.Subscript(self.visit(node.value), node.slice, node.ctx)
        self.generic_visit(node)
        return node


def qualified(annotation: ast.expr | None, names: dict[str, str]) -> ast.expr | None:
    """A copy of an annotation with full names; quoted annotations are opened."""
    if annotation is None:
        return None
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    return _Qualifier(names).visit(copy.deepcopy(annotation))
