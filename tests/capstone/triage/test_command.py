"""`capstone triage` from the command line."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from capstone import cli
from capstone.records import Journal
from capstone.triage import command
from rich.console import Console

from upstream_anchors.codebase_map.document import header

CASES = Path(command.__file__).with_name("cases")
MANAGER = "vllm/v1/core/kv_cache_manager.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream) -> Path:
    """Three candidates, a list, a map, and a record of its own."""
    monkeypatch.setattr(command, "record_folder", lambda root: tmp_path / ".labs")
    pulls = []
    for number in (43736, 12283, 41951):
        case = json.loads((CASES / f"{number}.json").read_text(encoding="utf-8"))
        (tmp_path / f"{number}.json").write_text(json.dumps(case["issue"]))
        pulls += case["pulls"]
    (tmp_path / "prs.json").write_text(json.dumps(pulls))
    text = (
        f"# Map\n\n{header(('vllm/v1/core',), 'pin')}\n\n### `{MANAGER}`\n\nRole: It hands out.\n"
    )
    (tmp_path / "MAP.md").write_text(text)
    (tmp_path / "answers.toml").write_text("[machine]\ngpu_gib = 0\n")
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    """Everything that a whole run names."""
    issues = [str(folder / f"{n}.json") for n in (41951, 12283, 43736)]
    options = ["--prs", str(folder / "prs.json"), "--map", str(folder / "MAP.md")]
    answers = ["--answers", str(folder / "answers.toml")]
    return ["triage", *issues, *options, *answers, "--today", "2026-05-28", *more]


def test_a_whole_run(folder: Path, capsys) -> None:
    assert cli.main(arguments(folder)) == 0
    shown = capsys.readouterr().out
    assert "1. #43736 survives, cost" in shown
    assert "✗ claimed" in shown
    assert "still to do: see it fail on your own machine" in shown
    assert "2 rejected, at 0.0 minutes each on average." in shown
    kept = Journal(folder / ".labs" / "journal.jsonl").read()
    assert [e["check"] for e in kept if e["issue"] == 43736] == [
        *command.run_gauntlet.__globals__["CHECKS"]
    ]


def test_no_survivor_is_exit_one(folder: Path, capsys) -> None:
    assert cli.main(["triage", str(folder / "41951.json"), *arguments(folder)[4:]]) == 1
    shown = capsys.readouterr().out
    assert "1 given; the lab compares 3." in shown
    assert "None survives." in shown


def test_without_a_list_nothing_is_free(folder: Path, capsys) -> None:
    given = [a for a in arguments(folder) if a not in {"--prs", str(folder / "prs.json")}]
    assert cli.main(given) == 1
    assert "no list of open pull requests was given" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda f: (f / "43736.json").write_text("<html>"), "a web page"),
        (lambda f: (f / "prs.json").write_text("{}"), "expected the list"),
        (lambda f: (f / "MAP.md").write_text("# Notes"), "not a map"),
        (lambda f: (f / "answers.toml").write_text("x = 1"), r"[x] is unknown"),
    ],
)
def test_files_that_cannot_be_used_end_it_before_anything_is_kept(
    folder: Path, capsys, change, complaint: str
) -> None:
    change(folder)
    assert cli.main(arguments(folder)) == 2
    assert complaint in capsys.readouterr().err
    assert not (folder / ".labs").exists()


def test_usage_errors(folder: Path, capsys) -> None:
    assert cli.main(["triage"]) == 2
    assert "no issue given" in capsys.readouterr().err
    assert cli.main([*arguments(folder), "--today", "May"]) == 2
    assert "expected a day such as 2026-05-28" in capsys.readouterr().err
    twice = ["triage", str(folder / "43736.json"), *arguments(folder)[1:]]
    assert cli.main(twice) == 2
    assert "an issue is given twice" in capsys.readouterr().err
    assert cli.main(["triage", "--commands", "abc"]) == 2


def test_the_commands_are_printed_without_a_tree(capsys, monkeypatch) -> None:
    monkeypatch.setattr(command, "need_tree", None)
    assert cli.main(["triage", "--commands", "#43736"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("gh issue view 43736 ")


def test_the_machine_is_asked_for_once(folder: Path, monkeypatch, capsys) -> None:
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return "0" if "GiB" in question else ""

    monkeypatch.setattr(command, "_asker", lambda console: ask)
    given = [a for a in arguments(folder) if a not in {"--answers", str(folder / "answers.toml")}]
    assert cli.main(given) == 0
    assert cli.main(given) == 0
    assert sum("GiB" in question for question in asked) == 1
    assert any("seen it fail" in question for question in asked)


def test_a_question_is_shown_as_it_stands(monkeypatch) -> None:
    console = Console(file=StringIO(), force_terminal=True, markup=False, highlight=False)
    monkeypatch.setattr("builtins.input", lambda *_: "no")
    ask = command._asker(console)
    assert ask is not None
    question = "#1: `[/INST]` :bug: does it fix the same thing? [yes/no] "
    assert ask(question) == "no"
    assert console.file.getvalue() == question


def test_a_memory_that_is_no_number_is_named(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(command, "_asker", lambda console: lambda question: "80 GB")
    given = [a for a in arguments(folder) if a not in {"--answers", str(folder / "answers.toml")}]
    assert cli.main(given) == 2
    assert "GPU memory is '80 GB', expected GiB of GPU memory" in capsys.readouterr().err
    assert not (folder / ".labs" / "machine.json").exists()


def test_the_agreement_is_shown_with_its_misses(upstream, capsys) -> None:
    assert cli.main(["triage", "--agreement"]) == 0
    shown = capsys.readouterr().out
    assert "tuned on: " in shown
    assert "held out: " in shown
    assert "#23347: a person said survives" in shown


def test_the_session_that_the_lab_shows_is_what_is_printed(folder: Path, capsys) -> None:
    said = {41951: {"claimed": 2}, 12283: {"claimed": 3, "reproducible": 1, "map": 2}}
    said[43736] = {"claimed": 4, "reproducible": 12, "map": 1, "testable": 2, "reviewable": 3}
    tables = [
        f"[issue.{n}.minutes]\n" + "".join(f"{k} = {v}\n" for k, v in t.items())
        for n, t in said.items()
    ]
    text = "[machine]\ngpu_gib = 0\n[issue.43736]\nlines = 60\n" + "\n".join(tables)
    (folder / "answers.toml").write_text(text)
    assert cli.main(arguments(folder)) == 0
    line = "$ capstone triage 41951.json 12283.json 43736.json --prs prs.json --map MAP.md"
    shown = f"{line} --answers answers.toml --today 2026-05-28\n{capsys.readouterr().out}"
    kept = CASES.parent / "session.txt"
    assert shown == kept.read_text(encoding="utf-8"), shown
