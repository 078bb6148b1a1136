"""The commits of a branch: good ones, and one defect at a time, in repositories made for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.plan.branch import Branch, check_branch
from capstone.plan.markdown import Document
from capstone.plan.one_pager import Plan
from plan_documents import good

ME = "Ada L <ada@example.org>"
SIGNED = f"Signed-off-by: {ME}"
MORE = f"More of it\n\n{SIGNED}"
CODE = "vllm/v1/core/sched/utils.py"
TEST = "tests/v1/core/test_scheduler.py"


@pytest.fixture
def plan() -> Plan:
    """The plan that the branches are held to: 70 lines in two files."""
    return Plan(Document(good("plan-min-tokens.md")))


def git(folder: Path, *arguments: str) -> None:
    """Run git with a name of its own, whatever this machine's settings are."""
    settings = ["user.name=Ada L", "user.email=ada@example.org", "commit.gpgsign=false"]
    options = [word for one in settings for word in ("-c", one)]
    command = ["git", "-C", str(folder), *options, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def repository(folder: Path, commits: list[tuple[str, dict[str, int]]]) -> Path:
    """A repository whose branch `fix` has these commits: message, and lines to add per file."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", f"start\n\n{SIGNED}")
    git(folder, "checkout", "-q", "-b", "fix")
    for number, (message, files) in enumerate(commits):
        for name, count in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write("".join(f"line {number} {i}\n" for i in range(count)))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return folder


FIX = (f"Test the length first\n\n{SIGNED}", {CODE: 15})
TESTS = (f"Test of the order\n\nCo-authored-by: an assistant\n{SIGNED}", {TEST: 55})


@pytest.mark.parametrize(
    ("commits", "helped"),
    [
        ([FIX, TESTS], True),
        ([FIX, TESTS], False),
        ([(f"All of it\n\n{SIGNED}", {CODE: 40, TEST: 60})], False),
        (
            [
                FIX,
                TESTS,
                (f"After review\n\nSigned-off-by: Bo <bo@example.org>\n{SIGNED}", {CODE: 2}),
            ],
            True,
        ),
    ],
)
def test_a_good_branch_is_not_complained_of(tmp_path, plan, commits, helped) -> None:
    branch = Branch.read(repository(tmp_path, commits), "fix", "main")
    assert list(check_branch(branch, plan, ai_helped=helped)) == []


@pytest.mark.parametrize(
    ("rule", "says", "commits"),
    [
        ("branch-sign-off", "`git rebase --signoff main` adds it", [FIX, ("Tests", {TEST: 55})]),
        ("branch-sign-off", "has no Signed-off-by", [("Fix\n\nSigned-off: Ada", {CODE: 9}), TESTS]),
        (
            "branch-sign-off",
            "its author is ada@example.org",
            [FIX, ("Tests\n\nSigned-off-by: Bo <bo@example.org>", {TEST: 55})],
        ),
        ("branch-scope", "README.md is not in the plan", [FIX, TESTS, (MORE, {"README.md": 1})]),
        (
            "branch-scope",
            "scheduler.py is not in",
            [FIX, TESTS, (MORE, {"vllm/v1/core/sched/scheduler.py": 3})],
        ),
        ("branch-test", "is unchanged", [FIX]),
        ("branch-size", "120 lines changed, 70 were planned", [FIX, (MORE, {TEST: 105})]),
        ("branch-empty", "no commit of its own", []),
    ],
)
def test_a_defect_of_a_branch_yields_its_complaint(tmp_path, plan, rule, says, commits) -> None:
    branch = Branch.read(repository(tmp_path, commits), "fix", "main")
    found = list(check_branch(branch, plan, ai_helped=False))
    assert {complaint.rule for complaint in found} == {rule}
    assert says in found[0].text


def test_help_that_no_commit_tells_of(tmp_path, plan) -> None:
    branch = Branch.read(
        repository(tmp_path, [FIX, (f"Tests\n\n{SIGNED}", {TEST: 55})]), "fix", "main"
    )
    assert [c.rule for c in check_branch(branch, plan, ai_helped=True)] == ["branch-trailer"]
    assert list(check_branch(branch, plan, ai_helped=False)) == []


def test_what_main_did_meanwhile_is_not_the_branchs(tmp_path, plan) -> None:
    folder = repository(tmp_path, [FIX, TESTS])
    git(folder, "checkout", "-q", "main")
    (folder / "other.py").write_text("x\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Not signed off, and not ours")
    branch = Branch.read(folder, "fix", "main")
    assert list(check_branch(branch, plan, ai_helped=True)) == []


def test_names_with_blanks_and_other_letters_and_binary_files(tmp_path) -> None:
    folder = repository(tmp_path, [(f"Odd\n\n{SIGNED}", {"a b/ü.py": 2})])
    (folder / "picture.png").write_bytes(b"\0\1\2")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", MORE)
    assert Branch.read(folder, "fix", "main").changed == {"a b/ü.py": 2, "picture.png": 0}


def test_no_repository_no_branch_no_base(tmp_path) -> None:
    with pytest.raises(CapstoneError, match="not a git repository"):
        Branch.read(tmp_path, "fix", "main")
    repository(tmp_path, [FIX])
    with pytest.raises(CapstoneError, match="no branch or commit 'fox'"):
        Branch.read(tmp_path, "fox", "main")
    with pytest.raises(CapstoneError, match="no branch or commit 'master'"):
        Branch.read(tmp_path, "fix", "master")
    with pytest.raises(CapstoneError, match="is no name of a branch"):
        Branch.read(tmp_path, "--output=x", "main")
