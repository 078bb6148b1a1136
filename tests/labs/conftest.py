r"""A toy lab with two tasks, in a repository of its own, for the tests of the machinery."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from labkit import starters
from labkit.catalogue import Catalogue, Lab

REPOSITORY = Path(__file__).parents[2]

FILES = {
    "lab.toml": """
        title = "Counting, by hand"
        tag = "CPU-OK"
        minutes = 7
        competency = 1
        seconds = 1.0
        tasks = ["double a number", "sum a list up to a limit"]

        [[predict]]
        id = "double-of-21"
        question = "What is twice 21?"
        truth = "what the implementation says"
        unit = "number"

        [[predict]]
        id = "parity"
        question = "Even or odd?"
        choices = ["even", "odd"]
        truth = "what the implementation says"
    """,
    "solution.py": '''
        r"""Counting."""

        import math


        def double(number):
            r"""Twice the number."""
            # lab: begin task 1 "double a number"
            return number * 2
            # lab: end


        def total(numbers, limit):
            r"""Sum the numbers that are at most `limit`."""
            result = 0
            # lab: begin task 2 "sum a list up to a limit"
            for number in numbers:
                if number <= limit:
                    result += number
            return result
            # lab: end
    ''',
    "test_lab.py": """
        import pytest


        @pytest.mark.task(1)
        def test_doubles(impl, truth):
            answer = impl.double(21)
            truth("double-of-21", answer)
            truth("parity", "odd" if answer % 2 else "even")
            assert answer == 42


        @pytest.mark.task(1)
        def test_doubles_nothing(impl):
            assert impl.double(0) == 0


        @pytest.mark.task(2)
        @pytest.mark.parametrize("limit, expected", [(0, 0), (2, 3), (3, 6)])
        def test_total(impl, limit, expected):
            assert impl.total([1, 2, 3], limit) == expected


        @pytest.mark.task(1, 2)
        def test_both(impl):
            assert impl.double(impl.total([4], 4)) == 8
    """,
    "hints.toml": """
        [task-1]
        where = "Where does the second copy come from?"
        what = "The result is the number and itself."
        how = "Multiply."

        [task-2]
        where = "Which numbers count?"
        what = "Those at most the limit."
        how = "Add them in a loop."
    """,
    "mutants/plausible.toml": "\n".join(
        f"""
        [[mistake]]
        slug = "{slug}"
        because = "It looks the same."
        find = "{find}"
        replace = "{replace}"
        """
        for slug, find, replace in [
            ("adds-two", "return number * 2", "return number + 2"),
            ("squares", "return number * 2", "return number * number"),
            ("excludes-the-limit", "if number <= limit:", "if number < limit:"),
            ("ignores-the-limit", "if number <= limit:", "if True:"),
            ("keeps-the-last", "result += number", "result = number"),
        ]
    ),
    "README.md": "\n".join(
        f"\n## {section}\n"
        for section in (
            "Why this lab exists",
            "Background",
            "Predict before you code",
            "What to implement",
            "Run",
            "What each test proves",
            "How this maps to the real engine",
            "Going further",
            "References",
        )
    ),
}


class Toy:
    r"""The toy repository; `edit` replaces text in one of the lab's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "labs" / "phase-07-toys" / "lab-01-count"
        for name, text in FILES.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        shutil.copy(REPOSITORY / "labs" / "conftest.py", root / "labs" / "conftest.py")
        starters.write(self.lab)

    @property
    def lab(self) -> Lab:
        return Catalogue(self.root).find("lab-01")

    def edit(self, name: str, before: str, after: str) -> None:
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{before!r} occurs {text.count(before)} times in {name}"
        path.write_text(text.replace(before, after), encoding="utf-8")

    def pytest(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        r"""Run pytest as a learner would, from the root of the toy repository."""
        search_path = os.pathsep.join([str(REPOSITORY / "labs"), str(REPOSITORY)])
        return subprocess.run(
            [sys.executable, "-m", "pytest", "--import-mode=importlib", *arguments],
            cwd=self.root,
            # The plugins of the environment are not under test, and cost a second a run.
            env=os.environ
            | {"PYTHONPATH": search_path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def git(self, *words: str) -> None:
        identity = ["-c", "user.name=A Learner", "-c", "user.email=learner@example.org"]
        subprocess.run(
            ["git", "-C", str(self.root), *identity, *words], check=True, capture_output=True
        )


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)
