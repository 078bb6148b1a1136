r"""The switch between solution and starter: it must say which ran and refuse everything else."""

from __future__ import annotations

import pytest

# Learners write such loops, and such handlers.
ENDLESS = """while True:
        try:
            number += 1
        except Exception:
            pass"""


def test_the_solution_is_graded_by_default_and_the_summary_says_so_under_q(toy):
    run = toy.pytest("labs", "-q")
    assert run.returncode == 0, run.stdout
    assert "graded solution.py, the reference (LAB_IMPL=solution)" in run.stdout
    assert "phase-07/lab-01  6 passed" in run.stdout


def test_the_starter_fails_by_name_and_the_summary_says_whose_it_was(toy):
    run = toy.pytest("labs/phase-07-toys/lab-01-count", "-q", LAB_IMPL="starter")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "graded starter.py, yours (LAB_IMPL=starter)" in run.stdout
    assert "phase-07/lab-01  6 failed" in run.stdout
    assert "NotImplementedError: task 2: sum a list up to a limit" in run.stdout


@pytest.mark.parametrize("value", ["Starter", "mine", "", "solution "])
def test_any_other_value_is_a_usage_error_before_a_test_runs(toy, value):
    run = toy.pytest("labs", "-q", LAB_IMPL=value)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"LAB_IMPL={value!r} is not an implementation: solution or starter" in run.stderr
    assert "passed" not in run.stdout


@pytest.mark.parametrize(
    "selection",
    [["labs/phase-07-toys/lab-99-none"], ["labs", "-k", "lab-99"], ["labs", "-m", "gpu"]],
)
def test_a_selection_that_matches_no_lab_is_an_error(toy, selection):
    assert toy.pytest(*selection, "-q").returncode in (
        pytest.ExitCode.USAGE_ERROR,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    )


def test_predictions_are_printed_beside_the_truth(toy):
    from labkit.state import State

    state = State(toy.root)
    state.predict("phase-07/lab-01", "double-of-21", "What is twice 21?", "41")
    state.predict("phase-07/lab-01", "parity", "Even or odd?", "EVEN")
    run = toy.pytest("labs", "-q")
    assert "double-of-21: 42  (you said 41)" in run.stdout
    assert "parity: even  (as you said)" in run.stdout


def test_no_prediction_no_answer(toy):
    assert "double-of-21" not in toy.pytest("labs", "-q").stdout


def test_a_starter_that_does_not_parse_is_one_clear_failure(toy):
    (toy.folder / "starter.py").write_text("def double(number:\n", encoding="utf-8")
    run = toy.pytest("labs", "-q", LAB_IMPL="starter")
    assert "starter.py line 1: SyntaxError: '(' was never closed" in run.stdout


def test_a_function_that_is_lacking_is_named_by_pytest_too(toy):
    toy.edit("starter.py", "def double(", "def dubble(")
    run = toy.pytest("labs", "-q", LAB_IMPL="starter")
    assert "AttributeError: starter.py has no `double`" in run.stdout
    assert "lab_implementation" not in run.stdout


def test_an_endless_loop_is_a_failure_and_not_a_hang(toy):
    toy.edit(
        "starter.py",
        'raise NotImplementedError("task 1: double a number")',
        ENDLESS,
    )
    run = toy.pytest("labs", "-q", "-k", "test_doubles_nothing", LAB_IMPL="starter")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "stopped after 1 s: is there a loop that never ends?" in run.stdout


def test_each_test_gets_a_module_of_its_own(toy):
    toy.edit("solution.py", "import math", "import math\n\nCALLS = []")
    toy.edit(
        "solution.py",
        "    return number * 2",
        "    CALLS.append(1)\n    return number * len(CALLS) * 2",
    )
    assert toy.pytest("labs", "-q", "-k", "doubles").returncode == 0


def test_gpu_and_model_tests_skip_with_a_reason_and_nothing_else_asks(toy):
    test = toy.folder / "test_lab.py"
    marked = test.read_text(encoding="utf-8") + (
        "\n\n@pytest.mark.gpu\n@pytest.mark.task(1)\ndef test_on_gpu(impl):\n    pass\n"
        "\n\n@pytest.mark.task(1)\ndef test_no_torch(impl):\n"
        "    import sys\n    assert 'torch' not in sys.modules\n"
    )
    test.write_text(marked, encoding="utf-8")
    plain = toy.pytest("labs", "-q", "-m", "not gpu")
    assert plain.returncode == 0, plain.stdout
    both = toy.pytest("labs", "-q", "-rs", "-k", "on_gpu")
    assert "1 skipped" in both.stdout or "1 passed" in both.stdout
