"""What is said to be gone is looked for; a search that could not find anything is an error."""

from __future__ import annotations

import pytest

from upstream_anchors.absence import Absence, AbsenceError, parse_absences
from upstream_anchors.tree import Tree


@pytest.fixture
def tree(tmp_path, plant) -> Tree:
    return Tree(plant(tmp_path / "t"))


def test_a_path_that_is_not_there(tree: Tree) -> None:
    assert Absence("vllm/worker").check(tree) == 1


@pytest.mark.parametrize("path", ["vllm/engine", "vllm/engine/core.py"])
def test_a_folder_or_file_that_is_there_is_named(tree: Tree, path: str) -> None:
    with pytest.raises(AbsenceError, match=f"{path} is said to be gone"):
        Absence(path).check(tree)


def test_words_that_stand_nowhere_count_the_files_that_were_read(tree: Tree) -> None:
    assert Absence("vllm", "swap_in").check(tree) == len(tree.python_files("vllm")) > 3


def test_words_are_taken_as_they_are_and_not_as_a_pattern(tree: Tree) -> None:
    assert Absence("vllm", "s.lf").check(tree) > 0


def test_words_that_are_there_name_the_file(tree: Tree) -> None:
    with pytest.raises(AbsenceError, match=r"vllm/engine/core\.py has it"):
        Absence("vllm", "RuntimeError(").check(tree)


def test_a_search_that_reads_nothing_shows_nothing(tree: Tree) -> None:
    with pytest.raises(AbsenceError, match="shows nothing"):
        Absence("vllm/nowhere", "x").check(tree)


def test_several_are_separated_by_semicolons() -> None:
    found = parse_absences('vllm/core/; "VLLM_USE_V1" in vllm')
    assert found == [Absence("vllm/core"), Absence("vllm", "VLLM_USE_V1")]


@pytest.mark.parametrize("text", ["", "a b", '"x" in', '"x"', "vllm/core;", '"a" "b" in vllm'])
def test_an_odd_search_is_refused(text: str) -> None:
    with pytest.raises(AbsenceError, match="neither a path"):
        parse_absences(text)
