"""The lock notices every way in which book, tree and lock can disagree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from upstream_anchors.book_anchors import BookReport, check_book, relock_book
from upstream_anchors.errors import AnchorError, TreeError
from upstream_anchors.lock import Lock
from upstream_anchors.pin import Pin
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import Tree

CORE = "vllm/engine/core.py"
STEP = f"{CORE}#Core.step"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of one page with three anchors."""
    root = tmp_path / "book-root"
    root.mkdir()
    (root / "index.md").write_text(f'{{up}}`{STEP}`, {{up}}`{CORE}`, {{up}}`log:"blocks left"`\n')
    return root


@pytest.fixture
def check(pin: Pin, tree: Tree, book: Path, tmp_path: Path):
    """Check the book against a freshly opened tree."""

    def run() -> BookReport:
        return check_book(pin, Tree(tree.root), book, tmp_path / "lock.json")

    return run


@pytest.fixture
def relock(pin: Pin, tree: Tree, book: Path, tmp_path: Path):
    """Make the lock anew from a freshly opened tree."""

    def run() -> BookReport:
        return relock_book(pin, Tree(tree.root), book, tmp_path / "lock.json")

    return run


def edit(tree: Tree, path: str, old: str, new: str) -> None:
    """Replace text in a file of the tree."""
    file = tree.root / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_fresh_lock_passes_its_own_check(check, relock) -> None:
    assert any("not in the lock" in problem for problem in check().problems)
    assert len(relock().changes) == 3
    assert check().problems == []
    assert relock().changes == []


def test_the_lock_is_sorted_one_anchor_a_line(relock, tmp_path: Path) -> None:
    relock()
    lines = (tmp_path / "lock.json").read_text().splitlines()
    keys = [line.split('": {')[0] for line in lines[3:-2]]
    assert len(keys) == 3
    assert keys == sorted(keys)
    assert json.loads("\n".join(lines))["anchors"][STEP]["symbol"] == "Core.step"


def test_the_lock_holds_no_text_of_the_tree(relock, tmp_path: Path) -> None:
    relock()
    assert "prepare()" not in (tmp_path / "lock.json").read_text()


def test_lines_that_moved_are_drift(check, relock, tree: Tree) -> None:
    relock()
    edit(tree, CORE, '"""The core."""', '"""The core."""\n\nimport os')
    problems = "\n".join(check().problems)
    assert f"differs from the lock: {STEP}: moved from" in problems
    assert "used in index.md, line 1" in problems


def test_a_body_that_changed_in_place_is_drift(check, relock, tree: Tree) -> None:
    relock()
    edit(tree, CORE, "value = prepare()", "value = pretend()")
    assert any(f"{STEP}: its text changed" in problem for problem in check().problems)


def test_an_anchor_that_vanished_is_a_problem(check, relock, tree: Tree) -> None:
    relock()
    edit(tree, CORE, "def step():", "def stride():")
    report = check()
    assert any("does not resolve" in problem and STEP in problem for problem in report.problems)


def test_an_anchor_that_nothing_uses_is_stale(check, relock, book: Path) -> None:
    relock()
    (book / "index.md").write_text(f"{{up}}`{STEP}`\n")
    stale = [p for p in check().problems if "nothing uses it" in p]
    assert len(stale) == 2
    assert {change[0] for change in relock().changes} == {"-"}


def test_an_edited_file_of_a_checkout_is_a_problem(
    pin: Pin, tree: Tree, book: Path, tmp_path: Path, relock
) -> None:
    relock()
    edited = Tree(tree.root, origin="checkout", edited=(CORE, "vllm/other.py"))
    problems = check_book(pin, edited, book, tmp_path / "lock.json").problems
    assert [problem for problem in problems if "edited in this checkout" in problem] == [
        f"edited in this checkout, so its lines are not the pin's: {CORE}"
    ]


def test_one_wrong_anchor_does_not_hold_up_the_others(relock, book: Path, tmp_path: Path) -> None:
    page = book / "index.md"
    page.write_text(page.read_text() + "{up}`nowhere.py`\n")
    report = relock()
    assert len(report.problems) == 1
    assert len(report.changes) == 3


def test_a_lock_of_another_pin_is_refused(relock, pin: Pin, tmp_path: Path) -> None:
    relock()
    file = tmp_path / "lock.json"
    file.write_text(file.read_text().replace("9.9.9", "9.9.8"))
    with pytest.raises(TreeError, match=r"9\.9\.8"):
        Lock.load(pin, file)
    assert relock().problems == []  # and making it anew is the way out


def test_the_lock_answers_without_a_tree(relock, pin: Pin, tmp_path: Path, tree: Tree) -> None:
    relock()
    lock = Lock.load(pin, tmp_path / "lock.json")
    assert lock.resolve(STEP) == Resolver(tree, pin).resolve(STEP)
    with pytest.raises(AnchorError, match="not in the lock"):
        lock.resolve(f"{CORE}#Core.get")


def test_a_locked_log_line_is_searched_again_only_when_it_moved(
    relock, pin: Pin, tmp_path: Path, tree: Tree
) -> None:
    relock()
    lock = Lock.load(pin, tmp_path / "lock.json")
    still = Resolver(Tree(tree.root), pin, lock)
    assert still.resolve('log:"blocks left"').start == 1
    assert list(still.tree._lines) == ["vllm/logs.py"]
    edit(tree, "vllm/logs.py", "logger.info(", "\nlogger.info(")
    moved = Resolver(Tree(tree.root), pin, lock)
    assert moved.resolve('log:"blocks left"').start == 2


def test_with_the_lock_nothing_is_parsed_until_the_lines_differ(
    pin: Pin, tree: Tree, relock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relock()
    lock = Lock.load(pin, tmp_path / "lock.json")
    parsed: list[str] = []
    table = Resolver.table
    monkeypatch.setattr(
        Resolver, "table", lambda self, path: parsed.append(path) or table(self, path)
    )
    assert Resolver(Tree(tree.root), pin, lock).resolve(STEP) == lock.resolve(STEP)
    assert parsed == []
    edit(tree, CORE, '"""The core."""\n', '"""The core."""\n\n\n')
    moved = Resolver(Tree(tree.root), pin, lock).resolve(STEP)
    assert moved.start == lock.resolve(STEP).start + 2
    assert CORE in parsed
