"""The loop's bank: whole, computed, anchored, and answerable by its own model answers."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from capstone.loop import catalogue, scenarios, symptoms
from capstone.loop.checks import Verdict, check, demand

from book.phases import phases
from book.quantities import registry
from book.questions import COMPETENCIES, read
from upstream_anchors.pin import the_pin
from upstream_anchors.resolver import Resolver
from upstream_anchors.scanner import SOURCES, scan_file
from upstream_anchors.tree import open_tree

ROOT = Path(__file__).resolve().parents[2]
BANK = ROOT / "labs" / "capstone" / "loop" / "bank"
#: A phase that is written is asked from its own interview page, any other from the bank.
PHASES = [
    page if page.is_file() else BANK / f"phase-{phase.number:02d}.md"
    for phase in phases()
    if phase.number in catalogue.DEEP_DIVE
    for page in (ROOT / "book" / phase.folder / "INTERVIEW.md",)
]
FILES = [*PHASES, BANK / "scenarios.toml", BANK / "symptoms.toml"]


def shown(text: str) -> str:
    """The text as it is read, with its numbers."""
    text = re.sub(r"\{qty\}`([^`]+)`", lambda m: registry.printed(m[1]), text)
    text = re.sub(r"\{given\}`([^`]+)`", r"\1", text)
    return re.sub(r"^%.*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", PHASES, ids=lambda path: path.parent.name + "-" + path.stem)
def test_a_phase_has_ten_questions_that_demand_numbers(path: Path) -> None:
    questions = [entry for entry in read(path) if entry.kind == "question"]
    assert len(questions) >= 10
    for entry in questions:
        wanted = demand(entry.parts["arithmetic"].markdown)
        assert 1 <= wanted.needed <= len(wanted.values), entry.id
        layers = "".join(part.markdown for part in entry.parts.values())
        assert "{up}`" in layers + entry.prompt.markdown or "{qty}`" in layers, entry.id


def test_symptoms_and_scenarios_are_enough_and_every_row_is_reached() -> None:
    asked = symptoms.read(BANK / "symptoms.toml")
    designs = scenarios.read(BANK / "scenarios.toml")
    assert len(asked) >= 20
    assert len(designs) == 3
    rows = Counter(row for item in [*asked, *designs] for row in item.rows)
    for path in PHASES:
        rows.update(entry.competency for entry in read(path))
    assert set(rows) == set(COMPETENCIES)


def test_ids_are_unique_over_the_whole_loop() -> None:
    ids = [item.id for item in catalogue.load(ROOT).items]
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_every_model_answer_meets_its_own_checks() -> None:
    missed = []
    for item in catalogue.load(ROOT).items:
        if not item.source.startswith("labs/capstone/loop/bank/"):
            continue
        for finding in check(item.demand, shown(item.layers["arithmetic"])):
            if finding.verdict is not Verdict.MET:
                missed.append(f"{item.id}: {finding.value.name}: {finding.sentence}")
    assert missed == []


def test_a_wrong_number_is_noticed() -> None:
    item = next(i for i in catalogue.load(ROOT).items if i.id == "i04-fp8-cache-gain")
    verdicts = {f.verdict for f in check(item.demand, "15.1 s, 99 ms, 7x")}
    assert Verdict.MET not in verdicts


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name + "-" + path.stem)
def test_all_anchors_resolve(path: Path) -> None:
    pin = the_pin()
    tree = open_tree(pin)
    if tree is None:
        pytest.skip("the pinned tree is not here; the lock holds the anchors")
    resolver = Resolver(tree, pin)
    targets = {target for target, _ in scan_file(path, pin)}
    assert len(targets) >= 8
    for target in sorted(targets):
        resolver.resolve(target)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name + "-" + path.stem)
def test_the_lock_sees_the_file(path: Path) -> None:
    pattern = f"{path.relative_to(ROOT).parts[0]}/**/*{path.suffix}"
    assert pattern in SOURCES
    assert path in set(ROOT.glob(pattern))


def test_every_quantity_of_the_bank_is_used_by_it() -> None:
    registry.load()
    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    asked = set(re.findall(r"\{qty\}`([a-z0-9-]+)", text))
    asked |= set(re.findall(r'quantity = "([a-z0-9-]+)', text))
    names = {q.name for q in registry.all_quantities()}
    own = {n for n in names if re.match(r"i0[4-8]-|sy-|sc-", n)}
    assert own - asked == set()
    assert asked - names == set()


def test_metrics_named_in_symptoms_exist_upstream() -> None:
    tree = open_tree(the_pin())
    if tree is None:
        pytest.skip("the pinned tree is not here")
    sources = "".join(
        tree.text(f"vllm/v1/{name}")
        for name in ("metrics/loggers.py", "metrics/perf.py", "spec_decode/metrics.py")
    )
    text = "".join(path.read_text(encoding="utf-8") for path in FILES)
    names = set(re.findall(r"`(vllm:\w+)`", text))
    assert len(names) >= 15
    assert sorted(name for name in names if f'"{name}"' not in sources) == []


def test_a_tree_asks_more_than_one_thing() -> None:
    data = tomllib.loads((BANK / "symptoms.toml").read_text(encoding="utf-8"))
    for symptom in data["symptom"]:
        assert len(symptom["check"]) >= 2, symptom["id"]
