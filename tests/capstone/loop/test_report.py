"""The outcome on paper: Markdown, one HTML file, a drawing, a comparison."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from capstone.loop import compare, figure, page, report
from capstone.loop.captures import typed_walk
from capstone.loop.catalogue import Bank
from capstone.loop.interview import Cue
from capstone.loop.matrix import ROW_PHASES, SOLID, Matrix, matrix, revision
from capstone.loop.transcript import Transcript
from capstone.loop.walk import good

from book.questions import COMPETENCIES

ROOT = Path(__file__).resolve().parents[3]


class Best:
    """Says every value and gives itself the best grade, though it is <b>late</b> | rude."""

    def __init__(self, bank: Bank, transcript: Transcript) -> None:
        self.bank = bank
        self.transcript = transcript

    def __call__(self, cue: Cue) -> str:
        if cue.kind == "choice":
            return "1"
        if cue.kind == "grade":
            return "2"
        item = self.bank.get(cue.item)
        assert item is not None
        if cue.kind in {"look", "cause"} and item.tree is not None:
            return typed_walk(item, self.transcript.state, cue, good(item.tree))
        values = "; ".join(value.shown for value in item.demand.values)
        return [f"<b>late</b> | {values}; {' '.join(item.knobs)}", "."][cue.number]


@pytest.fixture
def found(bank: Bank, run: Callable[..., Transcript], tmp_path: Path) -> Matrix:
    return matrix(bank, run(tmp_path / "middling.jsonl"))


@pytest.fixture
def best(bank: Bank, run: Callable[..., Transcript], tmp_path: Path) -> Matrix:
    return matrix(bank, run(tmp_path / "best.jsonl", learner=Best))


def test_full_marks_for_full_answers_and_nothing_to_revise(best: Matrix) -> None:
    assert {r.grade.score for r in best.results} == {4}
    assert revision(best, ROOT) == []
    assert "No row that was asked about is below solid." in report.markdown(best, [])


def test_low_rows_lead_to_pages_labs_and_questions(found: Matrix) -> None:
    todo = revision(found, ROOT)
    low = {row.number for row in found.rows if row.mean is not None and row.mean < SOLID}
    assert {entry.row.number for entry in todo} == low
    assert low, "this learner is no star"
    for entry in todo:
        assert len(entry.pages) == len(ROW_PHASES[entry.row.number])
        for line in entry.pages:
            path = re.search(r"book/\S+", line)
            assert path is None or (ROOT / path[0]).is_file()
        assert entry.questions
    memory = next(entry for entry in todo if entry.row.number == 2)
    assert any("phase-02/lab-01" in lab for lab in memory.labs)


def test_every_row_has_phases_and_every_phase_a_row() -> None:
    assert set(ROW_PHASES) == set(COMPETENCIES)
    assert sorted(n for phases in ROW_PHASES.values() for n in phases) == [
        n for n in range(19) if n not in {13, 14}
    ]


def test_markdown_tables_are_whole(found: Matrix) -> None:
    text = report.markdown(found, revision(found, ROOT))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    for row in COMPETENCIES.values():
        assert row in text


class Outline(HTMLParser):
    """Tags that are open, and every attribute that could name another file."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "line", "rect", "circle"}:
            self.open.append(tag)
        self.names += [key for key, _ in attrs if key in {"href", "src", "srcset", "data"}]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_nobody(found: Matrix) -> None:
    text = page.html(found, revision(found, ROOT))
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert outline.names == []
    assert "<script" not in text
    assert "@import" not in text
    assert set(re.findall(r"\w+://[^\s\"<]+", text)) == {"http://www.w3.org/2000/svg"}


def test_what_somebody_typed_is_text_and_not_markup(
    bank: Bank, run: Callable[..., Transcript], tmp_path: Path
) -> None:
    transcript = run(tmp_path / "<i>.jsonl", learner=Best)
    assert "<i>" not in page.html(matrix(bank, transcript), [])


def test_the_figure_says_every_row_in_words(found: Matrix) -> None:
    root = ElementTree.fromstring(figure.svg(found))
    texts = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text")]
    for row in found.rows:
        assert any(row.title in text for text in texts)
        assert any(row.level in text for text in texts)
    width = float(root.get("viewBox", "").split()[2])
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        # No letter of a usual sans-serif at this size is on average wider than this.
        x, extent = float(text.get("x", "")), 7.0 * len(text.text or "")
        begins = {"end": x - extent, "middle": x - extent / 2}.get(text.get("text-anchor", ""), x)
        assert begins >= 0
        assert begins + extent <= width
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 < float(circle.get("cx", "")) < width
    dots = len(list(root.iter("{http://www.w3.org/2000/svg}circle")))
    assert dots == sum(len(row.results) for row in found.rows)


def test_two_loops_beside_one_another(found: Matrix, best: Matrix) -> None:
    text = compare.markdown(found, best)
    assert "Asked in both: 16." in text, "the same seed, but for the scenario that was chosen"
    gained = (best.mean or 0) - (found.mean or 0)
    assert f"| {gained:+.1f} |" in text
    assert compare.moved(None, 2.0) == "–"
    assert compare.moved(2.0, 2.0) == "same"


def test_the_page_is_dark_where_its_reader_is(found: Matrix) -> None:
    css = (ROOT / "book" / "_static" / "css" / "theme.css").read_text(encoding="utf-8")
    dark = css.split('html[data-theme="dark"] {', 1)[1].split("}", 1)[0]
    theirs = dict(re.findall(r"--fig-([\w-]+): (#[0-9a-f]{6});", dark))
    assert {name.replace("_", "-"): value for name, value in asdict(page.DARK).items()} == theirs
    text = page.html(found, [])
    assert "prefers-color-scheme: dark" in text
    drawn = text.split("<svg", 1)[1].split("</svg>", 1)[0]
    assert not re.findall(r'"#[0-9a-f]{6}"', drawn), "every colour follows the page"
    used = set(re.findall(r"var\(--fig-([\w-]+)", text))
    assert used <= set(page.USED)
