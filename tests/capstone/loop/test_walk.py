"""A walk through a tree: what is seen, what is a detour, what it is worth, and what is kept."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
from capstone.errors import CapstoneError
from capstone.loop import catalogue, symptoms
from capstone.loop.catalogue import Bank
from capstone.loop.draw import Draw
from capstone.loop.grading import examine, grade
from capstone.loop.interview import Cue, Interview, Stopped, complete
from capstone.loop.item import LAYERS, Item
from capstone.loop.matrix import matrix
from capstone.loop.screen import Screen
from capstone.loop.transcript import State, Transcript
from capstone.loop.tree import Tempting
from capstone.loop.walk import Walked, good, judge
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

HERE = Path(__file__).parent
CATALOG = symptoms.read(catalogue.FOLDER / "symptoms.toml")
EVERY = st.sampled_from(CATALOG)
WHOLE = dict.fromkeys(LAYERS, 2)


def points(item: Item, looks: tuple[str, ...], cause: str) -> int:
    assert item.tree is not None
    return judge(item.tree, Walked(looks, cause)).points


@pytest.mark.parametrize("item", CATALOG, ids=lambda item: item.id)
def test_each_tree_of_the_catalog_can_be_walked(item: Item) -> None:
    tree = item.tree
    assert tree is not None
    way = good(tree)
    assert points(item, way.looks, way.cause) == 2
    # To guess is worth one point at most, another cause none.
    assert points(item, (), way.cause) == 1
    assert points(item, way.looks[:-1], way.cause) == 1
    for cause in tree.causes:
        if cause.id != way.cause:
            assert points(item, way.looks, cause.id) == 0
    assert points(item, way.looks, "") == 0
    # One that tempts and is dear costs a point, wherever it comes.
    (dear, *_) = [one for one in tree.tempting if one.cost == 3]
    if any(check.cost < 3 for check, _ in tree.path):
        assert points(item, (dear.id, *way.looks), way.cause) == 1
    assert points(item, (*way.looks, dear.id), way.cause) == 1
    # The other way round is out of turn.
    if len(way.looks) > 2:
        assert points(item, tuple(reversed(way.looks)), way.cause) == 1
    # Whatever somebody looks at shows something, and never which check was due.
    for one in (*tree.checks, *tree.tempting):
        assert tree.seen(one.id)


@given(EVERY, st.data())
def test_full_points_are_earned_by_the_way_alone(item, data) -> None:  # type: ignore[no-untyped-def]
    """Any looks, any cause: counted here from the rules, not by the code that is tested."""
    tree = item.tree
    every = [one.id for one in (*tree.checks, *tree.tempting)]
    looks = tuple(data.draw(st.lists(st.sampled_from([*every, "gone"]), max_size=8)))
    cause = data.draw(st.sampled_from([one.id for one in tree.causes] + ["", "gone.1"]))
    found = judge(tree, Walked(looks, cause))
    way = [check.id for check, _ in tree.path]
    first = list(dict.fromkeys(looks))
    if found.points == 2:
        assert cause == tree.case
        assert set(way) <= set(first)
        assert len(set(first) - set(way)) <= 1
    if cause == tree.case:
        assert found.points >= 1
    else:
        assert found.points == 0
    # A second look at the same thing changes nothing; a look less at what is no check of the way
    # never costs.
    assert judge(tree, Walked(looks + looks, cause)).points == found.points
    for name in set(first) - set(way):
        fewer = tuple(one for one in looks if one != name)
        assert judge(tree, Walked(fewer, cause)).points >= found.points
    assert len(found.detours) == len(found.sentences()) - 1


@given(EVERY)
def test_of_all_orders_the_trees_own_is_best(item) -> None:  # type: ignore[no-untyped-def]
    tree = item.tree
    way = good(tree)
    for order in permutations(way.looks):
        detours = judge(tree, Walked(order, way.cause)).detours
        assert (not detours) == (order == way.looks)


def test_a_detour_says_why(bank: Bank) -> None:
    tree = next(item for item in CATALOG if item.id == "sy-preemptions-climb").tree
    assert tree is not None
    found = judge(tree, Walked(("gaps", "seats", "usage", "redone", "half"), tree.case))
    said = [detour.why for detour in found.detours]
    assert [detour.dear for detour in found.detours] == [False, True, True]
    assert "Preemptions of any cause do that." in said[0]
    assert "first came: Is usage of the cache near one when they happen?" in said[1]
    assert "--max-num-seqs" not in said[2]
    assert found.points == 1
    assert "dear" in "\n".join(found.sentences())


def test_one_cheap_detour_is_forgiven_and_a_second_look_is_none() -> None:
    (item,) = [item for item in CATALOG if item.id == "sy-preemptions-climb"]
    tree = item.tree
    assert tree is not None
    once = Walked(("gaps", "gaps", "usage", "gaps", "redone", "usage", "seats"), tree.case)
    assert len(judge(tree, once).detours) == 1
    assert judge(tree, once).points == 2
    twice = Walked(("gaps", "usage", "seats", "redone"), tree.case)
    assert [detour.dear for detour in judge(tree, twice).detours] == [False, False]
    assert judge(tree, twice).points == 1


def test_what_is_offered_says_nothing_of_the_way() -> None:
    """In no place of the list is the check that is due more often than chance would have it."""
    first = [0] * 8
    for item in CATALOG:
        assert item.tree is not None
        for seed in range(60):
            first[item.tree.offered(seed).index(item.tree.path[0][0].id)] += 1
    total = sum(first)
    assert first[0] < 0.3 * total
    assert item.tree.offered(3) == item.tree.offered(3)


@pytest.fixture
def symptom(bank: Bank) -> Item:
    found = bank.get("sample-symptom-1")
    assert found is not None
    return found


def test_the_walk_bounds_the_mechanism(symptom: Item) -> None:
    tree = symptom.tree
    assert tree is not None
    typed = {"arithmetic": "; ".join(v.shown for v in symptom.demand.values), "remedy": "less"}
    for walked, most in ((good(tree), 2), (Walked((), tree.case), 1), (Walked(), 0)):
        limits = examine(symptom, typed, walked)
        assert limits.highest == {"mechanism": most, "arithmetic": 2, "consequence": 2}
        assert grade(symptom, limits, WHOLE, peeked=False).score == {2: 4, 1: 3, 0: 2}[most]
        assert grade(symptom, limits, WHOLE, peeked=True).score <= 2
    # A walk and not a word: its layer alone counts.
    limits = examine(symptom, {}, good(tree))
    assert limits.highest == {"mechanism": 2, "arithmetic": 0, "consequence": 0}
    assert grade(symptom, limits, WHOLE, peeked=False).score == 1
    assert examine(symptom, {}, Walked()).blank
    # In an old transcript the tree was typed, and nothing bounds it.
    assert examine(symptom, {**typed, "tree": "first"}, None).highest["mechanism"] == 2


def test_a_question_cannot_be_walked(bank: Bank) -> None:
    item = bank.get("p00-seeds")
    assert item is not None
    assert examine(item, {}, Walked(("which",), "which.1")).blank


# ---- in the terminal ---------------------------------------------------------------------------
Talk = Callable[..., tuple[str, Transcript]]


@pytest.fixture
def talk(bank: Bank, tmp_path: Path) -> Talk:
    """Types lines into the debugging session of one symptom; what was shown, and the transcript."""
    asked = {"rapid-fire": (), "deep-dive": (), "design": ("none",)}

    def go(*typed: str) -> tuple[str, Transcript]:
        path = tmp_path / "walk.jsonl"
        seconds = iter(range(10**4))
        transcript = Transcript(path, clock=lambda: float(next(seconds)))
        if not path.exists():
            transcript.begin(Draw(1, {**asked, "debugging": ("sample-symptom-1",)}), bank.digest())
        transcript.sit()
        out = io.StringIO()
        console = Console(file=out, width=90, color_system=None)
        lines = iter(typed)

        def read(cue: Cue) -> str:
            try:
                text = next(lines)
            except StopIteration:
                raise EOFError from None
            console.print(cue.prompt + text, markup=False)
            return text

        interview = Interview(bank, transcript, Screen(console), read)
        with contextlib.suppress(Stopped):
            interview.session("debugging")
        return out.getvalue(), transcript

    return go


def number(item: Item, name: str) -> str:
    assert item.tree is not None
    return str(item.tree.offered(1).index(name) + 1)


def cause(item: Item, name: str) -> str:
    assert item.tree is not None
    return str([one.id for one in item.tree.named(1)].index(name) + 1)


def test_from_the_symptom_to_the_cause(talk: Talk, symptom: Item, bank: Bank) -> None:
    shown, transcript = talk(
        number(symptom, "which"),
        "",
        "9",
        "soon",
        number(symptom, "which"),
        ":time",
        "c",
        "",
        number(symptom, "preempted"),
        "C",
        "7",
        cause(symptom, "preempted.1"),
        *(symptom.demand.values[0].shown, ".", "fewer seats", "."),
        *"222",
    )
    assert shown.count("→ Only the later ones.") == 2, "looked at twice, shown twice"
    assert "→ Yes." in shown
    assert shown.count("a number from 1 to 4, or c") == 3
    assert "a number from 1 to 3, or nothing" in shown
    assert " of 12:00" in shown
    assert "walk: the right cause, 0 detours" in shown
    assert "Score 4 of 4" in shown
    progress = transcript.state.of(symptom.id)
    assert progress.looks == ["which", "preempted"], "what is looked at twice is written once"
    assert complete(symptom, progress)
    assert [r.grade.score for r in matrix(bank, transcript).results] == [4]


def test_gone_on_with_in_the_middle_of_a_walk(talk: Talk, symptom: Item) -> None:
    talk(number(symptom, "busy"), "c")
    shown, transcript = talk("c", cause(symptom, "preempted.2"))
    assert "→ 100 %." in shown, "what was seen before is shown again"
    offered = shown.split("→ 100 %.")[1].split("Next?")[0]
    assert "Is the device busy?" not in offered
    assert transcript.state.of(symptom.id).cause == "preempted.2"
    assert "walk: not the cause, 1 detour: mechanism at most 0" not in shown
    shown, _ = talk(".", ".", "0", "0", "0")
    assert "Walk to the cause" not in shown
    assert "walk: not the cause, 1 detour: mechanism at most 0" in shown


def test_a_peek_in_a_walk_holds_the_score_at_two(talk: Talk, symptom: Item, bank: Bank) -> None:
    shown, transcript = talk(
        ":peek",
        *(number(symptom, "which"), number(symptom, "preempted"), "c", ":peek"),
        cause(symptom, "preempted.1"),
        *(symptom.demand.values[0].shown, ".", "fewer seats", "."),
        *"222",
    )
    assert "← this case" in " ".join(shown.split())
    (result,) = matrix(bank, transcript).results
    assert (result.grade.score, result.grade.raw, result.grade.caps) == (2, 4, ("peek",))


# ---- as it is written down ---------------------------------------------------------------------
ENTRIES = {
    "look": {"check": "which"},
    "cause": {"cause": "preempted.1"},
}


def begun(version: int) -> State:
    state = State()
    asked = {"rapid-fire": [], "deep-dive": [], "design": ["d"], "debugging": ["s"]}
    state.apply({"event": "loop", "version": version, "seed": 1, "asked": asked})
    return state


def test_after_the_cause_nothing_more_is_looked_at() -> None:
    state = begun(2)
    for event in ("look", "cause"):
        state.apply({"event": event, "item": "s", "t": 0.0, **ENTRIES[event]})
    for event in ("look", "cause"):
        with pytest.raises(CapstoneError, match="was named before"):
            state.apply({"event": event, "item": "s", "t": 0.0, **ENTRIES[event]})


@pytest.mark.parametrize("event", ["look", "cause"])
def test_a_step_without_sense_is_refused(event: str) -> None:
    key = next(iter(ENTRIES[event]))
    with pytest.raises(CapstoneError, match="None"):
        begun(2).apply({"event": event, "item": "s", "t": 0.0})
    with pytest.raises(CapstoneError, match="version 1 has no walks"):
        begun(1).apply({"event": event, "item": "s", "t": 0.0, key: "x"})


@pytest.mark.parametrize("version", [0, 3, True, 1.0, "2", None])
def test_a_version_that_is_not_known_is_refused(version: object) -> None:
    with pytest.raises(CapstoneError, match=r"version .* is not known"):
        begun(version)  # type: ignore[arg-type]


def test_a_transcript_of_version_1_is_graded_as_it_was(bank: Bank) -> None:
    """Written by the program before there were walks; scores as it gave them."""
    transcript = Transcript(HERE / "version-1.jsonl")
    found = matrix(bank, transcript)
    assert (transcript.state.version, found.sealed, found.open) == (1, True, ())
    assert found.scores() == {
        "p00-why-a-cache": 2,
        "sample-4-first": 2,
        "sample-design-1": 1,
        "sample-symptom-1": 2,
        "sample-symptom-2": 1,
    }


def test_a_loop_of_version_1_goes_on_as_it_began(bank: Bank, tmp_path: Path) -> None:
    """Its first tree was typed and ended; the second one is typed as well."""
    path = tmp_path / "old.jsonl"
    before = (HERE / "version-1-unfinished.jsonl").read_bytes()
    path.write_bytes(before)
    transcript = Transcript(path)
    cues: list[tuple[str, str]] = []

    def read(cue: Cue) -> str:
        cues.append((cue.kind, cue.about))
        return "2" if cue.kind == "grade" else ["1,200 tokens", "."][min(cue.number, 1)]

    console = Console(file=io.StringIO(), width=80)
    assert Interview(bank, transcript, Screen(console), read).run()
    assert ("line", "tree") in cues
    assert not {kind for kind, _ in cues} & {"look", "cause"}
    assert path.read_bytes().startswith(before)
    again = Transcript(path)
    assert (again.state.remarks, len(matrix(bank, again).results)) == ([], 5)


def test_every_check_that_tempts_is_there_for_a_reason() -> None:
    for item in CATALOG:
        assert item.tree is not None
        assert len(item.tree.tempting) >= 2, item.id
        assert any(one.cost == 3 for one in item.tree.tempting), item.id
        for one in item.tree.tempting:
            assert isinstance(one, Tempting)
            assert len(one.why.split()) >= 4, (item.id, one.id)
