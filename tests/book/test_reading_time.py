"""Declared minutes fit what stands on a page, and the build says so where they do not."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from docutils import nodes

from book import reading_time
from book._ext.budgets import Counter
from book.phases import ROOT, phases
from book.reading_time import FACTOR, LAB_FACTOR, Load, complaint, in_words
from upstream_anchors.sphinx_domain.domain import LINK_CLASS

PHASE = "phase-01-architecture-and-request-lifecycle"
GUIDE = phases()[1].minutes["00-guide"]


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Load)} - {"absent"}))
def test_everything_that_is_counted_takes_time(name):
    assert Load(**{name: 60}).minutes() > 0
    assert Load(**{name: 120}).minutes() == pytest.approx(2 * Load(**{name: 60}).minutes())


def test_a_budget_is_refused_on_either_side_of_the_factor():
    load = Load(words=175 * 40)
    assert load.minutes() == 40
    assert complaint(40, load) == ""
    assert complaint(50, load) == ""
    assert complaint(32, load) == ""
    assert "about 40" in complaint(51, load)
    assert complaint(31, load)


def test_the_text_states_the_rates_of_the_code():
    text = " ".join(reading_time.__doc__.split())
    for number, unit in (
        (reading_time.PROSE_WORDS_A_MINUTE, "words"),
        (reading_time.CODE_LINES_A_MINUTE, "lines"),
        (reading_time.TYPED_LINES_A_MINUTE, "lines"),
        (reading_time.OUTPUT_LINES_A_MINUTE, "lines"),
        (reading_time.FIGURE_SECONDS, "s"),
        (reading_time.PLAYER_SECONDS, "s"),
        (reading_time.EQUATION_SECONDS, "s"),
        (reading_time.ANCHOR_SECONDS, "s"),
        (reading_time.RECALL_SECONDS, "s"),
        (reading_time.LAB_LINES_A_MINUTE, "a minute"),
    ):
        assert f" {number} {unit}" in text, (number, unit)


def test_a_lab_has_more_room_than_a_page():
    assert FACTOR < LAB_FACTOR
    lab = Load(words=175 * 10, lab_lines=40)
    assert lab.minutes() == 60
    assert complaint(100, lab) == ""
    assert complaint(121, lab)
    assert complaint(29, lab)


def test_every_written_phase_declares_the_minutes_of_every_page():
    names = {"00-guide", "01-deep-dive", "02-mini-build", "labs"}
    names |= {"EXERCISES", "INTERVIEW", "CHEATSHEET"}
    for phase in phases():
        if phase.written():
            pages = {page.stem for page in (ROOT / "book" / phase.folder).glob("*.md")}
            assert set(phase.minutes) == names | pages, phase.folder
            assert all(minutes > 0 for minutes in phase.minutes.values())


def test_the_hours_of_a_phase_are_the_sum_of_its_pages_and_labs():
    phase = phases()[1]
    pages = round(sum(phase.minutes.values()) / 60)
    text = phase.hours(lab_minutes=375)
    assert text == f"About {pages + 6} hours: {pages} of pages and exercises, 6 of labs"
    assert replace(phase, minutes={}).hours(0) == ""


@pytest.fixture
def paged(site):
    """The guide of phase 01, whose declared minutes are the book's own."""
    conf = (site.source / "conf.py").read_text()
    conf = conf.replace(
        '    "book._ext.weave",',
        '    "book._ext.cards",\n    "book._ext.progress",\n    "book._ext.budgets",\n'
        '    "book._ext.weave",',
    )
    conf = conf.replace(
        'sys.path.insert(0, os.environ["BOOK_ROOT"])',
        'sys.path[:0] = [os.environ["BOOK_ROOT"], os.environ["BOOK_ROOT"] + "/labs"]',
    )
    site.write("conf.py", conf)
    for name in ("woven", "questions", "rest"):
        (site.source / f"{name}.md").unlink()
    site.write("index.md", f"# Home\n\n```{{toctree}}\nbook/{PHASE}/00-guide\n```\n")
    return site


def counted(site) -> dict:
    return json.loads((site.html / "reading-times.json").read_text())[f"book/{PHASE}/00-guide"]


def test_a_page_that_fits_is_silent_and_says_its_minutes(paged):
    paged.write(f"book/{PHASE}/00-guide.md", "# Guide\n\n" + "word " * (175 * GUIDE))
    paged.build()
    assert f"About {GUIDE} minutes" in paged.page(f"book/{PHASE}/00-guide")
    assert "minutes" not in paged.page("index")
    assert counted(paged)["declared"] == GUIDE
    assert counted(paged)["words"] == 175 * GUIDE + 1


def test_a_page_that_is_too_long_is_reported_at_every_build(paged):
    paged.write(f"book/{PHASE}/00-guide.md", "# Guide\n\n" + "word " * (175 * GUIDE * 2))
    for _ in range(2):
        log = paged.build(check=False)
        assert f"{GUIDE} minutes are declared" in log
        assert "[budget.minutes]" in log


def test_what_a_directive_brings_is_counted_and_what_is_folded_is_not(paged):
    paged.write(
        f"book/{PHASE}/00-guide.md",
        "# Guide\n\nFour words of prose, $x$.\n\n"
        "```{docstring} sample.shapes\n```\n\n"
        "```{listing} sample.shapes\n```\n\n"
        "$$\ny\n$$\n\n"
        "```{raw} html\n<svg></svg>\n```\n\n"
        "::::{question} one-question\n:competency: 1\n:minutes: 7\n:tier: core\n\nAsk.\n\n"
        ":::{mechanism}\nMany words that count nothing at all here.\n:::\n"
        ":::{arithmetic}\nb\n:::\n:::{consequence}\nc\n:::\n::::\n",
    )
    paged.build(check=False)
    seen = counted(paged)
    assert seen["code_lines"] > 5
    assert 15 < seen["words"] < 300
    assert seen["entry_minutes"] == 7
    assert seen["equations"] == 1
    assert seen["figures"] == 1


def test_an_anchor_counts_once_a_page():
    document = nodes.paragraph()
    for name in ("a", "b", "a"):
        document += nodes.reference("", name, refuri=name, classes=[LINK_CLASS])
    document += nodes.reference("", "elsewhere", refuri="c")
    assert Counter(typed=False).count(document).anchors == 2


def test_a_page_whose_excerpts_are_missing_is_not_judged():
    document = nodes.paragraph("", "", nodes.container(classes=["up-code", "up-absent"]))
    load = Counter(typed=False).count(document)
    assert load.absent == 1
    assert complaint(500, load) == ""
    load.absent = 0
    assert complaint(500, load)


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        (0, "0 minutes"),
        (98, "98 minutes"),
        (120, "120 minutes"),
        (121, "2\u00a0h\u00a01\u00a0min"),
        (180, "3\u00a0h"),
        (1720, "28\u00a0h\u00a040\u00a0min"),
    ],
)
def test_a_long_time_is_said_in_hours(minutes, said):
    assert in_words(minutes) == said
    assert in_words(minutes, "min") == said.replace("minutes", "min")
