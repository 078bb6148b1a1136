"""The pin moves on a branch; what is not simply the same is listed once, and no page is touched."""

from __future__ import annotations

import io
import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from upstream_anchors.errors import AnchorError, TreeError
from upstream_anchors.lock import Lock, make_lock
from upstream_anchors.pin import Pin
from upstream_anchors.repin.branch import refuse_unless_clean
from upstream_anchors.repin.command import Plan, carry_out, make_plan
from upstream_anchors.repin.decisions import KINDS
from upstream_anchors.repin.mentions import find_mentions
from upstream_anchors.repin.pin_file import rewritten
from upstream_anchors.resolver import Resolver
from upstream_anchors.scanner import scan_book
from upstream_anchors.spelled import spelled
from upstream_anchors.tree import MARKER, Tree

WANDERS = (
    "def wanders(first, second):\n    total = first * 31 + second\n    for step in range(9):\n"
    "        total = total ^ step\n    return total\n"
)
OLD = {
    "vllm/_version.py": "__version__ = version = '1.0'\n__commit_id__ = commit_id = 'gaaa111'\n",
    "vllm/stays.py": "def same():\n    return 1\n\n\ndef moves():\n    return 2\n",
    "vllm/body.py": (
        "LIMIT: int = 4\n\n\ndef changes(a):\n    total = a + 1\n    return total\n\n\n"
        'def worded():\n    """Old words."""\n    return 3\n'
    ),
    "vllm/old_home.py": WANDERS,
    "vllm/dies.py": "class Dies:\n    def last(self):\n        return 'words of its own'\n",
}
NEW = {
    "vllm/_version.py": "__version__ = version = '2.0'\n__commit_id__ = commit_id = 'gbbb222'\n",
    "vllm/stays.py": "def same():\n    return 1\n\n\nX = 1\n\n\ndef moves():\n    return 2\n",
    "vllm/body.py": (
        "LIMIT: int = 8\n\n\ndef changes(a):\n    total = a + 100\n    return total\n\n\n"
        'def worded():\n    """New words."""\n    return 3\n'
    ),
    "vllm/home/new.py": WANDERS,
}
PAGE = """\
# Page

{up}`vllm/stays.py#same`, {up}`vllm/stays.py#moves` and {up}`vllm/body.py#changes` of release 1.0.
{up}`it is <vllm/body.py#changes@"total = a + 1">`, {up}`vllm/body.py#worded`.
{up}`vllm/old_home.py#wanders` is here, and {up}`again
<vllm/old_home.py#wanders>`; the text `vllm/old_home.py#wanders.inner` is none.
{up}`default:vllm/body.py#LIMIT=4`; {up}`vllm/dies.py#Dies.last`.
"""
ENGINE = 'def f():\n    r"""See {up}`vllm/old_home.py#wanders`."""\n'
PIN_FILE = f"""\
# A comment that stays.
project = "vllm"
version = "1.0"
tag = "v1.0"

# Of the tree.
commit = "aaa111"
sdist_sha256 = "{"1" * 64}"
file_url = "https://example.org/blob/{{tag}}/{{path}}"
folder_url = "https://example.org/tree/{{tag}}/{{path}}"
sdist_only = ["vllm/_version.py"]
"""
PLACES = ("book/page.md", "mini_vllm/engine.py")


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Tree, Tree]:
    """The old release, and the new one as `release_tree` leaves it."""
    release = {"version": "2.0", "commit": "bbb222", "sdist_sha256": "2" * 64}
    new = {**NEW, MARKER: json.dumps(release)}
    return Tree(write(tmp_path / "old", OLD)), Tree(write(tmp_path / "new", new))


