r"""The check reads what git has recorded, so that a learner's work is never called an error."""

from __future__ import annotations

import pytest
from labkit import starters
from labkit.catalogue import LabError


@pytest.fixture
def committed(toy):
    toy.git("init", "-q")
    toy.git("add", "-A")
    toy.git("commit", "-q", "-m", "A lab")
    return toy


def test_a_learner_may_edit_the_starter(committed):
    (committed.folder / "starter.py").write_text("# half done\n", encoding="utf-8")
    assert starters.problems(committed.lab) == []


def test_a_recorded_starter_that_differs_is_found(committed):
    committed.edit("starter.py", "import math", "import cmath")
    committed.git("add", "-A")
    [problem] = starters.problems(committed.lab)
    assert "starter.py is not what solution.py generates" in problem


def test_a_solution_that_was_changed_alone_is_found(committed):
    committed.edit("solution.py", "Twice the number.", "Two times the number.")
    assert starters.problems(committed.lab) == []  # not recorded yet
    committed.git("add", "-A")
    assert len(starters.problems(committed.lab)) == 1


def test_a_starter_that_was_never_recorded_is_found(toy):
    toy.git("init", "-q")
    toy.git("add", "labs/phase-07-toys/lab-01-count/solution.py")
    [problem] = starters.problems(toy.lab)
    assert "starter.py is not recorded" in problem


def test_outside_git_the_files_themselves_are_compared(toy, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(toy.root.parent))
    assert starters.problems(toy.lab) == []
    (toy.folder / "starter.py").write_text("# edited\n", encoding="utf-8")
    assert len(starters.problems(toy.lab)) == 1


def test_titles_in_lab_toml_and_in_the_markers_agree(toy):
    toy.edit("lab.toml", '"double a number"', '"halve a number"')
    with pytest.raises(LabError, match="halve a number"):
        starters.generate(toy.lab)
