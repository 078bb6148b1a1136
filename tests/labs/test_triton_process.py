r"""Labs on Triton itself: what the process is told, what it tells, and how it may end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from labkit import machine, triton_process

ECHO = """
import json, os, sys

import labkit.triton_process

print("something else")
print(json.dumps({
    "given": sys.argv[1:],
    "triton": os.environ["LAB_TRITON"],
    "interpret": os.environ["TRITON_INTERPRET"],
    "labkit": labkit.triton_process.__file__,
}))
"""
IMPL = SimpleNamespace(__file__="/labs/starter.py")


@pytest.fixture
def script(tmp_path, monkeypatch):
    r"""A function that writes an `on_triton.py`; Triton need not be there to run it."""
    monkeypatch.setattr(machine, "missing", lambda modules: [])

    def write(text: str) -> Path:
        path = tmp_path / "on_triton.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(("device", "interpret"), [("cpu", "1"), ("compile", "0"), ("cuda", "0")])
def test_the_process_knows_file_device_and_mode(script, monkeypatch, device, interpret):
    monkeypatch.setenv("TRITON_INTERPRET", "whatever the shell says")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert triton_process.ask(script(ECHO), IMPL, device) == {
        "given": ["/labs/starter.py", device],
        "triton": "1",
        "interpret": interpret,
        "labkit": triton_process.__file__,
    }


def test_a_process_that_ends_badly_fails_the_test_with_its_last_words(script):
    with pytest.raises(AssertionError, match="task 4"):
        triton_process.ask(script("raise NotImplementedError('task 4')"), IMPL, "cpu")


def test_where_triton_is_missing_the_test_is_skipped_with_the_reason(script, monkeypatch):
    monkeypatch.setattr(machine, "missing", lambda modules: [modules[0]])
    with pytest.raises(pytest.skip.Exception, match=r"needs triton: pip install -e"):
        triton_process.ask(script(ECHO), IMPL, "cpu")


def test_the_line_says_what_ran_where(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    interpret = SimpleNamespace(runtime=SimpleNamespace(interpret=True))
    monkeypatch.setitem(
        sys.modules, "triton", SimpleNamespace(knobs=interpret, __version__="3.7.1")
    )
    (tmp_path / "solution.py").write_text("def answer():\n    return 42\n", encoding="utf-8")
    sides = {
        "compared": lambda impl, device: {"differences": [impl.answer(), device]},
        "compiled": lambda impl: {"sm_90": impl.answer()},
    }
    triton_process.answer([str(tmp_path / "solution.py"), "cpu"], **sides)
    told = json.loads(capsys.readouterr().out)
    assert told["differences"] == [42, "cpu"]
    assert (told["interpreted"], told["versions"]["triton"]) == (True, "3.7.1")
    triton_process.answer([str(tmp_path / "solution.py"), "compile"], **sides)
    assert json.loads(capsys.readouterr().out) == {"compiled": {"sm_90": 42}}


def test_requests_share_no_block_and_rows_end_in_rubbish():
    torch = pytest.importorskip("torch")
    lengths = [37, 1, 16, 17]
    tables, num_blocks = triton_process.block_tables(lengths, 16, torch.Generator().manual_seed(0))
    own = [row[: -(-length // 16)].tolist() for row, length in zip(tables, lengths)]
    assert len({block for blocks in own for block in blocks}) == 3 + 1 + 1 + 2
    assert all(0 <= block < num_blocks for blocks in own for block in blocks)
    for row, blocks in zip(tables, own):
        assert set(row[len(blocks) :].tolist()) == {triton_process.NOT_A_BLOCK}


def test_the_largest_error_is_infinite_where_something_is_no_number():
    torch = pytest.importorskip("torch")
    wanted = torch.tensor([1.0, 2.0, 3.0])
    found = torch.tensor([1.0, 2.5, 2.75], dtype=torch.float16)
    assert triton_process.largest_error(found, wanted) == 0.5
    found[0] = float("nan")
    assert triton_process.largest_error(found, wanted) == float("inf")
