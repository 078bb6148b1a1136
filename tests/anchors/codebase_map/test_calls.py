"""A call leads where the text says; where the text does not say, it is counted and not guessed."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upstream_anchors.codebase_map import CodeGraph

LIBRARY = {
    "pkg/__init__.py": "from .lib import Pool as Exported\n",
    "pkg/lib.py": """\
        from abc import ABC
        from collections.abc import Iterator
        from contextlib import contextmanager
        from enum import Enum

        class Base(ABC):
            def shared(self) -> "Base": ...
            def only_base(self): ...

        class Block:
            size: int = 0
            def free(self): ...

        class Pool(Base):
            block: Block
            def __init__(self):
                self.blocks: list[Block] = []
                self.by_name = {"a": Block()}
                self.first = Block()
                self.either = Block() if self.blocks else Pool()
            def shared(self): ...
            def take(self, n: int) -> Block: ...
            def maybe(self) -> "Block | None": ...
            @property
            def spare(self) -> Block: ...
            @classmethod
            def make(cls) -> "Pool":
                return cls()
            @staticmethod
            def still(): ...
            async def later(self) -> Block: ...
            def __enter__(self) -> "Pool": ...
            def untold(self): return Block()

        class Sub(Pool):
            def take(self, n):
                return super().take(n)

        class Kind(Enum):
            A = 1
            def label(self): ...

        @contextmanager
        def opened() -> Iterator[Block]: ...
        def helper() -> Pool: ...
        def untold(): ...
        Blocks = list[Block]
        pool = Pool()
        """,
}


def calls_of(read, text: str) -> tuple[CodeGraph, list[tuple[str, str]]]:
    files = {path: textwrap.dedent(body) for path, body in LIBRARY.items()}
    graph = read({**files, "pkg/user.py": textwrap.dedent(text)})
    found = [(call.caller, call.callee) for call in graph.calls if call.path == "pkg/user.py"]
    return graph, found


HEAD = "import pkg.lib\nfrom pkg import lib as l\nfrom pkg.lib import *\nfrom pkg import Exported\n"


@pytest.mark.parametrize(
    ("call", "callee"),
    [
        ("helper()", "helper"),
        ("pkg.lib.helper()", "helper"),
        ("l.helper()", "helper"),
        ("Exported()", "Pool"),
        ("l.Pool()", "Pool"),
        ("Pool().take(1)", "Pool.take"),
        ("helper().take(1)", "Pool.take"),
        ("pool.take(1)", "Pool.take"),
        ("l.pool.take(1).free()", "Block.free"),
        ("Pool.make().take(1)", "Pool.take"),
        ("Pool.still()", "Pool.still"),
        ("pool.shared()", "Pool.shared"),
        ("pool.only_base()", "Base.only_base"),
        ("Sub().only_base()", "Base.only_base"),
        ("pool.spare.free()", "Block.free"),
        ("pool.block.free()", "Block.free"),
        ("pool.first.free()", "Block.free"),
        ("pool.blocks[0].free()", "Block.free"),
        ("pool.blocks.pop().free()", "Block.free"),
        ("pool.by_name['a'].free()", "Block.free"),
        ("pool.maybe().free()", "Block.free"),
        ("[b.free() for b in pool.blocks]", "Block.free"),
        ("{k: v.free() for k, v in pool.by_name.items()}", "Block.free"),
        ("(lambda: pool.take(1))", "Pool.take"),
        ("Kind.A.label()", "Kind.label"),
        ("(Pool() if x else None).take(1)", "Pool.take"),
        ("(p := Pool()).take(1)", "Pool.take"),
    ],
)
def test_an_expression_is_followed(read, call: str, callee: str) -> None:
    _, found = calls_of(read, f"{HEAD}\ndef f(x):\n    {call}\n")
    assert ("f", callee) in found


@pytest.mark.parametrize(
    ("body", "callee"),
    [
        ("def f(p: Pool):\n    p.take(1)", "Pool.take"),
        ("def f(p: 'Pool | None' = None):\n    p.take(1)", "Pool.take"),
        ("from typing import Optional\ndef f(p: Optional['Pool']):\n    p.take(1)", "Pool.take"),
        ("def f(*ps: Pool):\n    for p in ps:\n        p.take(1)", "Pool.take"),
        ("def f(**ps: Pool):\n    ps['a'].take(1)", "Pool.take"),
        ("def f(bs: Blocks):\n    bs[0].free()", "Block.free"),
        (
            "def f(bs: dict[str, list[Block]]):\n    for n, b in bs.items():\n        b[0].free()",
            "Block.free",
        ),
        ("def f(bs: tuple[int, Block]):\n    bs[1].free()", "Block.free"),
        (
            "def f(bs: tuple[Block, ...]):\n    for i, b in enumerate(bs):\n        b.free()",
            "Block.free",
        ),
        ("def f(c: type[Pool]):\n    c.make()", "Pool.make"),
        ("def f():\n    p = Pool()\n    p.take(1)", "Pool.take"),
        ("def f():\n    p = None\n    p = Pool()\n    p.take(1)", "Pool.take"),
        ("def f():\n    p, q = Pool(), Block()\n    q.free()", "Block.free"),
        ("def f():\n    with Pool() as p:\n        p.take(1)", "Pool.take"),
        ("def f():\n    with opened() as b:\n        b.free()", "Block.free"),
        ("async def f(p: Pool):\n    (await p.later()).free()", "Block.free"),
        ("def f():\n    from pkg.lib import Block as B\n    B().free()", "Block.free"),
        ("def f():\n    p = Pool()\n    def g():\n        p.take(1)\n    g()", "Pool.take"),
        ("class C(Pool):\n    def g(self):\n        self.take(1)", "Pool.take"),
        ("class C(Pool):\n    def g(self):\n        super().take(1)", "Pool.take"),
        (
            "class C:\n    def __init__(self, p: Pool):\n        self.p = p\n"
            "    def g(self):\n        self.p.take(1)",
            "Pool.take",
        ),
        (
            "class C:\n    class D:\n        def h(self): ...\n"
            "    def g(self):\n        self.D().h()",
            "C.D.h",
        ),
        ("def f():\n    return g()\ndef g(): ...", "g"),
        ("if x:\n    def g(): ...\nelse:\n    def g(): ...\ng()", "g"),
        ("def f():\n    global s\n    s = 1\n    untold()", "untold"),
        ("def f(b: Block):\n    b = b or Block()\n    b.free()", "Block.free"),
        ("def f():\n    p = Pool()\n    p = p.shared() if 0 else p\n    Sub().take(1)", "Sub.take"),
        ("class C:\n    def __call__(self): ...\ndef f(c: C):\n    c()", "C.__call__"),
    ],
)
def test_a_name_has_the_type_that_its_text_states(read, body: str, callee: str) -> None:
    _, found = calls_of(read, f"{HEAD}\n{body}\n")
    assert callee in [name for _, name in found]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def f(p):\n    p.take(1)", "a parameter without annotation"),
        ("def f(p: Pool | Block):\n    p.take(1)", "one of several types"),
        ("def f():\n    pool.either.free()", "one of several types"),
        ("def f():\n    pool.untold().free()", "does not say what it returns"),
        ("def f(x):\n    p = Pool()\n    p = x\n    p.take(1)", "a parameter without annotation"),
        ("def f():\n    p = Pool()\n    p = Block()\n    p.take(1)", "one of several types"),
        # A name of the module is shadowed by the function's own.
        ("def f(pool):\n    pool.take(1)", "a parameter without annotation"),
        ("def f():\n    return [pool.take(1) for pool in unknown]", "no definition gives"),
        ("from typing import Any\ndef f(p: Any):\n    p.take(1)", "Any or object"),
        (
            "from typing import TypeVar\nT = TypeVar('T')\ndef f(p: T):\n    p.take(1)",
            "a type variable",
        ),
        (
            "from collections.abc import Callable\ndef f(g: Callable[[], Pool]):\n    g()",
            "passed in",
        ),
        ("def f(d):\n    d['a'](1)", "a parameter without annotation"),
        (
            "import os\nclass C(os.Thing, Base):\n    def g(self):\n        self.only_base()",
            "outside the tree comes first",
        ),
        ("import os\ndef f():\n    os.thing().free()", "a call that leaves the tree"),
        (
            "try:\n    from fast import go\nexcept ImportError:\n"
            "    from pkg.lib import helper as go\ngo()",
            "several definitions",
        ),
        (
            "def deco(f): ...\n@deco\ndef made() -> Pool: ...\ndef f():\n    made().take(1)",
            "decorator",
        ),
        (
            "def f():\n    p = Pool()\n    for _ in x:\n        p = p.shared()\n    p.only_base()",
            "leads back to itself",
        ),
    ],
)
def test_what_the_text_leaves_open_is_counted_with_its_reason(read, body: str, reason: str) -> None:
    graph, found = calls_of(read, f"{HEAD}\n{body}\n")
    reasons = graph.files["pkg/user.py"].unresolved
    assert any(reason in one for one in reasons), reasons
    assert not {"Pool.take", "Block.free", "Base.only_base"} & {name for _, name in found}


def test_libraries_and_builtins_are_outside(read) -> None:
    graph, found = calls_of(read, "import os\nx = len([])\nos.path.join('a')\n'b'.join([])\n")
    file = graph.files["pkg/user.py"]
    assert (file.calls, file.outside, file.unresolved, found) == (3, 3, {}, [])


def test_callers_are_named_by_the_innermost_definition(read) -> None:
    text = "from pkg.lib import untold\nuntold()\nclass C:\n    untold()\n    def f(self):\n"
    text += "        untold()\n        def g():\n            untold()\n"
    _, found = calls_of(read, text)
    assert [caller for caller, _ in found] == ["", "C", "C.f", "C.f.g"]


NAMES = st.sampled_from(["a", "b", "Pool", "pool", "self", "len", "helper"])
EXPRESSIONS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.tuples(inner, NAMES).map(lambda p: f"{p[0]}.{p[1]}"),
        st.tuples(inner, inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} or {p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"[{p[0]} for a in {p[1]}]"),
        inner.map(lambda e: f"(lambda b: {e})"),
        inner.map(lambda e: f"{e}[0]"),
        st.tuples(NAMES, inner).map(lambda p: f"({p[0]} := {p[1]})"),
    ),
    max_leaves=12,
)


@settings(max_examples=40)
@given(expression=EXPRESSIONS, target=NAMES)
def test_every_call_is_counted_exactly_once(tmp_path_factory, expression: str, target: str) -> None:
    text = f"from pkg.lib import *\ndef f(a, b=1):\n    {target} = {expression}\n    {expression}\n"
    expected = sum(isinstance(n, ast.Call) for n in ast.walk(ast.parse(text)))
    folder = tmp_path_factory.mktemp("calls")

    def read(files: dict[str, str]) -> CodeGraph:
        from upstream_anchors.tree import Tree

        for path, body in files.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(body)
        return CodeGraph.build(Tree(folder), "pkg")

    graph, found = calls_of(read, text)
    file = graph.files["pkg/user.py"]
    assert file.calls == expected
    assert file.calls == len(found) + file.outside + sum(file.unresolved.values())
