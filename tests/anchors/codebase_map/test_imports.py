"""Every form of import leads to the right file, at the right moment, or leaves the tree."""

from __future__ import annotations

import pytest

FILES = {
    "pkg/__init__.py": "from pkg.inner import thing\n",
    "pkg/a.py": "x = 1\n",
    "pkg/inner/__init__.py": "from .thing import thing\nfrom . import other\n",
    "pkg/inner/thing.py": "def thing(): ...\n",
    "pkg/inner/other.py": "y = 2\n",
    "pkg/folder/leaf.py": "z = 3\n",  # a folder without __init__.py
}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import pkg.a", ("pkg/a.py", "load", "absolute", "module", "")),
        ("import pkg.a as b", ("pkg/a.py", "load", "absolute", "module", "")),
        ("from pkg.a import x", ("pkg/a.py", "load", "absolute", "name", "x")),
        ("from pkg.a import *", ("pkg/a.py", "load", "absolute", "name", "*")),
        ("from pkg import a", ("pkg/a.py", "load", "absolute", "module", "a")),
        ("from ..a import x", ("pkg/a.py", "load", "relative", "name", "x")),
        ("from .. import a", ("pkg/a.py", "load", "relative", "module", "a")),
        ("from . import other", ("pkg/inner/other.py", "load", "relative", "module", "other")),
        ("from .other import y", ("pkg/inner/other.py", "load", "relative", "name", "y")),
        # The package binds `thing` to the function, not to the module of that name.
        (
            "from pkg.inner import thing",
            ("pkg/inner/__init__.py", "load", "absolute", "name", "thing"),
        ),
        # ... and `other` to the module.
        (
            "from pkg.inner import other",
            ("pkg/inner/other.py", "load", "absolute", "module", "other"),
        ),
        (
            "from pkg.folder import leaf",
            ("pkg/folder/leaf.py", "load", "absolute", "module", "leaf"),
        ),
        ("import pkg.folder.leaf", ("pkg/folder/leaf.py", "load", "absolute", "module", "")),
        (
            "if TYPE_CHECKING:\n    from pkg.a import x",
            ("pkg/a.py", "typing", "absolute", "name", "x"),
        ),
        (
            "if typing.TYPE_CHECKING:\n    def f():\n        import pkg.a",
            ("pkg/a.py", "typing", "absolute", "module", ""),
        ),
        (
            "if not TYPE_CHECKING:\n    import pkg.a\nelse:\n    pass",
            ("pkg/a.py", "load", "absolute", "module", ""),
        ),
        (
            "if TYPE_CHECKING: pass\nelse: import pkg.a",
            ("pkg/a.py", "load", "absolute", "module", ""),
        ),
        ("def f():\n    from pkg.a import x", ("pkg/a.py", "lazy", "absolute", "name", "x")),
        (
            "class C:\n    async def f(self):\n        from ..a import x",
            ("pkg/a.py", "lazy", "relative", "name", "x"),
        ),
        ("class C:\n    from pkg.a import x", ("pkg/a.py", "load", "absolute", "name", "x")),
        (
            "if __name__ == '__main__':\n    import pkg.a",
            ("pkg/a.py", "lazy", "absolute", "module", ""),
        ),
        (
            "try:\n    import pkg.a\nexcept ImportError:\n    pass",
            ("pkg/a.py", "load", "absolute", "module", ""),
        ),
        (
            "try:\n    pass\nexcept E:\n    import pkg.a",
            ("pkg/a.py", "load", "absolute", "module", ""),
        ),
        ("with x:\n    import pkg.a", ("pkg/a.py", "load", "absolute", "module", "")),
        (
            "match x:\n    case 1:\n        import pkg.a",
            ("pkg/a.py", "load", "absolute", "module", ""),
        ),
    ],
)
def test_a_form_of_import(read, statement: str, expected: tuple[str, ...]) -> None:
    graph = read({**FILES, "pkg/inner/user.py": f"{statement}\n"})
    found = [one for one in graph.imports if one.importer == "pkg/inner/user.py"]
    assert [(i.imported, i.when, i.form, i.what, i.name) for i in found] == [expected]


@pytest.mark.parametrize(
    "statement",
    [
        "import os",
        "from os import path",
        "import pkgother.a",
        "from pkg.missing import x",
        "from .... import far",
        "x = 'import pkg.a'",
    ],
)
def test_what_leads_out_of_the_tree_is_no_edge(read, statement: str) -> None:
    graph = read({**FILES, "pkg/inner/user.py": f"{statement}\n"})
    assert [one for one in graph.imports if one.importer == "pkg/inner/user.py"] == []


def test_an_importer_counts_once_however_often_it_imports(read) -> None:
    text = "import pkg.a\nfrom pkg.a import x\ndef f():\n    from pkg.a import x\n"
    graph = read({**FILES, "pkg/one.py": text, "pkg/two.py": "from .a import x\n"})
    assert graph.most_imported(1) == [("pkg/a.py", 2)]
    assert len(graph.importers["pkg/a.py"]["pkg/one.py"]) == 3


def test_a_file_does_not_import_itself(read) -> None:
    graph = read({"pkg/__init__.py": "from pkg import y\ny = 1\n"})
    assert graph.imports == []


def test_a_file_that_cannot_be_parsed_is_named(read) -> None:
    graph = read({"pkg/a.py": "def (:\n", "pkg/b.py": "import pkg.a\n"})
    assert graph.skipped == ["pkg/a.py"]
    assert list(graph.files) == ["pkg/b.py"]
