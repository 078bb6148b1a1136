"""The task on the home page is the starter's own text."""

from __future__ import annotations

from pathlib import Path

import pytest
from labkit.catalogue import Catalogue

from book._ext.home.first_task import function_with_task

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''
def other():
    return 1


class Thing:
    def outer(self):
        r"""Says what to do."""
        # TODO task 2: do it
        raise NotImplementedError("task 2: do it")
'''


def test_the_function_around_the_task_is_shown_whole():
    code = function_with_task(SOURCE, 2)
    assert code.startswith("    def outer(self):")
    assert code.endswith('raise NotImplementedError("task 2: do it")')
    assert "other" not in code


def test_a_task_that_is_not_there_is_refused():
    with pytest.raises(LookupError, match="no task 1"):
        function_with_task(SOURCE, 1)


def test_every_lab_has_a_first_task_to_show():
    for lab in Catalogue(ROOT).labs:
        if lab.is_process:
            continue
        starter = lab.folder / "starter.py"
        code = function_with_task(starter.read_text(encoding="utf-8"), 1)
        assert code in starter.read_text(encoding="utf-8")
        assert f"# TODO task 1: {lab.tasks[0]}" in code
