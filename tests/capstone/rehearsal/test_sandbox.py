"""The sandbox is a copy, is checked against what was copied, and touches nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from capstone.cli import main
from capstone.errors import CapstoneError
from capstone.rehearsal import command, regression, repair, reproduction, sandbox, steps, worker
from capstone.rehearsal.inside import variants
from capstone.rehearsal.workshop import Workshop

from upstream_anchors import importing
from upstream_anchors.tree import Tree


@pytest.fixture
def upstream(tmp_path) -> Tree:
    root = tmp_path / "upstream"
    for name in ("vllm/a.py", "tests/v1/core/test_a.py", "AGENTS.md", "vllm/lib.so"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def test_old():\n    assert 1\n", "utf-8")
    return Tree(root)


@pytest.fixture
def shop(tmp_path, upstream) -> Workshop:
    made = Workshop(tmp_path / "labs" / "rehearsal", tmp_path)
    sandbox.make(made, upstream)
    return made


def _files(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_nothing_outside_its_folder_is_written(tmp_path, upstream) -> None:
    before = _files(tmp_path)
    shop = Workshop(tmp_path / "labs" / "rehearsal", tmp_path)
    sandbox.make(shop, upstream)
    outside = {k: v for k, v in _files(tmp_path).items() if str(shop.folder) not in k}
    assert outside == before
    assert not (shop.tree / "vllm" / "lib.so").exists()


def test_an_edited_pin_and_a_second_start_are_refused(tmp_path, upstream, shop) -> None:
    with pytest.raises(CapstoneError, match="there is a sandbox already"):
        sandbox.make(shop, upstream)
    edited = Tree(upstream.root, origin="checkout", edited=("vllm/a.py",))
    with pytest.raises(CapstoneError, match=r"vllm/a\.py edited"):
        sandbox.make(Workshop(tmp_path / "other", tmp_path), edited)


def test_a_moved_pin_is_refused(shop) -> None:
    sandbox.verify(shop)
    (shop.tree / "vllm" / "a.py").write_text("changed = 1\n", "utf-8")
    git = ["git", "-C", str(shop.tree), "-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run([*git, "commit", "-qam", "mine"], check=True)
    sandbox.verify(shop)
    subprocess.run([*git, "tag", "-f", "pin"], check=True, capture_output=True)
    with pytest.raises(CapstoneError, match="the comparison needs the pin itself"):
        sandbox.verify(shop)


def test_without_a_repository_git_does_not_answer_for_the_one_around(tmp_path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    shop = Workshop(tmp_path / "here", tmp_path)
    (shop.tree / ".git").mkdir(parents=True)
    shop.journal.append(event="start", tree="0")
    with pytest.raises(CapstoneError, match="`git rev-parse` failed"):
        sandbox.verify(shop)


def test_changes_count_committed_and_new_files(shop) -> None:
    (shop.tree / "vllm" / "a.py").write_text("changed = 1\n", "utf-8")
    (shop.tree / "tests" / "v1" / "core" / "test_b.py").write_text("def test_b(): ...\n", "utf-8")
    found = {change.path: (change.added, change.removed) for change in sandbox.changes(shop)}
    assert found == {"vllm/a.py": (1, 2), "tests/v1/core/test_b.py": (1, 0)}
    assert regression.new_tests(shop) == (["tests/v1/core/test_b.py::test_b"], [])


def test_a_test_of_the_pin_that_was_changed_is_named(shop) -> None:
    path = shop.tree / "tests" / "v1" / "core" / "test_a.py"
    path.write_text("def test_old():\n    assert True\n", "utf-8")
    assert regression.new_tests(shop) == ([], ["tests/v1/core/test_a.py::test_old"])
    path.write_text("def test_old(:\n", "utf-8")
    with pytest.raises(CapstoneError, match=r"test_a\.py:1: not Python"):
        regression.new_tests(shop)


def test_put_aside_loses_nothing(shop) -> None:
    shop.paper("plan.md").write_text("mine", "utf-8")
    aside = sandbox.put_aside(shop)
    assert (aside / "plan.md").read_text("utf-8") == "mine"
    assert not shop.folder.exists()
    assert sandbox.put_aside(shop) is None


def test_start_forgets_what_passed_before(shop) -> None:
    shop.journal.append(event="check", step="plan", passed=True)
    assert set(steps.passed(shop)) == {"plan"}
    shop.journal.append(event="start", tree="x")
    assert steps.passed(shop) == {}


def _commit(shop: Workshop) -> None:
    git = ["git", "-C", str(shop.tree), "-c", "user.name=x", "-c", "user.email=x@localhost"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "-qm", "mine"], check=True)


def test_a_step_that_passed_on_something_else_is_outdated(shop, capsys, monkeypatch) -> None:
    code = shop.tree / "vllm" / "a.py"
    test = shop.tree / "tests" / "v1" / "core" / "test_b.py"
    code.write_text("repaired = 1\n", "utf-8")
    test.write_text("def test_b(): ...\n", "utf-8")
    for step in steps.STEPS[3:7]:
        shop.journal.append(event="check", step=step.name, passed=True, of=step.of(shop))
    assert steps.outdated(shop) == []
    _commit(shop)
    assert steps.outdated(shop) == [], "a commit changes nothing that was looked at"
    code.write_text("repaired = 0\n", "utf-8")
    assert steps.outdated(shop) == ["fix", "after"]
    _commit(shop)
    assert steps.outdated(shop) == ["fix", "after"]
    test.write_text("def test_b(): return\n", "utf-8")
    assert steps.outdated(shop) == ["test", "fix", "after"]
    shop.journal.append(event="check", step="plan", passed=True, of="a plan that is gone")
    monkeypatch.setattr(command.Workshop, "of", lambda: shop)
    assert main(["rehearse", "status"]) == 0
    shown = capsys.readouterr().out
    assert "6 fix        changed" in shown
    assert "5 baseline   passed" in shown
    assert "then `capstone rehearse check reproduce`" in shown
    assert steps.outdated(shop)[0] == "plan"


def test_a_step_names_what_is_missing_before_it() -> None:
    describe = steps.BY_NAME["describe"]
    assert steps.missing_before(describe, {}) == [s.name for s in steps.STEPS[:-1]]
    assert steps.missing_before(describe, {s.name: {} for s in steps.STEPS[:6]}) == ["after"]


def _row(**changes) -> dict:
    row = {"request": "r", "status": "RUNNING", "num_tokens": 8, "num_computed_tokens": 7}
    return row | {"max_model_len": 8, "given": 0} | changes


def test_only_a_token_owed_and_not_given_counts() -> None:
    assert len(reproduction.stuck({"rows": [_row()] * 5})[1]) == 5
    assert reproduction.stuck({"rows": [_row(num_computed_tokens=8)] * 5})[1] == []
    assert reproduction.stuck({"rows": [_row(num_tokens=7, num_computed_tokens=6)] * 5})[1] == []
    assert len(reproduction.stuck({"rows": [*[_row()] * 5, _row(given=1), _row()]})[1]) == 1
    assert reproduction.stuck({"rows": [_row()] * 5, "ends": {"r": {}}})[1] == []


def test_a_repair_of_the_pin_itself_is_refused(shop, upstream) -> None:
    sandbox.need_clean_pin(shop, upstream)
    path = upstream.root / "tests" / "v1" / "core" / "test_a.py"
    path.write_text("def test_old():\n    assert 2\n", "utf-8")
    with pytest.raises(CapstoneError, match=r"tests/v1/core/test_a\.py edited.*into the sandbox"):
        sandbox.need_clean_pin(shop, upstream)
    path.unlink()
    with pytest.raises(CapstoneError, match=r"test_a\.py edited"):
        sandbox.need_clean_pin(shop, upstream)


def test_a_baseline_that_departs_from_the_record_says_why() -> None:
    outcomes = {f"tests/t.py::test_{n}": "passed" for n in range(repair.RECORDED)}
    assert repair.departures({"outcomes": outcomes}) == []
    outcomes["tests/t.py::test_3"] = "failed"
    (line,) = repair.departures({"outcomes": outcomes, "why": {"tests/t.py::test_3": "no model"}})
    assert line.startswith("failed here")
    assert line.endswith("t.py::test_3: no model")
    del outcomes["tests/t.py::test_3"]
    assert "126 tests were found" in repair.departures({"outcomes": outcomes})[0]


def test_a_function_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="no part gate"):
        variants.parts_of("def check_stop(request, n):\n    x = 1\n    return False\n")
    with pytest.raises(ValueError, match="not one function"):
        variants.parts_of("x = 1\n")


def test_a_damaged_journal_line_is_left_out(shop) -> None:
    shop.journal.append(event="check", step="plan", passed=True)
    with shop.journal.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": "check"})[:9])
    assert set(steps.passed(shop)) == {"plan"}


def test_an_interrupted_worker_leaves_nothing_running_and_can_be_run_again(
    tmp_path, shop, monkeypatch
) -> None:
    """Ctrl+C in the middle of a step; what the learner's script had started goes as well."""
    child = "import os, time; open('child', 'w').write(str(os.getpid())); time.sleep(60)"
    (tmp_path / "slow.py").write_text(
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "time.sleep(60 if sys.argv[2] == 'slow' else 0)\n",
        "utf-8",
    )
    monkeypatch.setattr(worker, "INSIDE", tmp_path)
    monkeypatch.setattr(Workshop, "need_packages", lambda self: None)
    monkeypatch.setattr(Workshop, "python", lambda self: sys.executable)
    started = shop.hub / "child"

    def interrupt_once_it_runs(*_) -> None:
        if started.is_file() and started.read_text("utf-8"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    told = signal.signal(signal.SIGALRM, interrupt_once_it_runs)
    before = shop.journal.read()
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            worker.work(shop, "slow.py", "slow", limit=30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, told)
    pid = int(started.read_text("utf-8"))
    for _ in range(100):
        if not _runs(pid):
            break
        time.sleep(0.02)
    assert not _runs(pid)
    assert shop.journal.read() == before
    assert worker.work(shop, "slow.py", "quick", limit=30).status == 0


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_worker_imports_the_tools_own_anchors(shop, tmp_path, monkeypatch) -> None:
    """Where nothing is installed as well: without `site` there is the path alone."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    tell = "import upstream_anchors.importing as here; print(here.__file__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", tell],
        cwd=tmp_path,
        env=shop.environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == importing.__file__, done.stderr
