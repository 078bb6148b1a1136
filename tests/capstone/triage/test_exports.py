"""Exports that are not what `gh` prints are refused, with the file, the field and the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.triage.answers import read_answers
from capstone.triage.exports import ISSUE_FIELDS, PULL_FIELDS, commands, read_issue, read_pulls
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "empty; `gh` printed nothing"),
        ("<!DOCTYPE html><html></html>", "a web page, expected the JSON"),
        ('{"number": 1, "title": "cut', "cut short at line 1, column 24"),
        ("number: 1", "not JSON at line 1, column 1"),
        ("[]", "a list, expected one issue"),
        ('"text"', "text, expected an object"),
    ],
)
def test_files_that_are_no_export(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "issue.json"
    path.write_text(content)
    with pytest.raises(CapstoneError) as refused:
        read_issue(path)
    assert complaint in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(CapstoneError, match="gh issue view N --json number,title"):
        read_issue(tmp_path / "none.json")


@pytest.mark.parametrize("name", ISSUE_FIELDS)
def test_a_field_left_out_is_named(tmp_path: Path, export, name: str) -> None:
    data = export()
    del data[name]
    path = tmp_path / "issue.json"
    path.write_text(json.dumps(data))
    with pytest.raises(CapstoneError, match=f"no field '{name}'; name it after --json"):
        read_issue(path)


@pytest.mark.parametrize("name", ISSUE_FIELDS)
def test_a_field_of_another_type_is_named(tmp_path: Path, export, name: str) -> None:
    path = tmp_path / "issue.json"
    path.write_text(json.dumps(export(**{name: None})))
    with pytest.raises(CapstoneError, match=f"{name} is null, expected"):
        read_issue(path)


def test_a_comment_that_lacks_a_field_is_counted(tmp_path: Path, export, comment) -> None:
    broken = comment("x")
    del broken["createdAt"]
    path = tmp_path / "issue.json"
    path.write_text(json.dumps(export(comments=[comment("x"), broken])))
    with pytest.raises(CapstoneError, match="comment 2: no field 'createdAt'"):
        read_issue(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"url": "https://github.com/vllm-project/vllm/pull/100"}, "is a pull request"),
        ({"url": "https://github.com/other/tool/issues/100"}, "is not in vllm-project/vllm"),
        ({"createdAt": "yesterday"}, "expected a time such as"),
        ({"number": True}, "number is true or false, expected a number"),
        ({"labels": ["bug"]}, "labels: text, expected an object"),
    ],
)
def test_values_that_cannot_be(tmp_path: Path, export, changes: dict, complaint: str) -> None:
    path = tmp_path / "issue.json"
    path.write_text(json.dumps(export(**changes)))
    with pytest.raises(CapstoneError, match=complaint):
        read_issue(path)


def test_a_list_of_pull_requests_must_be_one(tmp_path: Path, pull, export) -> None:
    path = tmp_path / "prs.json"
    path.write_text(json.dumps(export()))
    with pytest.raises(CapstoneError, match="an object, expected the list"):
        read_pulls(path)
    broken = pull(8)
    del broken["body"]
    path.write_text(json.dumps([pull(7), broken]))
    with pytest.raises(CapstoneError, match="entry 2: no field 'body'"):
        read_pulls(path)
    path.write_text("[]")
    assert read_pulls(path) == []


def test_the_commands_ask_for_every_field_that_is_read() -> None:
    view, by_number, by_area = commands(43736)
    assert view.startswith("gh issue view 43736 --repo vllm-project/vllm --json ")
    assert ",".join(ISSUE_FIELDS) in view
    assert ",".join(PULL_FIELDS) in by_number
    assert '--search "43736 in:body"' in by_number
    assert '--search "<short area keywords>"' in by_area


def test_the_duplicate_commands_are_those_of_upstream(upstream) -> None:
    text = upstream.tree.text("AGENTS.md")
    assert "gh issue view <issue_number> --repo vllm-project/vllm" in text
    assert '--state open --search "<issue_number> in:body"' in text
    assert '--state open --search "<short area keywords>"' in text


@settings(deadline=None)  # it writes files
@given(cut=st.integers(1, 600))
def test_an_export_cut_anywhere_is_refused_or_whole(tmp_path_factory, cut: int) -> None:
    case = Path(__file__).parents[3] / "labs/capstone/triage/cases/43736.json"
    text = json.dumps(json.loads(case.read_text(encoding="utf-8"))["issue"])
    path = tmp_path_factory.mktemp("cut") / "issue.json"
    path.write_text(text[: max(0, len(text) - cut)])
    with pytest.raises(CapstoneError, match=r"cut short|not JSON|empty"):
        read_issue(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("machine = [", "not TOML"),
        ("[pc]\ngpu_gib = 1", r"\[pc\] is unknown"),
        ("[machine]\ngpu_gib = 'big'", "machine.gpu_gib is 'big', expected GiB"),
        ("[issue.abc]\nseen = 'yes'", r"\[issue.abc\] is not an issue's number"),
        ("[issue.1.minutes]\nclaim = 1", "no check claim: claimed, reproducible"),
        ("[issue.1.minutes]\nclaimed = -1", "minutes.claimed is -1"),
    ],
)
def test_answers_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(text)
    with pytest.raises(CapstoneError, match=complaint):
        read_answers(path)
