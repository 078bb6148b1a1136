r"""The learner's command, as a learner types it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from labkit import cli, doctor, grading, machine
from labkit.bench import on_bench
from labkit.catalogue import Catalogue
from labkit.implementation import Implementation
from rich.console import Console

LAB = "phase-07/lab-01"
STUB = 'raise NotImplementedError("task 1: double a number")'


def grade_in_this_process(lab):
    r"""What `grading.grade` finds out, without the start of a process."""
    verdicts, truths = on_bench(
        lab, lambda bench: (bench.run(Implementation("starter")), bench.truths())
    )
    return grading.Grade(lab, tuple(verdicts), truths, "")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(grading, "grade", grade_in_this_process)


@pytest.fixture
def labs(toy):
    def run(*words: str, status: int = 0) -> str:
        out = io.StringIO()
        console = Console(file=out, width=110, highlight=False)
        assert cli.main(words, root=toy.root, console=console) == status, out.getvalue()
        return out.getvalue()

    return run


def test_check_ticks_tasks_shows_the_failure_and_names_the_next_hint(toy, labs, quick):
    printed = labs("check", "lab-01", status=1)
    assert "task 1  double a number" in printed
    assert "first failure: test_doubles\ntask 1: double a number" in printed
    assert "hint 1 of 3: labs hint phase-07/lab-01 1" in printed
    assert "0 / 1 labs, about 7 min to go" in printed

    toy.edit("starter.py", STUB, "return number * 2")
    printed = labs("check", "lab-01", status=1)
    assert "✓  task 1  double a number" in printed
    assert "2 of 2 tests" in printed
    assert "first failure: test_total[0-0]" in printed

    toy.edit(
        "starter.py",
        'raise NotImplementedError("task 2: sum a list up to a limit")',
        "return sum(n for n in numbers if n < limit)",
    )
    printed = labs("check", "lab-01", status=1)
    assert "✗  task 2" in printed
    assert "assert 1 == 3" in printed

    toy.edit("starter.py", "n < limit", "n <= limit")
    assert "1 / 1 labs, all done" in labs("check", "lab-01")
    assert "phase-07/lab-01: complete" in (toy.root / ".labs/notebook.md").read_text()


def test_the_grade_is_that_of_a_process_of_its_own(toy):
    toy.edit("starter.py", STUB, "return number * 2")
    alone, here = grading.grade(toy.lab), grade_in_this_process(toy.lab)
    assert (alone.verdicts, alone.truths) == (here.verdicts, here.truths)
    assert alone.green == [1]


def test_a_lab_that_hangs_or_exits_is_survived(toy, labs, monkeypatch):
    toy.edit("starter.py", STUB, "import os; os._exit(3)")
    printed = labs("check", "lab-01", status=1)
    assert "the tests did not run" in printed
    assert "the process ended without a result, with exit status 3" in printed
    monkeypatch.setattr(grading, "PATIENCE_S", 3)
    toy.edit(
        "starter.py",
        "import os; os._exit(3)",
        'return len("x" * 10**3) if number else list(iter(int, 1))',
    )
    assert "were stopped after 3 s" in labs("check", "lab-01", status=1)


def test_predictions_are_kept_and_compared(toy, labs, quick):
    labs("predict", "lab-01", "double-of-21=42", "parity=odd")
    stored = json.loads((toy.root / ".labs/predictions.json").read_text())
    assert stored == {LAB: {"double-of-21": "42", "parity": "odd"}}
    notebook = (toy.root / ".labs/notebook.md").read_text()
    assert "> What is twice 21?\n\nMy answer: **42**" in notebook
    toy.edit("starter.py", STUB, "return number * 2")
    printed = labs("check", status=1)
    assert "✓  42" in printed
    assert "✗  odd        even" in printed


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("parity=both", "it may be even, odd"),
        ("parity=", "'' is not an answer"),
        ("double-of-21=abc", "double-of-21: 'abc' is not a number of number; write one that is"),
        ("double-of-21=-3", "'-3' is not a number"),
        ("double-of-21=12 apples", "'12 apples' is not a number"),
        ("double-of-21=", "'' is not a number"),
        ("colour=red", "asks for no prediction 'colour'; it has: double-of-21, parity"),
    ],
)
def test_an_impossible_prediction_is_refused(labs, answer, message):
    assert message in labs("predict", answer, status=2)


@pytest.mark.parametrize("answer", ["42", " 42 ", "42 number", "42 Numbers", "42number"])
def test_a_number_may_have_its_unit_behind_it(toy, labs, answer):
    labs("predict", "lab-01", f"double-of-21={answer}")
    stored = json.loads((toy.root / ".labs/predictions.json").read_text())
    assert stored == {LAB: {"double-of-21": "42"}}


def test_an_answer_that_is_refused_is_asked_for_again(toy, labs, monkeypatch):
    answers = iter(["abc", "42 numbers", "both", "odd"])
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    printed = labs("predict", "lab-01")
    assert "'abc' is not a number" in printed
    assert "'both' is not an answer; it may be even, odd" in printed
    stored = json.loads((toy.root / ".labs/predictions.json").read_text())
    assert stored == {LAB: {"double-of-21": "42", "parity": "odd"}}


def test_predictions_are_asked_for_where_there_is_a_terminal(labs, monkeypatch):
    answers = iter(["42", "even"])
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    printed = labs("predict")
    assert "What is twice 21?" in printed
    assert "one of: even, odd" in printed
    assert "What is twice 21?" not in labs("predict")


def test_a_unit_in_brackets_is_no_markup(toy, labs, monkeypatch):
    toy.edit("lab.toml", 'unit = "number"', 'unit = "number [bold]"')
    answers = iter(["42", "even"])
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    assert "number [bold]: " in labs("predict")


def test_hints_come_one_at_a_time(labs):
    assert "1 of 3  Where does" in (first := labs("hint", "lab-01", "1"))
    assert "2 of 3" not in first
    assert "2 of 3  The result" in labs("hint", "lab-01", "1")
    assert "3 of 3  Multiply." in labs("hint", "1", status=0)
    assert "3 of 3" in labs("hint", "lab-01")
    assert "has the tasks 1 to 2, not 9" in labs("hint", "lab-01", "9", status=2)


def test_a_lab_that_is_done_needs_no_hint(toy, labs, quick):
    starter = toy.folder / "starter.py"
    starter.write_text(toy.lab.solution.read_text(), encoding="utf-8")
    labs("check", "lab-01")
    printed = labs("hint", "lab-01")
    assert "phase-07/lab-01 is done" in printed
    assert "1 of 3" not in printed
    assert "1 of 3  Where does" in labs("hint", "lab-01", "1")


def test_what_fails_now_is_not_shown_as_done(toy, labs, quick):
    starter = toy.folder / "starter.py"
    starter.write_text(toy.lab.solution.read_text(), encoding="utf-8")
    assert "1 / 1 labs, all done" in labs("check", "lab-01")
    toy.edit("starter.py", "return number * 2", "return number")
    assert "0 / 1 labs, about 7 min to go" in labs("check", "lab-01", status=1)
    assert "○●" in labs("list")
    assert "1 of 3  Where does the second" in labs("hint", "lab-01")
    toy.edit("starter.py", "return number", "return number * 2")
    assert "1 / 1 labs, all done" in labs("check", "lab-01")
    notebook = (toy.root / ".labs/notebook.md").read_text()
    assert notebook.count("phase-07/lab-01: complete") == 1


def test_no_hint_where_no_single_task_is_to_blame(toy, labs, quick):
    starter = toy.folder / "starter.py"
    starter.write_text(toy.lab.solution.read_text(), encoding="utf-8")
    toy.edit("test_lab.py", "4], 4)) == 8", "4], 4)) == 9")
    printed = labs("check", "lab-01", status=1)
    assert "first failure: test_both" in printed
    assert "labs hint" not in printed
    assert "has all tasks done" in labs("hint", "lab-01")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import math\ndef double(number:\n", "starter.py line 2: SyntaxError: '(' was never"),
        ("\nimport mathh\n", "starter.py line 2: ModuleNotFoundError: No module named 'mathh'"),
        ("\n\nimport json\njson.loads('')\n", "starter.py line 4: JSONDecodeError: Expecting"),
        (None, "starter.py is missing; `labs reset phase-07/lab-01` puts it back"),
    ],
)
def test_a_starter_that_does_not_load_says_where_and_gets_no_hint(
    toy, labs, quick, source, message
):
    if source is None:
        toy.lab.starter.unlink()
    else:
        toy.lab.starter.write_text(source, encoding="utf-8")
    printed = labs("check", "lab-01", status=1)
    assert f"it does not load:\n{message}" in printed
    assert "labs hint" not in printed
    labs("reset", "lab-01")
    assert "hint 1 of 3" in labs("check", "lab-01", status=1)


def test_a_function_that_is_lacking_is_named(toy, labs, quick):
    toy.edit("starter.py", "def double(", "def dubble(")
    assert "starter.py has no `double`" in labs("check", "lab-01", status=1)


def test_a_failed_comparison_shows_the_call_and_no_addresses(toy, labs, quick):
    toy.edit("starter.py", STUB, "return number + 2")
    toy.edit("test_lab.py", "    assert answer == 42", "    assert impl.double(21) == 42")
    printed = labs("check", "lab-01", status=1)
    assert "assert 23 == 42\n +  where 23 = double(21)\n" in printed
    assert "lab_implementation" not in printed
    assert "0x" not in printed


def test_reset_restores_the_starter_and_keeps_the_learners(toy, labs, quick):
    given = (toy.folder / "starter.py").read_text()
    toy.edit("starter.py", STUB, "return number * 2")
    mine = (toy.folder / "starter.py").read_text()
    labs("check", status=1)
    assert "starter.py is restored; yours is .labs/before-reset/" in labs("reset", "lab-01")
    assert (toy.folder / "starter.py").read_text() == given
    [copy] = (toy.root / ".labs/before-reset").iterdir()
    assert copy.read_text() == mine
    assert "○○" in labs("list")
    assert "as it was given" in labs("reset", "lab-01")


def test_next_list_and_doctor(labs, monkeypatch):
    monkeypatch.setattr(machine, "why_no_gpu", lambda: "no GPU here")
    printed = labs("next")
    assert "predict  labs predict phase-07/lab-01   (2 to go)" in printed
    assert "labs/phase-07-toys/lab-01-count/starter.py" in printed
    assert "Counting, by hand" in labs("list")
    printed = labs("doctor")
    assert "Python" in printed
    assert "phase-07/lab-01  CPU-OK  all of it runs" in printed


@pytest.mark.parametrize(
    ("tag", "marks", "no_gpu", "no_engine", "runs", "text"),
    [
        ("CPU-OK", "", "no GPU", "no torch", True, "all of it runs"),
        ("CPU-OK", "model", "no GPU", "no torch", True, "its tests on the real one skip: no torch"),
        ("CPU-OK", "model", "no GPU", None, True, "all of it runs"),
        ("GPU-OPT", "", "no GPU", None, True, "its own GPU run skips: no GPU"),
        ("GPU-OPT", "", None, None, True, "all of it runs"),
        ("GPU-REQ", "", "no GPU", None, False, "skips: no GPU"),
        ("GPU-REQ", "gpu", "no GPU", None, True, "what it is for skips: no GPU"),
        ("GPU-REQ", "", None, None, True, "all of it runs"),
    ],
)
def test_every_skip_has_its_reason(toy, monkeypatch, tag, marks, no_gpu, no_engine, runs, text):
    monkeypatch.setattr(machine, "why_no_gpu", lambda: no_gpu)
    monkeypatch.setattr(machine, "why_no_engine", lambda: no_engine)
    toy.edit("lab.toml", "CPU-OK", tag)
    test = toy.folder / "test_lab.py"
    mark = f"# @pytest.mark.{marks}" if marks else ""
    test.write_text(test.read_text(encoding="utf-8") + mark, encoding="utf-8")
    [(_, can_run, reason)] = doctor.prospects(Catalogue(toy.root))
    assert can_run is runs
    assert text in reason


def test_an_unknown_lab_lists_the_nearest(labs):
    assert "no lab is called 'lab-01-cuont'; the nearest: lab-01-count" in labs(
        "check", "lab-01-cuont", status=2
    )


def test_a_name_like_no_other_lists_every_lab_once(labs):
    assert "no lab is called 'zzz'; there are: lab-01-count\n" in labs("check", "zzz", status=2)


def test_watch_grades_again_after_a_change(toy, labs, quick, monkeypatch):
    def solve(path):
        path.write_text(toy.lab.solution.read_text(), encoding="utf-8")

    monkeypatch.setattr(cli, "_wait_for_change", solve)
    printed = labs("watch", "lab-01")
    assert "watching starter.py" in printed
    assert "1 / 1 labs" in printed


def test_the_command_starts_without_pytest():
    r"""Which is half of what a start would take, and a learner types it many times an hour."""
    tell = "import sys, labkit.cli; print({'pytest', '_pytest', 'torch'} & set(sys.modules))"
    path = os.pathsep.join(map(str, Path(cli.__file__).parents[1:3]))
    done = subprocess.run(
        [sys.executable, "-c", tell],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "set()", done.stderr
