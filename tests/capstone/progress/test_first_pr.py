"""Lab 01's grader: what the tools left behind, and nothing else, makes a step green."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from capstone.progress import first_pr
from capstone.records import Journal
from labkit.process import Look

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import open_tree

GOOD = Path(__file__).resolve().parents[1] / "plan" / "good"
PAPERS = {"plan.md": "plan-min-tokens.md", "comment.md": "comment-min-tokens.md"}
PAPERS |= {"pr.md": "pr-min-tokens.md"}
REVIEW = """pull request: https://github.com/vllm-project/vllm/pull/90002
ended: approved

One reviewer asked why the length is tested first, and whether a stop token in the same step could
be lost. I added that case to the test. Another wanted the comment shorter. What I had got wrong was
the finish reason of the tie, which the plan did not mention at all.
"""


class Record:
    """The folder `.labs/capstone/` of somebody who works at the lab."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".labs" / "capstone"

    def look(self) -> Look:
        """What the grader says."""
        return first_pr.look(self.root)

    def green(self) -> list[int]:
        """The steps that are done."""
        return [number for number, one in enumerate(self.look().findings, 1) if one.done]

    def judged(self, issue: int, *verdicts: str) -> None:
        """The Gauntlet's entries for one issue, check by check."""
        names = ("claimed", "reproducible", "map", "testable", "reviewable")
        journal = Journal(self.folder / "journal.jsonl")
        for check, verdict in zip(names, verdicts, strict=False):
            journal.append(kind="triage", issue=issue, check=check, verdict=verdict)

    def paper(self, name: str, *, before: str = "", after: str = "") -> None:
        """One of the good papers, with an edit."""
        text = (GOOD / PAPERS[name]).read_text(encoding="utf-8")
        assert before in text
        self.write(name, text.replace(before, after) if before else text)

    def write(self, name: str, text: str) -> None:
        """A file of the learner's."""
        path = self.folder / "first-pr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path)


PASS, FAIL = "passed", "failed"


def test_three_verdicts_and_a_survivor_make_the_first_step(record: Record) -> None:
    record.judged(1, FAIL)
    record.judged(2, *[PASS] * 5)
    found = record.look()
    assert not found.findings[0].done
    assert "2 issues judged, 1 survives: #2; the lab compares 3" in found.findings[0].text
    assert found.truths == {}
    record.judged(3, PASS, PASS, "undecided")
    found = record.look()
    assert found.findings[0].done
    assert found.truths == {"survivors": "1"}


def test_the_last_verdict_on_an_issue_counts(record: Record) -> None:
    for issue in (1, 2, 3):
        record.judged(issue, *[PASS] * 5)
    assert record.look().truths == {"survivors": "3"}
    for issue in (1, 2, 3):
        record.judged(issue, FAIL)
    assert record.green() == []
    assert record.look().truths == {"survivors": "0"}


def test_the_rehearsals_report_is_no_candidate(record: Record) -> None:
    """It has the number 0, and comes into the same journal by the page's own command."""
    record.judged(0, *[PASS] * 5)
    assert "no issue has been judged yet" in record.look().findings[0].text
    record.judged(1, FAIL)
    record.judged(2, FAIL)
    assert "2 issues judged, 0 survive; the lab compares 3" in record.look().findings[0].text
    assert record.green() == []


def test_reviewable_that_failed_is_no_survivor(record: Record) -> None:
    for issue in (1, 2, 3):
        record.judged(issue, PASS, PASS, PASS, PASS, FAIL)
    assert record.green() == []


@pytest.mark.skipif(open_tree(the_pin()) is None, reason="the pinned tree is not here")
def test_papers_are_checked_again_and_held_to_the_plan(record: Record) -> None:
    record.paper("comment.md")
    assert "no plan.md beside it" in record.look().findings[2].text
    for name in PAPERS:
        record.paper(name)
    assert record.green() == [2, 3, 4]
    record.paper("plan.md", before="Estimate: 70 lines: 15 code", after="Estimate: few lines")
    found = record.look().findings[1]
    assert not found.done
    assert "complaint" in found.text
    assert found.command == "capstone plan check .labs/capstone/first-pr/plan.md"
    record.write("plan.md", "")
    assert 2 not in record.green()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("pull request: https://github.com/", "pull request: ", "no line `pull request: "),
        ("/pull/90002", "/issues/90002", "no line `pull request: "),
        ("ended: approved", "ended: open", "says 'open', expected merged or approved"),
        ("ended: approved", "", "says nothing, expected merged or approved"),
        ("Another wanted the comment shorter. ", "", None),
        ("One reviewer asked why the length is tested first, and whether ", "", "words about"),
    ],
)
def test_the_review_is_a_word_given_in_a_form(
    record: Record, before: str, after: str, message: str | None
) -> None:
    assert before in REVIEW
    text = REVIEW.replace(before, after)
    if message == "words about":
        text = text.replace("I added that case to the test. ", "").replace("at all", "")
    record.write("outcome.md", text)
    found = record.look().findings[4]
    assert found.done == (message is None)
    if message is None:
        assert found.text.startswith("approved, by your word: https://github.com/")
    else:
        assert message in found.text


def test_looking_changes_nothing(record: Record, tmp_path: Path) -> None:
    record.look()
    assert list(tmp_path.iterdir()) == []
    record.judged(1, FAIL)
    record.write("outcome.md", REVIEW)
    copy = tmp_path.with_name(f"{tmp_path.name}-before")
    shutil.copytree(tmp_path, copy)
    record.look()
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(copy) for p in copy.rglob("*") if p.is_file())
    assert all((tmp_path / f).read_bytes() == (copy / f).read_bytes() for f in files)
