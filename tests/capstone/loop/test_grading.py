"""The formula and its caps, over every grade there is."""

from __future__ import annotations

from itertools import product

import pytest
from capstone.errors import CapstoneError
from capstone.loop.catalogue import Bank
from capstone.loop.grading import examine, grade
from capstone.loop.item import LAYERS, Item
from hypothesis import given
from hypothesis import strategies as st

POINTS = [dict(zip(LAYERS, p, strict=True)) for p in product(range(3), repeat=3)]


def item_of(bank: Bank, name: str) -> Item:
    found = bank.get(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def demanding(bank: Bank) -> Item:
    """A question that demands one value, 131,072 B."""
    return item_of(bank, "sample-4-first")


@pytest.fixture(scope="module")
def free(bank: Bank) -> Item:
    """A question that demands none."""
    item = item_of(bank, "p00-seeds")
    assert not item.demand.needed
    return item


def test_the_formula_on_every_combination(demanding: Item) -> None:
    limits = examine(demanding, {"answer": "128 KiB"})
    scores = {}
    for points in POINTS:
        total = sum(points.values())
        scores[total] = grade(demanding, limits, points, peeked=False).score
    assert scores == {0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 6: 4}


def test_a_peek_holds_every_score_at_two(demanding: Item) -> None:
    limits = examine(demanding, {"answer": "128 KiB"})
    for points in POINTS:
        honest = grade(demanding, limits, points, peeked=False)
        peeked = grade(demanding, limits, points, peeked=True)
        assert peeked.score == min(honest.score, 2)
        assert peeked.caps == ("peek",)


def test_an_answer_without_numbers_has_skipped_the_arithmetic(demanding: Item) -> None:
    limits = examine(demanding, {"answer": "A key and a value in every layer."})
    for points in POINTS:
        graded = grade(demanding, limits, points, peeked=False)
        assert graded.skipped
        assert graded.score <= 2
        assert graded.layers["arithmetic"] == 0


def test_without_a_demand_the_learner_says_whether_the_invariant_is_there(free: Item) -> None:
    limits = examine(free, {"answer": "The same draw for the same scores."})
    for points in POINTS:
        graded = grade(free, limits, points, peeked=False)
        assert graded.skipped == (points["arithmetic"] == 0)
        assert graded.score <= (2 if graded.skipped else 4)


def test_nothing_written_is_nothing(demanding: Item) -> None:
    limits = examine(demanding, {"answer": " \n "})
    assert limits.blank
    assert grade(demanding, limits, POINTS[-1], peeked=False).score == 0


def test_a_wrong_number_is_no_skipping_and_still_counts_nothing(demanding: Item) -> None:
    graded = grade(demanding, examine(demanding, {"answer": "7 MB"}), POINTS[-1], peeked=False)
    assert not graded.skipped
    assert graded.layers["arithmetic"] == 0


def test_some_of_the_values_are_half_the_arithmetic(bank: Bank) -> None:
    item = item_of(bank, "p00-prefill-decode")
    assert item.demand.needed == 3
    found = [value.shown for value in item.demand.values]
    assert examine(item, {"answer": found[0]}).highest["arithmetic"] == 1
    assert examine(item, {"answer": "; ".join(found[:3])}).highest["arithmetic"] == 2


def test_a_design_is_read_part_by_part(bank: Bank) -> None:
    item = item_of(bank, "sample-design-1")
    parts = {"topology": "one device, 128 KiB", "knobs": "max_num_seqs 64", "arithmetic": ""}
    limits = examine(item, parts)
    assert limits.numbers == 0, "numbers elsewhere do not make up for the arithmetic's part"
    assert limits.highest == {"mechanism": 2, "arithmetic": 0, "consequence": 2}
    parts |= {"knobs": "none", "arithmetic": "128 KiB on 1 device"}
    assert examine(item, parts).highest == {"mechanism": 1, "arithmetic": 2, "consequence": 2}


@pytest.mark.parametrize("points", [3, -1, "2"])
def test_points_that_there_are_not_are_refused(demanding: Item, points: object) -> None:
    limits = examine(demanding, {"answer": "128 KiB"})
    with pytest.raises(CapstoneError, match="0, 1 or 2"):
        grade(demanding, limits, {"mechanism": points}, peeked=False)  # type: ignore[dict-item]


ANSWERS = st.lists(
    st.sampled_from(["words", "128 KiB", "7 MB", "131072", "131,072 tokens", "16.1 GB", "p99", ""]),
    max_size=4,
)


@given(ANSWERS, st.sampled_from(POINTS), st.sampled_from(sorted(LAYERS)), st.booleans())
def test_scores_are_monotone(bank, answer, points, layer, peeked) -> None:  # type: ignore[no-untyped-def]
    """A peek never raises a score; a point more, or a value reached, never lowers one."""
    for name in ("sample-4-first", "p00-prefill-decode", "p00-seeds"):
        item = item_of(bank, name)
        text = "\n".join(answer)
        score = grade(item, examine(item, {"answer": text}), points, peeked=peeked).score
        assert grade(item, examine(item, {"answer": text}), points, peeked=True).score <= score
        more = {**points, layer: min(2, points[layer] + 1)}
        assert grade(item, examine(item, {"answer": text}), more, peeked=peeked).score >= score
        values = "\n".join(value.shown for value in item.demand.values)
        limits = examine(item, {"answer": f"{text}\n{values}\nso"})
        assert grade(item, limits, points, peeked=peeked).score >= score
