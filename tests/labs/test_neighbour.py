r"""Modules beside a lab's tests: each caller has its own, and no lab meets that of another."""

from __future__ import annotations

import sys

import pytest
from labkit.neighbour import beside


def test_two_labs_have_modules_of_one_name(tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"lab-0{number}-some-lab"
        folder.mkdir()
        (folder / "pools.py").write_text(f"SIZE = {number}\nKEPT = []\n", encoding="utf-8")
    known = set(sys.modules)
    one, other = (
        beside(str(tmp_path / f"lab-0{number}-some-lab" / "test_lab.py"), "pools")
        for number in (1, 2)
    )
    assert (one.SIZE, other.SIZE) == (1, 2)
    assert set(sys.modules) == known
    one.KEPT.append("spoiled")
    again = beside(str(tmp_path / "lab-01-some-lab" / "test_tables.py"), "pools")
    assert again.KEPT == []


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="tables"):
        beside(str(tmp_path / "test_lab.py"), "tables")
