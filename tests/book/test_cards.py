"""The phases as they stand, the order of their pages, and the header cards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from book.phases import phase_of, phases

ROOT = Path(__file__).resolve().parents[2]

PHASE = "phase-01-architecture-and-request-lifecycle"
LAB = """title = "{title}"
tag = "CPU-OK"
minutes = {minutes}
competency = 1
after = {after}
tasks = ["do it"]
"""


def test_there_are_twenty_phases_in_order():
    entries = phases()
    assert [p.number for p in entries] == list(range(20))
    assert entries[0].folder == "phase-00-foundations"
    assert entries[1].folder == PHASE
    assert entries[19].folder == "phase-19-capstone-maintainer-and-startup"
    for entry in entries:
        assert entry.title
        assert entry.line.endswith(".")


def test_a_phase_is_written_when_its_guide_exists(tmp_path):
    phase = phases()[2]
    assert not phase.written(tmp_path)
    guide = tmp_path / f"{phase.guide}.md"
    guide.parent.mkdir(parents=True)
    guide.write_text("# Guide\n")
    assert phase.written(tmp_path)


def test_the_pages_of_a_phase_come_in_the_order_of_the_work():
    phase = phases()[1]
    names = ["INTERVIEW", "02-mini-build", "CHEATSHEET", "01-deep-dive", "EXERCISES", "00-guide"]
    known = {f"book/{PHASE}/{name}" for name in names} | {f"labs/{PHASE}/README"}
    known.add(f"book/{PHASE}/zz-extra")
    assert [d.rsplit("/", 1)[1] for d in phase.documents(known)] == [
        "01-deep-dive",
        "02-mini-build",
        "README",
        "EXERCISES",
        "INTERVIEW",
        "CHEATSHEET",
        "zz-extra",
    ]
    assert phase.documents(set()) == []


def test_a_document_knows_its_phase():
    assert phase_of(f"book/{PHASE}/EXERCISES").number == 1
    assert phase_of(f"labs/{PHASE}/lab-01-x/README").number == 1
    assert phase_of("book/reference/engine") is None
    assert phase_of("index") is None


@pytest.fixture
def course(site):
    """A course of one written phase with two labs."""
    conf = (site.source / "conf.py").read_text()
    conf = conf.replace(
        '    "book._ext.weave",',
        '    "book._ext.cards",\n    "book._ext.home",\n    "book._ext.weave",',
    )
    conf = conf.replace(
        'sys.path.insert(0, os.environ["BOOK_ROOT"])',
        'sys.path[:0] = [os.environ["BOOK_ROOT"], os.environ["BOOK_ROOT"] + "/labs"]',
    )
    site.write("conf.py", conf)
    site.write("index.md", "# Home\n\n```{phases}\n```\n")
    for name in ("woven", "questions", "rest"):
        (site.source / f"{name}.md").unlink()
    site.write(f"book/{PHASE}/00-guide.md", "# Guide\n\n:::{phase-card}\n:::\n")
    site.write(f"book/{PHASE}/01-deep-dive.md", "# Deep\n")
    site.write(f"labs/{PHASE}/README.md", "# Labs\n\n:::{lab-list}\n:::\n")
    for number, after in ((1, "[]"), (2, '["lab-01-trace"]')):
        folder = f"labs/{PHASE}/lab-0{number}-{'trace' if number == 1 else 'loop'}"
        lab = LAB.format(title=f"Lab number {number}", minutes=40 * number, after=after)
        site.write(f"{folder}/lab.toml", lab)
        site.write(f"{folder}/README.md", f"# Lab {number}\n\n:::{{lab-card}}\n:::\n")
    return site


def test_the_cards_of_a_small_course(course):
    course.build()
    home = course.page("index")
    assert "1 of 20 phases is written." in home
    assert home.count("not written yet") == 19
    assert "0 / 2 labs, 120 minutes" in home
    guide = course.page(f"book/{PHASE}/00-guide")
    assert "Phase 01 of 19" in guide
    assert "Phase 00: Foundations, not written yet" in guide
    assert 'href="../../index.html"' in guide
    assert 'data-progress-phase="01"' in guide
    lab = course.page(f"labs/{PHASE}/lab-02-loop/README")
    assert 'href="../lab-01-trace/README.html"' in lab
    assert "about 80 minutes" in lab
    order = re.findall(r'<link rel="next" title="([^"]+)"', guide)
    assert order == ["Deep"]


def test_a_new_page_and_a_changed_lab_reach_the_pages_that_list_them(course):
    course.build()
    course.write(f"book/{PHASE}/CHEATSHEET.md", "# Sheet\n")
    lab = course.source / "labs" / PHASE / "lab-01-trace" / "lab.toml"
    lab.write_text(lab.read_text().replace("minutes = 40", "minutes = 55"))
    course.build()
    assert "0 / 2 labs, 2\u00a0h\u00a015\u00a0min" in course.page("index")
    assert 'title="Sheet"' in course.page(f"labs/{PHASE}/lab-02-loop/README")


def test_a_forgotten_card_is_there_all_the_same(course):
    name = f"labs/{PHASE}/lab-01-trace/README"
    course.write(f"{name}.md", "# Lab 1\n\nText.\n")
    course.build()
    assert "lab-card" in course.page(name)


def test_the_commands_on_the_home_page_are_those_of_the_readme():
    home = (ROOT / "index.md").read_text()
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"```sh\n(.+?)\n```", home)
    assert len(commands) == 2
    for command in commands:
        assert command in readme
