r"""The contract of a lab: each of its clauses can be broken, and is then named."""

from __future__ import annotations

import pytest
from labkit import verify
from labkit.grading import Verdict


def test_a_good_lab_has_no_problems(toy):
    assert verify.problems(toy.lab) == []


@pytest.mark.parametrize(
    ("name", "before", "after", "problem"),
    [
        ("solution.py", "return number * 2", "return number * 3", "solution: test_doubles failed"),
        ("test_lab.py", 'truth("parity"', 'str("parity"', "no test finds out the answer"),
        ("test_lab.py", "assert answer == 42", "assert answer == 43", "solution: test_doubles"),
        (
            "test_lab.py",
            "assert impl.double(0) == 0",
            "try:\n        impl.double(0)\n    except NotImplementedError:\n        pass",
            "starter: test_doubles_nothing passes on the starter",
        ),
        (
            "test_lab.py",
            "import pytest",
            "import pytest\n\n@pytest.fixture(autouse=True)\ndef begin(impl):\n    impl.double(1)",
            "is error in setup: task 1: double a number",
        ),
        (
            "test_lab.py",
            "@pytest.mark.task(1)\ndef test_doubles_nothing",
            "@pytest.mark.task(2)\ndef test_doubles_nothing",
            "is marked with tasks [2] but fails on 'task 1: double a number'",
        ),
        (
            "solution.py",
            "result += number",
            "result += double(number) // 2",
            "only task 2 filled in: test_total[3-6] task 1: double a number",
        ),
        ("test_lab.py", "@pytest.mark.task(1, 2)\n", "", "test_both is marked with tasks []"),
        (
            "test_lab.py",
            "@pytest.mark.task(2)",
            "@pytest.mark.task(1, 2)",
            "no test needs task 2 alone",
        ),
        ("hints.toml", 'how = "Multiply."', 'how = ""', "task 1 lacks one of where, what, how"),
        ("README.md", "## What each test proves", "## Tests", "no section 'What each test proves'"),
    ],
)
def test_a_broken_clause_is_named(toy, name, before, after, problem):
    toy.edit(name, before, after)
    found = verify.problems(toy.lab)
    assert any(problem in text for text in found), found


def test_a_hint_that_quotes_the_solution_is_named(toy):
    toy.edit("solution.py", "result += number", "result = result + number * 1")
    toy.edit("hints.toml", "Add them in a loop.", "Write result = result + number * 1")
    assert any("quotes the solution" in text for text in verify.problems(toy.lab))


def test_four_plausible_mistakes_are_too_few(toy):
    path = toy.folder / "mutants" / "plausible.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.rindex("[[mistake]]")], encoding="utf-8")
    assert "mutants: 4 plausible mistakes, 5 are needed" in verify.problems(toy.lab)


@pytest.mark.parametrize(
    ("kind", "text", "fair"),
    [
        ("NotImplementedError", "task 2: sum", True),
        ("AssertionError", "assert 1 == 2", True),
        ("NotImplementedError", "task 3: other", False),
        ("NotImplementedError", "later", False),
        ("TimeLimitExceeded", "stopped after 1 s", False),
        ("ImportError", "no module", False),
    ],
)
def test_what_is_a_fair_failure(kind, text, fair):
    verdict = Verdict("test", (2,), "failed", "call", (kind, text))
    assert (verify.unfair(verdict) is None) == fair
