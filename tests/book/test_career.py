"""The career map: its data, what is counted for it, and the margin that it computes."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labkit.catalogue import Catalogue

from book.career import REGISTRY, CareerError, career, evidence
from book.gross_margin import doubling_margin, margin_after, passed_on
from book.phases import ROOT, phases
from book.questions import COMPETENCIES

FOUND = evidence()


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = REGISTRY.read_text(encoding="utf-8")
    assert old in text
    target = tmp_path / "career.toml"
    target.write_text(text.replace(old, new, 1), encoding="utf-8")
    return target


def test_the_rows_are_those_that_questions_and_labs_name():
    assert [row.number for row in career().rows] == list(COMPETENCIES)
    assert all(row.title and row.bar and row.phases for row in career().rows)


def test_the_phases_of_each_row_are_the_ones_asked_for():
    asked = {1: (0, 1), 2: (2,), 3: (3, 18), 4: (4, 5, 6, 7), 5: (8, 9), 6: (10, 15)}
    asked |= {7: (11, 12, 16), 8: (17,)}
    assert {row.number: row.phases for row in career().rows} == asked


def test_there_are_exactly_three_artifacts_and_three_roads():
    assert len(career().artifacts) == len(career().roads) == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("number = 8", "number = 9", "rows"),
        ("phases = [8, 9]", "phases = [8]", "each one once"),
        ("phases = [8, 9]", "phases = [8, 9, 10]", "each one once"),
        ("rows = [2, 3]", "rows = [2, 13]", "maintainer names rows"),
        ('id = "founder"', 'id = "investor"', "roads are"),
        ("bar = ", "baz = ", "baz"),
    ],
)
def test_an_impossible_map_is_refused(tmp_path, old, new, said):
    with pytest.raises(CareerError, match=said):
        career(edited(tmp_path, old, new))


def test_every_lab_and_every_entry_is_in_exactly_one_row():
    labs = [lab.short for it in FOUND for lab in it.labs]
    every = Catalogue(ROOT).labs
    assert sorted(labs) == sorted(lab.short for lab in every if lab.competency)
    assert all(lab.is_process for lab in every if not lab.competency), "asks for all rows"
    ids = [entry.id for it in FOUND for _, entry in it.entries]
    assert len(ids) == len(set(ids)) > 0


def test_counts_are_recomputed_when_a_question_comes(tmp_path):
    for part in ("book/phase-00-foundations", "labs/phase-00-foundations"):
        names = shutil.ignore_patterns("*.py", "figures", "mutants", "*.svg")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=names)
    before = evidence(tmp_path)
    page = tmp_path / "book/phase-00-foundations/INTERVIEW.md"
    entry = "\n::::{question} one-more\n:competency: 8\n:minutes: 7\n:tier: core\n\nWhy?\n\n"
    for part in ("mechanism", "arithmetic", "consequence"):
        entry += f":::{{{part}}}\nSo.\n:::\n"
    page.write_text(page.read_text(encoding="utf-8") + entry + "::::\n", encoding="utf-8")
    after = evidence(tmp_path)
    assert after[7].count("question") == before[7].count("question") + 1
    assert after[7].minutes["entries"] == before[7].minutes["entries"] + 7
    assert before[0].written
    assert not before[1].written


def test_pages_of_unwritten_phases_do_not_count():
    for it in FOUND:
        assert {p.number for p in it.written + it.unwritten} == set(it.row.phases)
        folders = tuple(p.folder for p in it.unwritten)
        assert not [d for d, _ in it.pages if d.split("/")[1] in folders]


def test_entry_pages_are_not_counted_twice():
    for it in FOUND:
        assert not [d for d, _ in it.pages if d.endswith(("EXERCISES", "INTERVIEW"))]


def test_every_page_that_is_counted_exists():
    for it in FOUND:
        for document, minutes in it.pages:
            assert (ROOT / f"{document}.md").is_file(), document
            assert minutes > 0


def test_the_page_shows_every_part_and_declares_minutes():
    text = (ROOT / "book/CAREER.md").read_text(encoding="utf-8")
    for part in ("roads", "rows", "artifacts"):
        assert f"{{career}} {part}" in text
    registry = tomllib.loads((ROOT / "book/phases.toml").read_text(encoding="utf-8"))
    assert registry["minutes"]["book/CAREER"] > 0
    assert len(phases()) == 20


# ---- the margin -------------------------------------------------------------------------------

MARGINS = st.floats(0.01, 0.95)
SHARES = st.floats(0.0, 1.0)
SPEEDUPS = st.floats(1.0, 20.0)


def test_doubled_throughput_doubles_one_margin_only():
    assert doubling_margin() == pytest.approx(1 / 3)
    assert margin_after(1 / 3, speedup=2) == pytest.approx(2 / 3)
    assert margin_after(0.5, speedup=2) == pytest.approx(0.75)
    assert margin_after(0.2, speedup=2) > 0.4


@given(MARGINS, SPEEDUPS, SHARES)
def test_it_agrees_with_books_kept_in_money(margin, speedup, share):
    """A hundred tokens at a price of 1: pay for devices and the rest, and see what is left."""
    devices, rest = 100 * (1 - margin) * share, 100 * (1 - margin) * (1 - share)
    left = 100 - devices / speedup - rest
    assert margin_after(margin, speedup=speedup, device_share=share) == pytest.approx(left / 100)


@given(SPEEDUPS, SHARES)
def test_the_doubling_margin_is_doubled(speedup, share):
    margin = doubling_margin(speedup=speedup, device_share=share)
    after = margin_after(margin, speedup=speedup, device_share=share)
    assert after == pytest.approx(2 * margin)


@given(MARGINS, SPEEDUPS)
def test_a_leased_fleet_with_no_more_to_sell_gains_nothing(margin, speedup):
    assert margin_after(margin, speedup=speedup, busy=1 / speedup) == pytest.approx(margin)


@given(MARGINS, SPEEDUPS)
def test_a_price_that_falls_with_cost_gains_nothing(margin, speedup):
    assert margin_after(margin, speedup=speedup, price=1 / speedup) == pytest.approx(margin)


@given(MARGINS, SPEEDUPS, SHARES)
def test_a_saving_passed_on_entirely_leaves_the_profit_of_a_token(margin, speedup, share):
    price = passed_on(margin, 1, speedup=speedup, device_share=share)
    after = margin_after(margin, speedup=speedup, device_share=share, price=price)
    assert after * price == pytest.approx(margin)


@pytest.mark.parametrize(
    "bad", [{"speedup": 0}, {"busy": -1}, {"price": 0}, {"device_share": 1.2}, {"margin": 1}]
)
def test_what_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        margin_after(bad.pop("margin", 0.5), **bad)
    with pytest.raises(ValueError, match="share"):
        passed_on(0.5, 2, speedup=2)
