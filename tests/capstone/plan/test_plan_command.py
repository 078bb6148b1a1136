"""The command: drafts, checks, exit codes, files left alone, errors that name file and place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from capstone import cli
from capstone.plan.frame import read_issue
from capstone.plan.rules import RULES
from capstone.plan.upstream import Upstream
from plan_documents import GOOD, HERE, good


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_tree(upstream, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Upstream, "open", lambda: upstream)  # walked once, not for each call


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit status, output, errors of `capstone plan`."""
    status = cli.main(["plan", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_every_rule_with_an_anchor_leads_to_the_line_that_demands_it(upstream) -> None:
    for rule, anchor in RULES.items():
        if anchor:
            assert upstream.find(anchor).path == anchor.split("#")[0].split("@")[0], rule


def test_the_rules_of_comment_description_and_branch_have_anchors() -> None:
    own = {"comment-length", "comment-question"}
    for rule, anchor in RULES.items():
        if rule.startswith(("comment-", "pr-", "branch-")) and rule not in own:
            assert anchor, rule


def test_a_complaint_names_file_line_rule_and_who_asks(capsys, tmp_path) -> None:
    path = tmp_path / "plan.md"
    text = good("plan-min-tokens.md").replace("[Bugfix][Core]", "[Fix]")
    path.write_text(text)
    status, out, _ = run(capsys, "check", str(path))
    line = text.split("\n").index("Prefix: [Fix]") + 1
    assert status == 1
    assert out.startswith(f"{path}:{line}: prefix: `Prefix:` [Fix] is no prefix of the guide")
    assert "[asked by docs/contributing/README.md, line " in out
    assert out.endswith(f"{path}: 1 complaint\n")


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_check_changes_no_file(capsys, tmp_path, path: Path) -> None:
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    before = copy.stat().st_mtime_ns, sorted(tmp_path.iterdir())
    action = {"plan": "check", "comm": "comment"}.get(path.name[:4], "pr")
    status, out, _ = run(capsys, action, str(copy))
    assert (status, "nothing to complain of" in out) == (0, True)
    assert (copy.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("action", ["check", "comment", "pr"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"just words\nand more", "no heading in 2 lines"),
        (b"```\n# a comment of a shell\n```\n", "no heading"),
        (b"# Plan: caf\xe9\n", "not UTF-8 text (byte 11 is 0xe9)"),
    ],
)
def test_what_is_no_document_is_refused(capsys, tmp_path, action, content, says) -> None:
    path = tmp_path / "file.md"
    path.write_bytes(content)
    status, out, err = run(capsys, action, str(path))
    assert (status, out) == (2, "")
    assert str(path) in err
    assert says in err


def test_a_file_that_is_not_there(capsys, tmp_path) -> None:
    assert "no such file" in run(capsys, "check", "plan.md")[2]
    assert "`--plan PLAN.md` drafts one" in run(capsys, "comment", "c.md")[2]
    assert "a folder" in run(capsys, "check", str(tmp_path))[2]


def test_a_mark_of_byte_order_and_other_line_ends_are_read(capsys, tmp_path) -> None:
    path = tmp_path / "plan.md"
    path.write_bytes(b"\xef\xbb\xbf" + good("plan-evict.md").replace("\n", "\r\n").encode())
    assert run(capsys, "check", str(path))[0] == 0


def test_new_reads_an_issue_and_overwrites_nothing(capsys, tmp_path) -> None:
    issue = tmp_path / "issue.json"
    issue.write_text(json.dumps({"number": 90001, "title": "min_tokens  never ends", "body": "x"}))
    arguments = [
        "new",
        "plan.md",
        "--issue",
        str(issue),
        "--from",
        "docs/contributing/README.md#Issues",
    ]
    assert run(capsys, *arguments)[0] == 0
    text = (tmp_path / "plan.md").read_text()
    assert text.startswith("# Plan: min_tokens never ends\n\nIssue: #90001\n")
    assert "`docs/contributing/README.md#Issues`: TODO(you)" in text
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert "is there already" in err
    assert (tmp_path / "plan.md").read_text() == text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "found a list"),
        ({"title": "x"}, "'number' is None; expected int"),
        ({"number": "7", "title": "x"}, "'number' is '7'; expected int"),
        ({"number": True, "title": "x"}, "'number' is True"),
        ({"number": 7, "title": 8}, "'title' is 8; expected str"),
    ],
)
def test_a_malformed_export_says_which_field(data, says) -> None:
    with pytest.raises(ValueError) as error:
        read_issue(data, "issue.json")
    assert "issue.json" in str(error.value)
    assert says in str(error.value)


def test_a_target_that_is_wrong_lists_what_is_near(capsys) -> None:
    status, _, err = run(capsys, "new", "--from", "vllm/v1/request.py#Request.num_token")
    assert status == 2
    assert "nearest: vllm/v1/request.py#Request.num_tokens" in err


def test_comment_and_description_are_drafted_and_then_held_to_the_plan(capsys, tmp_path) -> None:
    shutil.copy(HERE / "good" / "plan-min-tokens.md", tmp_path / "plan.md")
    for action in ("comment", "pr"):
        name = f"{action}.md"
        status, out, _ = run(capsys, action, name, "--plan", "plan.md")
        assert (status, out.startswith(f"{name}: a draft of")) == (0, True)
        text = (tmp_path / name).read_text()
        assert "90001" in text
        run(capsys, action, name, "--plan", "plan.md")
        assert (tmp_path / name).read_text() == text


def test_a_branch_is_asked_for_with_the_description(capsys, tmp_path) -> None:
    shutil.copy(HERE / "good" / "pr-min-tokens.md", tmp_path / "pr.md")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    status, _, err = run(capsys, "pr", "pr.md", "--branch", "fix", "--repository", str(folder))
    assert status == 2
    assert "not a git repository" in err
