"""What a notebook depends on, found by reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from book import module_facts
from book.dependencies import code_cells, of_module, of_notebook

HEADER = "---\nkernelspec: {name: python3}\n---\n"


def page(folder: Path, code: str, front: str = "") -> Path:
    path = folder / "page.md"
    header = HEADER if not front else f"---\n{front}---\n"
    path.write_text(f"{header}# T\n\n```{{code-cell}} python\n{code}\n```\n")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    package = tmp_path / "mini_vllm"
    (package / "core").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "core" / "__init__.py").write_text("")
    (package / "core" / "pool.py").write_text("SIZE = 16\n")
    (package / "engine.py").write_text(
        "def lazy():\n    from .core import pool\n    return pool.SIZE\n"
    )
    (package / "other.py").write_text("X = 1\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "weights.bin").write_bytes(b"123")
    (tmp_path / "book" / "measurements").mkdir(parents=True)
    (tmp_path / "book" / "measurements" / "speed.json").write_text("{}")
    return tmp_path


def test_cells_come_without_options_and_magics():
    text = "```{code-cell} python\n---\ntags: [x]\n---\n%matplotlib inline\na = 1\n```\n\n"
    text += ":::{code-cell}\n:tags: [y]\nb = 2\n:::\n"
    assert [cell.strip() for cell in code_cells(text)] == ["a = 1", "b = 2"]


def test_imports_are_followed_into_functions_and_packages(tree):
    found = of_notebook(page(tree, "import mini_vllm.engine"), tree).digests
    assert {"mini_vllm", "mini_vllm.engine", "mini_vllm.core", "mini_vllm.core.pool"} <= set(found)
    assert "mini_vllm.other" not in found


def test_import_by_a_literal_name_is_followed(tree):
    code = "import importlib\nm = importlib.import_module('mini_vllm.other')"
    assert "mini_vllm.other" in of_notebook(page(tree, code), tree).digests


def test_named_files_folders_and_measurements_count(tree):
    code = "path = 'data/weights.bin'\nm = measurement('speed')"
    found = of_notebook(page(tree, code), tree).digests
    assert {"data/weights.bin", "book/measurements/speed.json"} <= set(found)
    before = of_notebook(page(tree, code), tree).digest()
    (tree / "data" / "weights.bin").write_bytes(b"1234")
    assert of_notebook(page(tree, code), tree).digest() != before


def test_declared_files_count_and_a_glob_without_files_is_told(tree):
    found = of_notebook(page(tree, "1", "depends: [data/*]\n"), tree)
    assert "data/weights.bin" in found.digests
    assert of_notebook(page(tree, "1", "depends: [nothing/*]\n"), tree).missing == ["nothing/*"]


def test_docstrings_do_not_count_unless_the_notebook_reads_source(tree):
    engine = tree / "mini_vllm" / "engine.py"
    plain = of_notebook(page(tree, "import mini_vllm.engine"), tree).digest()
    reading = of_notebook(page(tree, "import inspect\nimport mini_vllm.engine"), tree).digest()
    engine.write_text('"""Text."""\n' + engine.read_text())
    assert of_notebook(page(tree, "import mini_vllm.engine"), tree).digest() == plain
    code = "import inspect\nimport mini_vllm.engine"
    assert of_notebook(page(tree, code), tree).digest() != reading


def test_attribute_docstrings_do_not_count_and_values_do(tree):
    pool = tree / "mini_vllm" / "core" / "pool.py"
    code = "from mini_vllm.core import pool"
    before = of_notebook(page(tree, code), tree).digest()
    pool.write_text('SIZE = 16\n"""Tokens of a block."""\n')
    assert of_notebook(page(tree, code), tree).digest() == before
    pool.write_text("SIZE = 32\n")
    assert of_notebook(page(tree, code), tree).digest() != before


def test_a_package_of_quantities_counts_with_all_its_modules(tree):
    folder = tree / "book" / "quantities"
    folder.mkdir()
    (tree / "book" / "__init__.py").write_text("")
    for name in ("__init__", "registry", "llama"):
        (folder / f"{name}.py").write_text("")
    before = of_module("book.quantities.registry", tree).digest()
    (folder / "llama.py").write_text("LAYERS = 32\n")
    assert of_module("book.quantities.registry", tree).digest() != before


def test_a_module_that_reads_source_depends_on_all_code_and_on_no_docstring(tree):
    (tree / "book" / "__init__.py").write_text("")
    (tree / "book" / "counts.py").write_text("import ast\nfrom mini_vllm import other\n")
    notebook = page(tree, "from book import counts")
    before = of_notebook(notebook, tree).digest()
    pool = tree / "mini_vllm" / "core" / "pool.py"
    pool.write_text('"""Text."""\nSIZE = 16\n')
    assert of_notebook(notebook, tree).digest() == before
    pool.write_text("SIZE = 17\n")
    assert of_notebook(notebook, tree).digest() != before


def test_what_was_read_is_kept_for_the_next_build(tree, tmp_path):
    notebook = page(tree, "import mini_vllm.engine")
    before = of_notebook(notebook, tree).digest()
    store = tmp_path / "facts.json"
    module_facts.save(store)
    known = dict(module_facts._KNOWN)
    module_facts._KNOWN.clear()
    module_facts.load(store)
    assert {key: known[key] for key in module_facts._USED} == module_facts._KNOWN
    assert of_notebook(notebook, tree).digest() == before
    store.write_text("not json")
    module_facts.load(store)  # a damaged store is as good as none
