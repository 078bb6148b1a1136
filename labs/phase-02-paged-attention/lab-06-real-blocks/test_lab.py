r"""Lab 06: a recording of real vLLM's block pool, held to its rules and beside our engine."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given

from labkit.engines import request, scripted_engine
from labkit.properties import examples
from labkit.workloads import workloads

FIELDS = ("tables", "counts", "free", "names")


@cache
def capture():
    return json.loads(Path(__file__).with_name("capture.json").read_text(encoding="utf-8"))


def real(impl):
    r"""The recording, read without anything of yours."""
    return [impl.Moment(**told) for told in capture()["moments"]]


def moment(impl, tables, counts, free, names=None, step=1, when="scheduled"):
    return impl.Moment(step, when, tables, counts, free, names or [None] * len(counts))


# ---------------------------------------------------------------- task 1: the rules

GOOD = {"tables": {"a": [1, 2], "b": [1, 3]}, "counts": [0, 2, 1, 1, 0], "free": [4, 0]}
BROKEN = {
    "nothing": ({}, {}),
    "a holder is not counted": ({"counts": [0, 2, 2, 1, 0]}, {"count": {2}}),
    "a count too low": ({"counts": [0, 1, 1, 1, 0]}, {"count": {1}}),
    "held, and free": ({"free": [4, 3, 0]}, {"free": {3}}),
    "nobody's, and lost": ({"free": [4]}, {"free": {0}}),
    "free twice": ({"free": [4, 0, 4]}, {"once": {4}}),
    "held twice by one": ({"tables": {"a": [1, 2, 1], "b": [3]}}, {"once": {1}}),
    "given away while held": ({"tables": {"a": [1, 2], "b": [1, 4]}}, {"count": {3, 4}}),
    "zero holders and a count": ({"tables": {"a": [1, 2], "b": [1]}}, {"count": {3}}),
}


@pytest.mark.task(1)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_names_its_blocks(impl, name):
    changed, broken = BROKEN[name]
    found = impl.broken_rules(moment(impl, **{**GOOD, **changed}))
    assert found == {"count": set(), "free": set(), "once": set(), **broken}


@pytest.mark.task(1)
def test_real_vllm_keeps_the_rules_but_for_one_block(impl, truth):
    breakers = [impl.broken_rules(seen) for seen in real(impl)]
    sizes = {len(found["free"]) for found in breakers}
    truth("rule-breakers", " or ".join(map(str, sorted(sizes))))
    assert all(found == {"count": set(), "free": {0}, "once": set()} for found in breakers)


@pytest.mark.task(1)
@examples(30)
@given(workload=workloads())
def test_our_engine_keeps_them_on_any_workload(impl, workload):
    engine = workload.engine()

    def step():
        news = engine.step()
        found = impl.broken_rules(seen_in(impl, engine.scheduler))
        assert found == {"count": set(), "free": {0}, "once": set()}
        return news

    workload.play(engine, step)


def seen_in(impl, scheduler):
    r"""Our pool at this moment, without yours."""
    manager = scheduler.kv_cache_manager
    blocks = manager.block_pool.blocks
    return impl.Moment(
        0,
        "",
        {r: manager.get_block_ids(r) for r in scheduler.requests if manager.get_block_ids(r)},
        [b.ref_cnt for b in blocks],
        [b.block_id for b in manager.block_pool.free_block_queue],
        [b.block_hash for b in blocks],
    )


# ---------------------------------------------------------------- task 2: what happened


@pytest.mark.task(2)
@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ((0, None), (1, None), "taken"),
        ((0, None), (1, "x"), "taken"),
        ((0, None), (2, "x"), "taken"),
        ((0, "x"), (1, "x"), "hit"),
        ((0, "x"), (2, "x"), "hit"),
        ((0, "x"), (1, None), "evicted"),
        ((0, "x"), (1, "y"), "evicted"),
        ((1, "x"), (2, "x"), "shared"),
        ((1, None), (3, "x"), "shared"),
        ((2, "x"), (1, "x"), "left"),
        ((3, None), (1, None), "left"),
        ((1, "x"), (0, "x"), "freed"),
        ((2, None), (0, None), "freed"),
        ((1, None), (1, "x"), "named"),
        ((1, "x"), (1, "x"), None),
        ((0, "x"), (0, "x"), None),
        ((0, "x"), (0, None), None),
        ((2, None), (2, None), None),
    ],
)
def test_a_block_has_news_or_none(impl, old, new, word):
    before, after = (
        moment(impl, {}, [0, seen[0], 1], [], [None, seen[1], "q"]) for seen in (old, new)
    )
    assert impl.happened(before, after) == ({} if word is None else {1: word})


@pytest.mark.task(2)
def test_the_recording_has_all_kinds_of_news(impl, truth):
    seen = real(impl)
    news = [impl.happened(before, after) for before, after in pairwise(seen)]
    words = {word for found in news for word in found.values()}
    assert words == {"taken", "evicted", "hit", "shared", "left", "freed", "named"}
    [admitted] = [
        found for found, after in zip(news, seen[1:]) if after.step == 13 and "e" in after.tables
    ]
    revived = sorted(block for block, word in admitted.items() if word == "hit")
    truth("revived", len(revived))
    assert revived == [1, 2]


@pytest.mark.task(2)
def test_no_table_of_a_running_request_changes_but_by_additions(impl):
    r"""What the words mean for tables: an evicted or taken block is new to every table."""
    seen = real(impl)
    for before, after in pairwise(seen):
        words = impl.happened(before, after)
        for name, table in after.tables.items():
            old = before.tables.get(name, [])
            assert table[: len(old)] == old
            for block in table[len(old) :]:
                assert words[block] in ("taken", "evicted", "hit", "shared")


# ---------------------------------------------------------------- task 3: the queue


@pytest.mark.task(3)
@pytest.mark.parametrize(
    ("free", "before", "after", "queue"),
    [
        ([5, 6, 7], {}, {}, [5, 6, 7]),
        ([5, 6, 7], {}, {"a": [5, 6]}, [7]),
        ([5, 6, 7], {}, {"a": [6]}, [5, 7]),
        ([5], {"a": [1, 2, 3]}, {}, [5, 3, 2, 1]),
        ([5], {"a": [1, 2, 3], "b": [1, 4]}, {"b": [1, 4]}, [5, 3, 2]),
        ([5], {"b": [4, 1], "a": [3, 2]}, {}, [5, 1, 4, 2, 3]),
        ([5], {"a": [1, 2], "b": [1, 4]}, {}, [5, 2, 4, 1]),
        ([5], {"a": [1, 2], "b": [1, 4], "c": [1]}, {}, [5, 2, 4, 1]),
        ([5], {"a": [1, 2], "b": [1, 4]}, {"b": [1, 4]}, [5, 2]),
        ([5], {"a": [1, 2, 3]}, {"b": [5, 3]}, [2, 1]),
        ([5, 6], {"a": [1]}, {"a": [1, 5]}, [6]),
    ],
)
def test_nothing_in_the_queue_ever_overtakes(impl, free, before, after, queue):
    # Copies: an implementation that writes into them spoils this case only.
    before, after = deepcopy(before), deepcopy(after)
    counts = [0] * 8
    start = moment(impl, before, counts, [*free])
    assert list(impl.queue_after(start, after)) == queue
    assert start.free == free, "the moment before is not yours to change"


@pytest.mark.task(3)
def test_the_queue_of_real_vllm_follows_from_its_tables(impl):
    seen = real(impl)
    for before, after in pairwise(seen):
        assert list(impl.queue_after(before, after.tables)) == after.free, f"step {after.step}"


@pytest.mark.task(3)
def test_twins_share_all_but_their_last_block(impl, truth):
    [first] = [seen for seen in real(impl) if seen.step == 9 and seen.when == "scheduled"]
    shared = set(first.tables["c"]) & set(first.tables["d"])
    truth("shared-by-twins", len(shared))
    assert len(shared) == 3
    start = moment(impl, {"c": first.tables["c"]}, [], [*first.tables["d"][3:], *first.free])
    assert list(impl.queue_after(start, first.tables)) == first.free


# ---------------------------------------------------------------- task 4: numbers


@pytest.mark.task(4)
def test_names_are_numbered_as_they_appear(impl):
    names = [
        [None, None, None],
        [None, "x", None],
        [None, "x", "m"],
        ["a", "m", "x"],
        [None, "x", "new"],
    ]
    seen = [moment(impl, {"a": [1]}, [0, 1, 0], [2], row, step=n) for n, row in enumerate(names)]
    found = impl.numbered(seen)
    assert [told.names for told in found] == [
        [None, None, None],
        [None, 0, None],
        [None, 0, 1],
        [2, 1, 0],
        [None, 0, 3],
    ]
    assert [told[:5] for told in found] == [told[:5] for told in seen]
    assert [told.names for told in seen] == names, "the recording is not yours to change"


@pytest.mark.task(4)
def test_other_names_same_numbers(impl):
    seen = real(impl)
    other = [
        told._replace(names=[None if name is None else f"another {name}" for name in told.names])
        for told in seen
    ]
    assert impl.numbered(seen) == impl.numbered(other)
    assert impl.numbered(seen) != seen


# ---------------------------------------------------------------- task 5: our engine


@pytest.mark.task(5)
def test_our_pool_in_the_form_of_the_recording(impl):
    engine = scripted_engine(blocks=6, block_size=4)
    empty = impl.moment_of(engine.scheduler, 0, "made")
    assert empty == (0, "made", {}, [0] * 6, [1, 2, 3, 4, 5], [None] * 6)
    engine.add_request(request("a", range(9), max_tokens=3))
    engine.add_request(request("b", [*range(4), 99], max_tokens=1))
    engine.step()
    seen = impl.moment_of(engine.scheduler, 1, "updated")
    assert seen == (1, "updated", *seen_in(impl, engine.scheduler)[2:])
    assert seen.tables == {"a": [1, 2, 3]}
    assert seen.counts == [0, 1, 1, 1, 0, 0]
    assert seen.free == [5, 4]
    assert [name is not None for name in seen.names] == [False, True, True, False, False, False]
    assert empty.free == [1, 2, 3, 4, 5]


@pytest.mark.task(5)
@examples(20)
@given(workload=workloads())
def test_a_moment_does_not_change_when_the_engine_goes_on(impl, workload):
    engine, kept = workload.engine(), []

    def step():
        news = engine.step()
        seen = impl.moment_of(engine.scheduler, 7, "updated")
        kept.append((seen, json.dumps(seen[2:5])))
        assert seen[2:] == seen_in(impl, engine.scheduler)[2:]
        return news

    workload.play(engine, step)
    for seen, text in kept:
        assert json.dumps(seen[2:5]) == text


# ---------------------------------------------------------------- task 6: the difference


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("index", "field", "value"),
    [
        (0, "step", 9),
        (1, "when", "updated"),
        (1, "tables", {"a": [1, 3], "b": [4]}),
        (1, "tables", {"a": [1, 2]}),
        (2, "counts", [0, 1, 1, 1, 0, 0]),
        (2, "free", [5, 3]),
        (0, "names", [None, "y", None, None, None, None]),
    ],
)
def test_the_first_field_that_differs(impl, index, field, value):
    one = [
        moment(
            impl,
            *({"a": [1, 2], "b": [4]}, [0, 1, 1, 0, 1, 0], [3, 5]),
            [None, "x", None, None, None, None],
            step=n,
        )
        for n in range(4)
    ]
    other = list(one)
    other[index] = one[index]._replace(**{field: value})
    assert impl.first_difference(one, other) == (index, field)
    assert impl.first_difference(other, one) == (index, field)
    # A later one, and a field that is asked later, do not matter.
    other[3] = one[3]._replace(step=77)
    other[index] = other[index]._replace(names=[])
    assert impl.first_difference(one, other) == (index, field)


@pytest.mark.task(6)
def test_no_difference_and_the_length(impl):
    one = [moment(impl, {"a": [1], "b": [2]}, [0, 1, 1], [], step=n) for n in range(3)]
    other = [told._replace(tables={"b": [2], "a": [1]}) for told in one]
    assert impl.first_difference(one, other) is None
    assert impl.first_difference([], []) is None
    assert impl.first_difference(one, other[:2]) == (2, "length")
    assert impl.first_difference(one[:1], other) == (1, "length")


# ---------------------------------------------------------------- all together


@pytest.mark.task(4, 5, 6)
def test_our_engine_has_the_blocks_of_real_vllm(impl, truth):
    theirs, ours = impl.numbered(real(impl)), impl.numbered(impl.our_moments(capture()))
    pairs = list(zip(theirs, ours))
    different = [one for one, other in pairs if one != other]
    truth("different-moments", len(different) + abs(len(theirs) - len(ours)))
    assert impl.first_difference(theirs, ours) is None
    assert len(theirs) > 20


@pytest.mark.task(5, 6)
def test_another_pool_is_another_story(impl):
    r"""A comparison that finds nothing must be able to find something."""
    smaller = {**capture(), "sizes": {**capture()["sizes"], "num_blocks": 11}}
    assert impl.first_difference(real(impl), impl.our_moments(smaller)) is not None
