"""What leads to what: the data of the map, its places, and the lines that are drawn."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from book._ext.home.phase_map import COLUMN, COLUMNS, INSET, ROW, drawing, edges
from book.phases import Phase, leads_to, phases

EVERY = phases()
BY_SLUG = {phase.slug: phase for phase in EVERY}


def before(phase: Phase) -> set[str]:
    """All phases that must come before this one."""
    found = set(phase.needs)
    for slug in phase.needs:
        found |= before(BY_SLUG[slug])
    return found


@pytest.mark.parametrize("phase", EVERY, ids=lambda p: p.slug)
def test_a_phase_needs_only_earlier_ones(phase):
    assert all(BY_SLUG[slug].number < phase.number for slug in phase.needs)
    assert len(set(phase.needs)) == len(phase.needs)


def test_every_phase_is_reached_from_the_first_and_leads_to_the_last():
    assert [phase.slug for phase in EVERY if not phase.needs] == ["foundations"]
    assert before(EVERY[-1]) == set(BY_SLUG) - {EVERY[-1].slug}


@pytest.mark.parametrize("phase", EVERY, ids=lambda p: p.slug)
def test_only_the_nearest_needs_are_named(phase):
    implied = set().union(*(before(BY_SLUG[slug]) for slug in phase.needs))
    assert not implied & set(phase.needs)


def test_the_arrows_turn_round():
    onward = leads_to(EVERY)
    pairs = {(slug, phase.slug) for slug, after in onward.items() for phase in after}
    assert pairs == {(slug, phase.slug) for phase in EVERY for slug in phase.needs}
    assert onward[EVERY[-1].slug] == []


def test_a_need_that_is_no_phase_is_refused():
    with pytest.raises(ValueError, match="needs 'alchemy'"):
        leads_to([replace(EVERY[0], needs=("alchemy",))])


def test_every_phase_has_its_own_place_below_or_right_of_what_it_needs():
    places = [phase.place for phase in EVERY]
    assert len(set(places)) == len(places)
    assert all(0 <= column < COLUMNS for _, column in places)
    for start, end in edges(EVERY):
        assert start.place < end.place
        if start.place[0] == end.place[0]:  # one row: a line from neighbour to neighbour
            assert end.place[1] == start.place[1] + 1


def test_no_line_runs_through_a_phase():
    rows = 1 + max(phase.place[0] for phase in EVERY)
    svg = drawing(EVERY, rows)
    paths = re.findall(r'data-from="(\d\d)" data-to="(\d\d)" d="([^"]+)"', svg)
    assert len(paths) == len(edges(EVERY)) == sum(len(p.needs) for p in EVERY[:-1])
    for start, end, way in paths:
        a, b = EVERY[int(start)], EVERY[int(end)]
        if a.place[0] == b.place[0]:
            continue
        points = [(float(x), float(y)) for x, y in re.findall(r"(\d+) (\d+)", way)]
        assert points[0] == (COLUMN * (a.place[1] + 0.5), ROW * (a.place[0] + 1) - INSET)
        assert points[-1] == (COLUMN * (b.place[1] + 0.5), ROW * b.place[0] + INSET)
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            for other in EVERY[:-1]:
                row, column = other.place
                crosses = min(y1, y2) < ROW * row + ROW / 2 < max(y1, y2)
                middle = COLUMN * (column + 0.5)
                assert not (crosses and abs((x1 + x2) / 2 - middle) < 1), (a, b, other)
