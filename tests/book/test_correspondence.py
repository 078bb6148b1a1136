"""Each public name has a counterpart or a reason, and a name without one is found."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from book.correspondence import CorrespondenceError, Row, of_room, problems, public_names, read_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "reference" / "correspondence.md"
ROOM = re.compile(r"^```\{correspondence\} (\S+)\n(:itself:\n)?```$", re.M)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    (folder / "room").mkdir(parents=True)
    (folder / "__init__.py").write_text("def top(): ...\n")
    (folder / "room" / "__init__.py").write_text("")
    text = "class Shown: ...\nclass _Hidden: ...\nasync def runs(): ...\n"
    text += "if True:\n    def deep(): ...\n"
    (folder / "room" / "desk.py").write_text(text)
    return folder


def data(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.toml"
    path.write_text(text)
    return path


def test_every_public_name_of_the_engine_is_accounted_for() -> None:
    assert problems(read_rows(), ROOT / "mini_vllm") == []


def test_the_page_prints_every_row_once() -> None:
    rooms = ROOM.findall(PAGE.read_text(encoding="utf-8"))
    rows = read_rows()
    printed = [
        row.full_name for room, itself in rooms for row in of_room(rows, room, itself=bool(itself))
    ]
    assert Counter(printed) == Counter(row.full_name for row in rows)


def test_a_room_has_the_rooms_below_it_unless_it_is_asked_for_itself() -> None:
    rows = [Row(module, "A", None, "x.") for module in ("m", "m.core", "m.core.pool", "m.coregi")]
    assert [row.module for row in of_room(rows, "m.core")] == ["m.core", "m.core.pool"]
    assert [row.module for row in of_room(rows, "m", itself=True)] == ["m"]


def test_public_names_are_the_classes_and_functions_at_the_top(package: Path) -> None:
    found = {f"{module}.{name}" for module, name in public_names(package)}
    assert found == {"ours.top", "ours.room.desk.Shown", "ours.room.desk.runs"}


def test_a_name_without_an_entry_and_an_entry_without_a_name_are_found(package: Path) -> None:
    rows = [Row("ours", "top", None, "x."), Row("ours.room.desk", "Gone", "a.py#B", "x.")]
    assert problems(rows, package) == [
        "ours.room.desk.Shown: neither a counterpart nor a reason",
        "ours.room.desk.runs: neither a counterpart nor a reason",
        "ours.room.desk.Gone: the package has no such name",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('["m"]\nA = { anchor = "a.py#A", without = "" }', "no sentence"),
        ('["m"]\nA = { anchor = "a.py#A", without = "Drafts" }', "no sentence"),
        ('["m"]\nA = { anchor = "a.py#A" }', "wants `anchor` and `without`"),
        ('["m"]\nA = { without = "Drafts." }', "wants `anchor` and `without`"),
        ('["m"]\nalone = [{ names = ["A", "A"], reason = "None." }]', "two entries"),
    ],
)
def test_an_entry_that_says_too_little_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(CorrespondenceError, match=complaint):
        read_rows(data(tmp_path, text))
