"""Every seeded defect is found, by its own complaint; no good document is complained of."""

from __future__ import annotations

from pathlib import Path

import pytest
from capstone.plan.rules import RULES
from plan_documents import DEFECTS, GOOD, check, good, seeded


def test_there_are_enough_of_both() -> None:
    assert len(GOOD) >= 10
    assert len(DEFECTS) >= 40
    assert len({defect["name"] for defect in DEFECTS}) == len(DEFECTS)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_document_is_not_complained_of(upstream, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert check(path.name, text, upstream) == []
    plan = path.name.replace("comment", "plan").replace("pr-", "plan-")
    assert check(path.name, text, upstream, plan) == []


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect["name"])
def test_a_seeded_defect_yields_its_complaint(upstream, defect) -> None:
    found = check(defect["file"], seeded(defect), upstream, defect.get("plan", ""))
    own = [c for c in found if c.rule == defect["rule"] and defect["says"] in c.text]
    assert own, found
    assert {c.rule for c in found} <= {defect["rule"], *defect.get("also", ())}, found
    if "near" in defect:
        assert defect["near"] in own[0].near


def test_every_rule_of_the_three_documents_is_seeded() -> None:
    seeds = {defect["rule"] for defect in DEFECTS}
    rest = {rule for rule in RULES if not rule.startswith("branch-")} - seeds
    assert rest == set()


def test_what_makes_it_stand_is_one_edit() -> None:
    for defect in DEFECTS:
        assert seeded(defect) != good(defect["file"])
