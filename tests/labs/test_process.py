r"""A process lab: no starter and no tests, and still a contract that can be broken."""

from __future__ import annotations

import io
import json
import sys
from textwrap import dedent

import pytest
from labkit import cli, doctor, maintain, process, verify
from labkit.catalogue import Catalogue, LabError
from rich.console import Console

TOML = """
    kind = "process"
    title = "Ask somebody"
    tag = "CPU-OK"
    grader = "toy_grader"

    [[step]]
    title = "write the question down"
    minutes = 10
    command = "write question.md"
    judge = "the toy tool"

    [[step]]
    title = "get an answer"
    minutes = 25
    command = "wait"
    judge = "somebody else"

    [[predict]]
    id = "answers"
    question = "How many answers will you get?"
    unit = "answers"
    truth = "counted"
"""
GRADER = """
    from labkit.process import Finding, Look


    def look(root):
        question, answer = root / "question.md", root / "answer.md"
        if not question.exists():
            return Look((Finding(False, "no question.md"), Finding(False, "no answer")))
        asked = Finding(True, "question.md is there")
        if not answer.exists():
            return Look((asked, Finding(False, "no answer", "ask again")))
        return Look((asked, Finding(True, "answered")), {"answers": "1"})
"""


class Process:
    r"""A toy process lab beside the toy lab, with its grader as a module of its own."""

    def __init__(self, toy, monkeypatch):
        self.root = toy.root
        self.folder = toy.folder.with_name("lab-02-ask")
        self.folder.mkdir()
        self.write("lab.toml", TOML)
        self.readme = "\n".join(f"\n## {name}\n" for name in process.SECTIONS)
        self.write("README.md", f"{self.readme}\nthe toy tool, somebody else")
        self.grader = toy.root / "toy_grader.py"
        self.grade_by(GRADER)
        monkeypatch.syspath_prepend(str(toy.root))

    @property
    def lab(self):
        return Catalogue(self.root).find("lab-02")

    def write(self, name, text):
        (self.folder / name).write_text(dedent(text), encoding="utf-8")

    def grade_by(self, text):
        self.grader.write_text(dedent(text), encoding="utf-8")
        sys.modules.pop("toy_grader", None)

    def __call__(self, *words, status=0):
        out = io.StringIO()
        console = Console(file=out, width=110, highlight=False)
        assert cli.main(words, root=self.root, console=console) == status, out.getvalue()
        return out.getvalue()


@pytest.fixture
def asking(toy, monkeypatch):
    yield Process(toy, monkeypatch)
    sys.modules.pop("toy_grader", None)


def test_its_steps_are_its_tasks_and_their_minutes_its_minutes(asking):
    lab = asking.lab
    assert lab.is_process
    assert lab.tasks == ("write the question down", "get an answer")
    assert (lab.minutes, lab.competency) == (35, 0)
    assert not Catalogue(asking.root).find("lab-01").is_process


def test_check_says_what_is_done_who_grades_and_what_to_run(asking):
    printed = asking("check", "lab-02", status=1)
    assert "·  step 1  write the question down" in printed
    assert "no question.md" in printed
    assert "graded by: the toy tool, somebody else" in printed
    assert "next:      write question.md" in printed
    (asking.root / "question.md").touch()
    printed = asking("check", "lab-02", status=1)
    assert "✓  step 1" in printed
    assert "next:      ask again" in printed, "the finding's own command, not that of lab.toml"
    asking("predict", "lab-02", "answers=3")
    (asking.root / "answer.md").touch()
    printed = asking("check", "lab-02")
    assert "next:" not in printed
    assert "✗  3          1" in printed, "the prediction beside the truth"
    assert "1 / 2 labs, about 7 min to go" in printed
    assert "phase-07/lab-02: complete" in (asking.root / ".labs/notebook.md").read_text()
    (asking.root / "question.md").unlink()
    assert "0 / 2 labs" in asking("check", "lab-02", status=1)


