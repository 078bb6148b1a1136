r"""Starters are generated: what stays, what goes, and which markers are refused."""

from __future__ import annotations

import ast

import pytest
from labkit import regions
from labkit.regions import RegionError

SOLUTION = '''
def outer(values):
    r"""What the learner reads."""
    given = 1
    for value in values:
        # lab: begin task 1 "add \\N{MULTIPLICATION SIGN} it up"
        given += value
        # lab: end
    # lab: begin task 2 "finish"
    return given
    # lab: end


class Box:
    def open(
        self,
        key,
    ):
        """A method."""
        # lab: begin task 1 "add \\N{MULTIPLICATION SIGN} it up"
        return key
        # lab: end
'''.replace("\\N{MULTIPLICATION SIGN}", "×")


def test_a_region_knows_its_function_and_lines():
    found = regions.parse(SOLUTION)
    assert [(r.task, r.function) for r in found] == [(1, "outer"), (2, "outer"), (1, "Box.open")]
    assert regions.titles(found) == {1: "add × it up", 2: "finish"}
    assert all(SOLUTION.splitlines()[r.begin - 1].strip().startswith("# lab: begin") for r in found)


def test_the_starter_keeps_signatures_docstrings_and_what_is_given():
    starter = regions.render(SOLUTION)
    for kept in ("def outer(values):", "What the learner reads.", "given = 1", "key,\n    ):"):
        assert kept in starter
    for taken in ("given += value", "return given", "return key", "lab:"):
        assert taken not in starter
    assert starter.count('raise NotImplementedError("task 1: add × it up")') == 2
    assert "# TODO task 2: finish" in starter
    ast.parse(starter)


def test_keeping_all_tasks_gives_the_solution_without_its_markers():
    plain = "\n".join(line for line in SOLUTION.splitlines() if "# lab:" not in line) + "\n"
    assert regions.render(SOLUTION, {1, 2}) == plain


def test_keeping_one_task_leaves_the_others_stubbed():
    half = regions.render(SOLUTION, {1})
    assert "given += value" in half
    assert "return key" in half
    assert "task 2: finish" in half
    assert "return given" not in half


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('# lab: begin task 1 "a"\nx = 1\n# lab: end\n', "below the docstring"),
        ('def f():\n    # lab: begin task 1 "a"\n    return 1\n    # lab: end\n', "docstring"),
        (
            'def f():\n    # lab: begin task 1 "a"\n    """Doc."""\n    # lab: end\n    return 1\n',
            "below the docstring",
        ),
        ('def f():\n    """D."""\n    # lab: begin task 1 "a"\n    return 1\n', "never closed"),
        ('def f():\n    """D."""\n    return 1\n    # lab: end\n', "without a begin"),
        ('def f():\n    """D."""\n    # lab: begin task 1 "a"\n    # lab: end\n', "empty"),
        ('def f():\n    """D."""\n    # lab: start task 1\n    return 1\n', "not a marker"),
        (
            'def f():\n    """D."""\n    # lab: begin task 1 "a"\n    # lab: begin task 2 "b"\n'
            "    return 1\n    # lab: end\n",
            "opened inside",
        ),
        (
            'def f():\n    """D."""\n    # lab: begin task 1 "a"\n    return 1\n\n\n'
            "def g():\n    return 2\n    # lab: end\n",
            "one function's body",
        ),
    ],
)
def test_markers_that_make_no_sense_are_refused_with_their_line(source, message):
    with pytest.raises(RegionError, match=rf"line \d+: .*{message}"):
        regions.parse(source)


def test_a_task_has_one_title():
    source = SOLUTION.replace('begin task 2 "finish"', 'begin task 1 "finish"')
    with pytest.raises(RegionError, match="is called 'finish' here"):
        regions.titles(regions.parse(source))