@pytest.fixture
def book(tmp_path: Path, trees: tuple[Tree, Tree], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with two sources, a pin and the lock that goes with them."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "somebody@example.org")
    root = write(
        tmp_path / "a book",
        {
            "book/page.md": PAGE,
            "mini_vllm/engine.py": ENGINE,
            "labs/vllm_cpu/requirements.txt": "vllm==1.0\n",
            "UPSTREAM_PIN.md": "The pin is 1.0 at aaa111.\n",
            "book/other.md": "11.0, 1.01 and 1.0.1 are other releases.\n",
            "upstream_anchors/pin.toml": PIN_FILE,
        },
    )
    pin = old_pin(root)
    resolver = Resolver(trees[0], pin)
    targets = sorted({use.target for use in scan_book(root, pin)[0]})
    lock = make_lock(pin, trees[0], [resolver.resolve(target) for target in targets])
    lock.save(root / "upstream_anchors" / "lock.json")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "The book")
    return root


def old_pin(root: Path) -> Pin:
    return Pin.load(root / "upstream_anchors" / "pin.toml")


@pytest.fixture
def plan(book: Path, trees: tuple[Tree, Tree]) -> Plan:
    """What moving would do."""
    return make_plan(old_pin(book), *trees, root=book)


def said(plan: Plan, tree: Tree, root: Path, **how: bool) -> str:
    """Carry a plan out; what it printed."""
    console = Console(file=io.StringIO(), width=200, markup=False, soft_wrap=True)
    carry_out(plan, tree, console, root=root, **how)
    return console.file.getvalue()


def test_each_kind_is_told_from_the_others(plan: Plan) -> None:
    assert {d.target: d.kind for d in plan.move.decisions} == {
        "vllm/old_home.py#wanders": "renamed",
        "vllm/dies.py#Dies.last": "gone",
        'vllm/body.py#changes@"total = a + 1"': "changed",  # the fragment is in `a + 100` as well
        "default:vllm/body.py#LIMIT=4": "broken",
        "vllm/body.py#changes": "changed",
        "vllm/body.py#worded": "reworded",
    }


def test_every_anchor_is_in_the_lock_or_decided_and_none_twice(plan: Plan, book: Path) -> None:
    old = Lock.load(old_pin(book), book / "upstream_anchors" / "lock.json")
    times = Counter(decision.target for decision in plan.move.decisions)
    assert set(times.values()) == {1}
    calm = {f.target for f in plan.fates if f.outcome in {"same", "moved"}}
    assert calm | times.keys() == set(old)
    assert calm <= set(plan.move.lock)
    for decision in plan.move.decisions:
        assert (decision.target in plan.move.lock) == (decision.kind in {"changed", "reworded"})
        assert decision.kind in KINDS


def test_a_suggestion_resolves_and_names_its_uses(plan: Plan, trees: tuple[Tree, Tree]) -> None:
    (renamed,) = plan.move.of_kind("renamed")
    assert renamed.suggestion == "vllm/home/new.py#wanders"
    assert Resolver(trees[1], plan.pin).resolve(renamed.suggestion).start == 1
    assert [(use.file, use.line) for use in renamed.uses] == [
        ("book/page.md", 5),
        ("mini_vllm/engine.py", 2),
    ]
    assert all(d.suggestion is None for d in plan.move.decisions if d is not renamed)


def test_the_pin_moves_on_a_branch_and_no_page_changes(plan, book: Path, trees) -> None:
    text = said(plan, trees[1], book)
    assert git(book, "branch", "--show-current") == "pin-2.0"
    assert git(book, "status", "--porcelain") == ""
    assert git(book, "diff", "--name-only", "main").split("\n") == [
        "upstream_anchors/lock.json",
        "upstream_anchors/pin.toml",
    ]
    new = old_pin(book)
    assert (new.version, new.tag, new.commit, new.sdist_sha256) == (
        "2.0",
        "v2.0",
        "bbb222",
        "2" * 64,
    )
    assert "# A comment that stays." in (book / "upstream_anchors" / "pin.toml").read_text()
    lock = Lock.load(new, book / "upstream_anchors" / "lock.json")
    place = lock.resolve("vllm/stays.py#moves")
    assert (place.start, place.end) == (8, 9)
    assert lock.entries[place.target].sha256 == place.digest(trees[1])
    assert "3 edits that `--apply-renames` would make; none was made" in text


