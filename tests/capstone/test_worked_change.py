"""The papers of the worked change, by the capstone's own checks."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest
from capstone.plan.checking import check_plan
from capstone.plan.comment import check_comment
from capstone.plan.description import check_description
from capstone.plan.markdown import Document
from capstone.plan.upstream import Upstream

from mini_vllm.bench.compare import verdict
from upstream_anchors.codebase_map import CodeGraph, MapDocument, check_map, choose_part
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree, open_tree

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "book/inference-internals/worked-change"


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    if open_tree(the_pin()) is None:
        pytest.skip("the pinned tree is not here; `python -m upstream_anchors fetch` gets it")
    return Upstream.open()


def paper(name: str) -> Document:
    return Document((FOLDER / f"{name}.txt").read_text(encoding="utf-8"), f"{name}.md")


def test_comment_and_description_have_nothing_to_complain_of(upstream: Upstream) -> None:
    assert check_comment(paper("comment"), upstream) == []
    assert check_description(paper("pr"), upstream) == []


def test_the_plan_fails_the_one_rule_that_is_about_the_pinned_tree(upstream: Upstream) -> None:
    (complaint,) = check_plan(paper("plan"), upstream)
    assert complaint.rule == "test-place"
    # What it misses there is here.
    assert (ROOT / "tests/engine_core/test_detokenizer.py").is_file()
    assert complaint.text in (FOLDER / "plan-check.txt").read_text(encoding="utf-8")


def test_the_excerpt_is_a_map_of_files_that_are_there() -> None:
    document = MapDocument.parse((FOLDER / "map.txt").read_text(encoding="utf-8"))
    tree = Tree(ROOT)
    part = choose_part(CodeGraph.build(tree, "mini_vllm"), document.parts)
    assert check_map(document, part, document.pin, tree.files) == []


def spread(runs: list[float]) -> str:
    return f"{median(runs):.4g} ({min(runs):.4g} to {max(runs):.4g})"


@pytest.mark.parametrize("row", ["front-end", "batch of 64"])
def test_the_table_of_the_description_is_the_measurement(row: str) -> None:
    taken = json.loads((ROOT / "book/measurements/worked-change.json").read_text(encoding="utf-8"))
    if row == "front-end":
        before, after = (taken["values"]["front_end"][side] for side in ("before", "after"))
    else:
        pair = taken["values"]["records"]
        before, after = (pair[side]["metrics"]["CPU time"]["runs"] for side in ("before", "after"))
        assert pair["before"]["settings"] == pair["after"]["settings"]
    assert len(before) == len(after) >= 5
    (line,) = [
        line
        for line in (FOLDER / "pr.txt").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {row},")
    ]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == [spread(before), spread(after), verdict("lower", before, after)]