def test_list_next_and_doctor_take_it(asking, toy):
    assert "lab-02  Ask somebody" in asking("list")
    assert "○○" in asking("list")
    state = json.dumps({"phase-07/lab-01": {"complete": "2026-01-01-000000"}})
    (toy.root / ".labs").mkdir()
    (toy.root / ".labs/progress.json").write_text(state)
    printed = asking("next")
    assert "do       write question.md" in printed
    assert "grade    labs check phase-07/lab-02" in printed
    assert "starter" not in printed
    prospects = {
        lab.short: (runs, text) for lab, runs, text in doctor.prospects(Catalogue(toy.root))
    }
    assert prospects["phase-07/lab-02"] == (
        True,
        "a process lab, graded by the toy tool, somebody else",
    )


@pytest.mark.parametrize("words", [("watch",), ("hint",), ("reset",)])
def test_what_needs_a_starter_says_what_to_do_instead(asking, words):
    printed = asking(*words, "lab-02", status=2)
    assert "is a process lab: it has no starter and no hints" in printed
    assert "labs check phase-07/lab-02" in printed


def test_it_holds_and_the_proofs_of_other_labs_pass_it_by(asking, capsys):
    assert verify.problems(asking.lab) == []
    assert maintain.main(["starters", "lab-02"], root=asking.root) == 0
    assert maintain.main(["mutants", "lab-02"], root=asking.root) == 0
    assert "phase-07/lab-02: a process lab, nothing to break" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["starter.py", "solution.py", "hints.toml", "test_lab.py"])
def test_a_file_of_the_other_kind_is_named(asking, name):
    asking.write(name, "")
    assert any(name in problem for problem in verify.problems(asking.lab))


def test_a_readme_without_a_section_or_a_judge_is_named(asking):
    asking.write("README.md", asking.readme.replace("## What to do", "## Todo") + "the toy tool")
    assert verify.problems(asking.lab) == [
        "README.md has no section 'What to do'",
        "README.md does not name 'somebody else', which grades 'get an answer'",
    ]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('Finding(False, "no question.md")', 'Finding(True, "fine")', "finds step 1 done where"),
        ('no answer")))', 'no answer")), {"answers": "0"})', "answers 'answers' with '0' where"),
        ('no answer")))', 'no answer")), {"luck": "0"})', "asks for no prediction 'luck'"),
        (', Finding(False, "no answer")))', ",))", "has 2 steps, toy_grader speaks of 1"),
        ("import Finding", "import Nothing", "its grader cannot be imported"),
    ],
)
def test_a_grader_that_cannot_be_right_is_named(asking, before, after, problem):
    assert before in GRADER
    asking.grade_by(GRADER.replace(before, after, 1))
    assert any(problem in text for text in verify.problems(asking.lab))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('kind = "process"', 'kind = "talk"', "kind 'talk' is none of code, process"),
        ('kind = "process"', "", "unknown keys"),
        ('grader = "toy_grader"', 'tasks = ["one"]', "unknown keys"),
        ('grader = "toy_grader"', 'grader = ""', "has steps and a grader"),
        ("minutes = 10", "minuets = 10", "minuets"),
        ('title = "Ask', 'competency = 9\n    title = "Ask', "competency 9"),
    ],
)
def test_a_process_lab_that_says_something_impossible_is_refused(asking, before, after, message):
    asking.write("lab.toml", TOML.replace(before, after, 1))
    with pytest.raises(LabError, match=message):
        Catalogue(asking.root)


def test_another_lab_still_needs_its_competency_and_its_starter(toy):
    toy.edit("lab.toml", "competency = 1", "competency = 0")
    with pytest.raises(LabError, match="competency 0 is not a row"):
        Catalogue(toy.root)
    toy.edit("lab.toml", "competency = 0", "competency = 1")
    toy.lab.solution.unlink()
    with pytest.raises(FileNotFoundError):
        verify.problems(toy.lab)


def test_pytest_on_its_folder_says_what_grades_it(asking, toy):
    run = toy.pytest("labs/phase-07-toys/lab-02-ask", "-q")
    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "a process lab has no tests; what grades it, says `labs check phase-07/lab-02`" in (
        run.stdout
    )
    assert "no lab test matches" in toy.pytest("labs", "-q", "-k", "lab-99").stdout