def test_a_dry_run_writes_nothing_and_needs_no_clean_tree(plan, book: Path, trees) -> None:
    (book / "notes.txt").write_text("mine")
    before = git(book, "status", "--porcelain")
    assert "Nothing was written" in said(plan, trees[1], book, dry_run=True, apply_renames=True)
    assert git(book, "status", "--porcelain") == before
    assert git(book, "branch", "--list") == "* main"
    assert [(book / place).read_text() for place in PLACES] == [PAGE, ENGINE]


def test_renames_are_applied_when_asked_and_each_is_printed(plan, book: Path, trees) -> None:
    text = said(plan, trees[1], book, apply_renames=True)
    assert "3 edits made:" in text
    for place in ("book/page.md:5", "book/page.md:6", "mini_vllm/engine.py:2"):
        assert f"{place}: vllm/old_home.py#wanders -> vllm/home/new.py#wanders" in text
    page = PAGE.replace("old_home.py#wanders`", "home/new.py#wanders`")
    page = page.replace("old_home.py#wanders>", "home/new.py#wanders>")
    assert (book / "book" / "page.md").read_text() == page
    assert "vllm/old_home.py#wanders.inner" in page
    lock = Lock.load(old_pin(book), book / "upstream_anchors" / "lock.json")
    assert "vllm/home/new.py#wanders" in lock
    assert git(book, "log", "--format=%s", "main..").split("\n") == [
        "New names of 2.0 in the anchors",
        "Pin vllm 2.0",
    ]
    assert git(book, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda book: (book / "new.txt").write_text("x"), "uncommitted work (new.txt)"),
        (lambda book: (book / "book/page.md").write_text("x"), "uncommitted work (book/page.md)"),
        (lambda book: git(book, "branch", "pin-2.0"), "a branch pin-2.0 already"),
    ],
)
def test_a_dirty_tree_and_a_taken_branch_are_refused(plan, book, trees, spoil, reason: str) -> None:
    spoil(book)
    before = git(book, "status", "--porcelain"), git(book, "branch", "--list")
    with pytest.raises(TreeError) as caught:
        said(plan, trees[1], book)
    assert reason in str(caught.value)
    assert (git(book, "status", "--porcelain"), git(book, "branch", "--list")) == before
    assert old_pin(book).version == "1.0"


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeError):
        refuse_unless_clean(tmp_path, "2.0")


def test_a_lock_of_another_book_is_refused(book: Path, trees) -> None:
    (book / "book" / "page.md").write_text(PAGE + "\n{up}`vllm/body.py`\n")
    with pytest.raises(TreeError, match="1 anchors are not in it and 0"):
        make_plan(old_pin(book), *trees, root=book)


def test_what_names_the_old_release_is_listed_with_what_to_do(book: Path) -> None:
    found = {m.file: (m.lines, m.advice) for m in find_mentions(book, old_pin(book))}
    assert found["UPSTREAM_PIN.md"] == ((1,), "text that names the release")
    assert found["book/page.md"][0] == (3,)
    assert found["labs/vllm_cpu/requirements.txt"][1].startswith("the environment of real vLLM")
    assert "book/other.md" not in found
    assert not {"upstream_anchors/pin.toml", "upstream_anchors/lock.json"} & found.keys()


@pytest.mark.parametrize("spoiled", [PIN_FILE.replace("commit", "comit"), PIN_FILE * 2])
def test_a_pin_file_of_another_form_is_refused(plan: Plan, spoiled: str) -> None:
    with pytest.raises(TreeError, match="should have one"):
        rewritten(spoiled, plan.pin)


TARGET = st.sampled_from(["a/b.py", "a/b.py#C", "a/b.py#C.d", 'a/b.py#C@"x = 1"', "a/b.py#C.d_e"])


@given(wanted=TARGET, others=st.lists(TARGET, max_size=6))
def test_only_the_whole_target_is_edited(wanted: str, others: list[str]) -> None:
    from upstream_anchors.target import Target

    try:
        Target.parse(wanted)
    except AnchorError:  # pragma: no cover
        return
    text = " and ".join(f"{{up}}`{target}`, {{up}}`so <{target}>`." for target in others)
    found = spelled(wanted).findall(text)
    assert len(found) == 2 * others.count(wanted)
