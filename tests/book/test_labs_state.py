"""What the pages are told of the `labs` command's record: exactly that, and never an exception."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labkit.state import State

from book.labs_state import labs_state

LAB = """title = "A lab"
tag = "CPU-OK"
minutes = 30
competency = 1
tasks = ["one", "two", "three"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of two labs that nobody has begun."""
    for number in (1, 2):
        folder = tmp_path / f"labs/phase-01-request/lab-0{number}-name"
        folder.mkdir(parents=True)
        (folder / "lab.toml").write_text(LAB)
    return tmp_path


def kept(root: Path) -> Path:
    return root / ".labs" / "progress.json"


def test_nothing_run_yet_is_said_and_nothing_is_made(root):
    answer = labs_state(root)
    assert answer["state"] == "none"
    assert set(answer["labs"]) == {"phase-01/lab-01", "phase-01/lab-02"}
    assert answer["labs"]["phase-01/lab-01"] == {
        "tasks": [],
        "done": 0,
        "total": 3,
        "finished": False,
        "since": None,
    }
    assert not (root / ".labs").exists()


def test_it_reads_what_the_command_writes(root):
    state = State(root)
    state.graded("phase-01/lab-01", [1, 3], complete=False)
    state.graded("phase-01/lab-02", [1, 2, 3], complete=True)
    state.completed("phase-01/lab-02", "A lab")
    before = kept(root).read_bytes()
    answer = labs_state(root)
    assert answer["state"] == "ok"
    assert answer["problem"] == ""
    first, second = answer["labs"].values()
    assert (first["tasks"], first["done"], first["finished"]) == ([1, 3], 2, False)
    assert (second["done"], second["finished"]) == (3, True)
    written = json.loads(before)["phase-01/lab-02"]["complete"]
    assert second["since"].replace("T", "-").replace(":", "") == written
    assert json.loads(json.dumps(answer)) == answer
    assert kept(root).read_bytes() == before


def test_a_completion_that_was_taken_back_is_not_finished(root):
    state = State(root)
    state.graded("phase-01/lab-01", [1, 2, 3], complete=True)
    state.completed("phase-01/lab-01", "A lab")
    state.graded("phase-01/lab-01", [1, 2, 3], complete=False)
    lab = labs_state(root)["labs"]["phase-01/lab-01"]
    assert (lab["done"], lab["finished"]) == (3, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "\x00",
        "[" * 100_000,
        '{"phase-01/lab-01": 7}',
        '{"phase-01/lab-01": {"9": "2026-01-01-000000"}}',
        '{"phase-01/lab-01": {"1": "yesterday"}}',
        '{"phase-01/lab-01": {"complete": 3}}',
    ],
)
def test_a_damaged_record_is_flagged_and_breaks_nothing(root, text):
    kept(root).parent.mkdir()
    kept(root).write_text(text)
    answer = labs_state(root)
    assert answer["state"] == "damaged"
    assert answer["problem"]
    assert len(answer["labs"]) == 2
    assert kept(root).read_text() == text


def test_bytes_that_are_no_text_are_flagged(root):
    kept(root).parent.mkdir()
    kept(root).write_bytes(b"\xff\xfe\x00")
    assert labs_state(root)["state"] == "damaged"


def test_what_can_be_read_beside_the_damage_is_there(root):
    kept(root).parent.mkdir()
    record = {"phase-01/lab-01": 7, "phase-01/lab-02": {"2": "2026-01-01-101112"}}
    kept(root).write_text(json.dumps(record))
    answer = labs_state(root)
    assert answer["state"] == "damaged"
    lab = answer["labs"]["phase-01/lab-02"]
    assert (lab["done"], lab["since"]) == (1, "2026-01-01T10:11:12")


def test_a_lab_that_says_nonsense_about_itself_is_flagged(root):
    (root / "labs/phase-01-request/lab-01-name/lab.toml").write_text("title = 3")
    answer = labs_state(root)
    assert answer["state"] == "damaged"
    assert answer["labs"] == {}
