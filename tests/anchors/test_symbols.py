"""Symbols own the lines that Python itself says they own."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import sched
import textwrap
from types import FunctionType, ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream_anchors.symbols import SymbolTable


def functions_of(module: ModuleType):
    """Name and object of each plain function of a module and of its classes."""
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield name, value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for inner, method in vars(value).items():
                if isinstance(method, (staticmethod, classmethod)):
                    method = method.__func__
                # A method that another class or a decorator made is not defined here.
                if isinstance(method, FunctionType) and method.__qualname__ == f"{name}.{inner}":
                    yield method.__qualname__, method


@pytest.mark.parametrize("module", [argparse, dataclasses, sched, textwrap, inspect, ast])
def test_inspect_agrees(module: ModuleType) -> None:
    table = SymbolTable(inspect.getsource(module))
    compared = 0
    for name, function in functions_of(module):
        function = inspect.unwrap(function)
        if function.__code__.co_filename != module.__file__ or function.__name__ == "<lambda>":
            continue
        lines, start = inspect.getsourcelines(function)
        while lines[-1].strip().startswith("#") or not lines[-1].strip():
            lines.pop()  # inspect takes a comment that follows for a part of the body
        assert (table[name].start, table[name].end) == (start, start + len(lines) - 1), name
        compared += 1
    assert compared >= 5


@given(st.lists(st.sampled_from(["plain", "overload", "setter", "else", "assign"]), max_size=6))
def test_the_heaviest_definition_wins_whatever_the_order(kinds: list[str]) -> None:
    texts = {
        "plain": "def f():\n    return 'plain'\n",
        "overload": "@overload\ndef f():\n    return 'overload'\n",
        "setter": "@f.setter\ndef f():\n    return 'setter'\n",
        "else": "if x:\n    pass\nelse:\n    def f():\n        return 'else'\n",
        "assign": "f = 'assign'\n",
    }
    weights = ["setter", "overload", "else", "assign", "plain"]
    table = SymbolTable("".join(texts[kind] for kind in kinds))
    if not kinds:
        assert "f" not in table
        return
    heaviest = max(kinds, key=weights.index)
    node = table["f"].node
    assert node is not None
    assert f"'{heaviest}'" in ast.unparse(node)


def test_of_equal_functions_the_last_and_of_equal_assignments_the_first() -> None:
    table = SymbolTable("def f():\n    pass\n\n\ndef f():\n    pass\n\n\nx = 1\nx = 2\n")
    assert (table["f"].start, table["x"].start) == (5, 9)


def test_the_constructors_attribute_wins_wherever_it_stands() -> None:
    source = """
        class A:
            def early(self):
                self.x = 1

            def __init__(this):
                this.x = 2
                this.nested.y = 3
                other.z = 4
    """
    table = SymbolTable(textwrap.dedent(source).lstrip())
    assert table["A.x"].start == 6
    assert "A.y" not in table
    assert "A.z" not in table


def test_every_compound_statement_is_walked() -> None:
    source = """
        with open(f) as g:
            a = 1
        for i in x:
            b = 2
        while True:
            c = 3
        try:
            pass
        finally:
            d = 4
        match x:
            case 1:
                e = 5
        if TYPE_CHECKING:
            from a.b import C as D
    """
    table = SymbolTable(textwrap.dedent(source))
    assert set("abcde") <= set(table)
    assert table.imported == {"D": "a.b.C"}
