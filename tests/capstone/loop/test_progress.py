"""Lab 02's grader: the last loop, its sessions, its report, and its low rows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from capstone.loop.captures import typed_walk
from capstone.loop.catalogue import Bank
from capstone.loop.interview import Cue
from capstone.loop.matrix import SOLID, matrix
from capstone.loop.transcript import Transcript
from capstone.loop.walk import good
from capstone.progress import staff_loop
from labkit.process import Look

Run = Callable[..., Transcript]
SAMPLE = Path(__file__).with_name("bank")


class Strong:
    """Reaches every value, gives full points, and peeks at nothing."""

    def __init__(self, bank: Bank, transcript: Transcript) -> None:
        self.bank = bank
        self.transcript = transcript

    def __call__(self, cue: Cue) -> str:
        """What this learner types."""
        item = self.bank.get(cue.item)
        if cue.kind in {"look", "cause"} and item is not None and item.tree is not None:
            return typed_walk(item, self.transcript.state, cue, good(item.tree))
        if cue.kind != "line" or item is None:
            return "2"
        said = "; ".join(["42 things", *(v.shown for v in item.demand.values), *item.knobs])
        return [said, "."][cue.number]


def green(found: Look) -> list[int]:
    """The steps that are done."""
    return [number for number, one in enumerate(found.findings, start=1) if one.done]


@pytest.fixture
def loops(tmp_path: Path) -> Path:
    """The folder of transcripts of somebody."""
    return tmp_path / ".labs" / "capstone" / "loop"


def look(tmp_path: Path) -> Look:
    """The grader, over the sample bank."""
    return staff_loop.look(tmp_path, SAMPLE)


def test_without_a_loop_nothing_is_done(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert (green(found), len(found.findings), found.truths) == ([], 6, {})


def test_a_loop_that_was_broken_off_has_the_sessions_that_were_ended(
    run: Run, short: None, tmp_path: Path, loops: Path, bank: Bank
) -> None:
    transcript = run(loops / "whole.jsonl")
    lines = transcript.path.read_bytes().splitlines(keepends=True)
    asked = transcript.state.asked["debugging"][0].encode()
    cut = next(n for n, line in enumerate(lines) if asked in line and n)
    transcript.path.write_bytes(b"".join(lines[:cut]))
    assert green(look(tmp_path)) == [1, 2, 3]
    transcript.path.with_suffix(".md").write_text("early")
    found = look(tmp_path)
    assert "an unfinished loop" in found.findings[4].text
    assert found.truths == {}


def test_weak_rows_are_named_and_keep_the_last_step_open(
    run: Run, short: None, tmp_path: Path, loops: Path, bank: Bank
) -> None:
    transcript = run(loops / "weak.jsonl")
    assert green(look(tmp_path)) == [1, 2, 3, 4]
    transcript.path.with_suffix(".md").write_text("the matrix")
    found = look(tmp_path)
    assert green(found) == [1, 2, 3, 4, 5]
    rows = [r for r in matrix(bank, transcript).rows if r.mean is not None and r.mean < SOLID]
    assert rows
    assert all(row.title in found.findings[5].text for row in rows)
    weakest = min(rows, key=lambda row: (row.mean, row.number))
    assert found.truths["weakest-row"] == str(weakest.number)


def test_the_last_loop_counts_and_a_strong_one_ends_the_lab(
    run: Run, short: None, tmp_path: Path, loops: Path
) -> None:
    weak = run(loops / "a.jsonl")
    strong = run(loops / "b.jsonl", seed=5, learner=Strong)
    os.utime(weak.path, (1, 1))
    strong.path.with_suffix(".md").write_text("the matrix")
    found = look(tmp_path)
    assert green(found) == [1, 2, 3, 4, 5, 6], [one.text for one in found.findings]
    assert found.truths["solid-answers"] == "5"
    os.utime(strong.path, (0, 0))
    assert 6 not in green(look(tmp_path))


def test_a_changed_transcript_does_not_end_the_lab(
    run: Run, short: None, tmp_path: Path, loops: Path
) -> None:
    strong = run(loops / "b.jsonl", seed=5, learner=Strong)
    strong.path.with_suffix(".md").write_text("the matrix")
    text = strong.path.read_text()
    assert text.count('"points": 2') > 1
    strong.path.write_text(text.replace("42 things", "43 things", 1))
    found = look(tmp_path)
    assert not found.findings[5].done
    assert "not as it was written" in found.findings[5].text


def test_a_file_that_holds_no_loop_is_said(tmp_path: Path, loops: Path) -> None:
    loops.mkdir(parents=True)
    (loops / "x.jsonl").write_text("nonsense\n")
    found = look(tmp_path)
    assert green(found) == []
    assert "no loop begins in it" in found.findings[0].text
