"""`mini_vllm.FLOORS` is the architecture: imports go down, and torch stays in its rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mini_vllm
from mini_vllm import FLOORS

PACKAGE = Path(mini_vllm.__file__).parent
# Every room with its height: floor, then place on the floor. A module may look down, never up.
HEIGHT = {room: (floor.number, place) for floor in FLOORS for place, room in enumerate(floor.rooms)}
TORCH_FREE = [floor for floor in FLOORS if not floor.torch_at_import]


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere: at the top, in a function, for a type checker."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(
                    f"a relative import in line {node.lineno}: write the whole name"
                )
            if node.module == "mini_vllm":
                yield from ((f"mini_vllm.{alias.name}", node.lineno) for alias in node.names)
            elif node.module:
                yield node.module, node.lineno


def climbs(path: Path, source: str) -> list[str]:
    """The imports of a module that go up, or sideways against the order of the floor."""
    found = []
    for name, line in imports(ast.parse(source)):
        top, *rest = name.split(".")
        if top != "mini_vllm":
            continue
        if not rest:
            found.append(f"line {line} imports the whole house")
            continue
        if rest[0] in HEIGHT and HEIGHT[rest[0]] > HEIGHT[room_of(path)]:
            found.append(f"line {line}: {room_of(path)} may not import {rest[0]}")
    return found


def test_every_module_lives_in_a_room() -> None:
    assert {room_of(path) for path in modules()} <= set(HEIGHT)


def test_no_room_is_on_two_floors() -> None:
    rooms = [room for floor in FLOORS for room in floor.rooms]
    assert len(rooms) == len(set(rooms))
    assert [floor.number for floor in FLOORS] == list(range(6))


def test_the_docstring_draws_the_same_house() -> None:
    rows = {}
    for line in (mini_vllm.__doc__ or "").splitlines():
        cells = [cell.strip(" *") for cell in line.split("|")[1:-1]]
        if len(cells) == 4 and cells[0].isdigit():
            rooms = tuple(room.strip(" `") for room in cells[1].split(","))
            rows[int(cells[0])] = (rooms, cells[2] == "yes")
    assert rows == {floor.number: (floor.rooms, floor.torch_at_import) for floor in FLOORS}


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_downwards_only(path: Path) -> None:
    assert climbs(path, path.read_text()) == []


def test_an_import_that_climbs_is_found() -> None:
    scheduler = PACKAGE / "core" / "scheduler.py"
    assert climbs(scheduler, "from mini_vllm.engine.core import EngineCore") != []
    assert climbs(scheduler, "def f():\n    import mini_vllm.worker") != []
    assert climbs(scheduler, "from mini_vllm import LLM") == []
    assert climbs(scheduler, "from mini_vllm import engine") != []
    assert climbs(scheduler, "import mini_vllm") != []
    assert climbs(scheduler, "from mini_vllm.config import CacheConfig") == []
    config = PACKAGE / "config" / "compilation.py"
    assert climbs(config, "from mini_vllm.outputs import RequestOutput") != []
    assert climbs(config, "from mini_vllm.errors import ConfigError") == []


def test_torch_is_not_loaded_by_the_floors_without_it() -> None:
    """All of them in one fresh interpreter, and then an engine that runs."""
    names = [
        dotted(path)
        for path in modules()
        if any(room_of(path) in floor.rooms for floor in TORCH_FREE)
    ]
    assert "mini_vllm.core.scheduler" in names
    assert "mini_vllm.entrypoints.llm" in names
    program = f"""
import importlib, sys
for name in {names!r}:
    importlib.import_module(name)
    heavy = {{"torch", "transformers", "numba"}} & set(sys.modules)
    if heavy:
        sys.exit(f"{{name}} loads {{sorted(heavy)}}")
from mini_vllm import LLM, LLMEngine, SamplingParams
llm = LLM.from_engine(LLMEngine.from_scripted(default=[5, 6]))
(output,) = llm.generate({{"prompt_token_ids": [1, 2]}}, SamplingParams(max_tokens=2))
assert output.outputs[0].token_ids == [5, 6]
if "torch" in sys.modules:
    sys.exit("a run of the scripted engine loads torch")
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_no_module_is_too_long() -> None:
    """About 300 lines of code, docstrings, comments and blank lines aside."""
    lengths = {dotted(path): code_lines(path.read_text()) for path in modules()}
    assert {name: count for name, count in lengths.items() if count > 300} == {}


def code_lines(source: str) -> int:
    lines = {
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)
