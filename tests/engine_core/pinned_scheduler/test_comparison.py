"""The comparison itself, without vLLM: the table's limits, the shrinker, the counts."""

from __future__ import annotations

import json

import pytest
from pinned_scheduler import differential
from pinned_scheduler.coverage import FLOORS, Coverage
from pinned_scheduler.intended_differences import DECISIONS, TABLE
from pinned_scheduler.lockstep import compare
from pinned_scheduler.our_adapter import OurAdapter, WatchedScheduler
from pinned_scheduler.replay import raw_steps
from pinned_scheduler.shrink import describe, shrink, smallest
from pinned_scheduler.upstream_defects import DEFECTS
from pinned_scheduler.workload import GENERATOR, SHAPES, workload


def test_the_table_is_short_and_touches_no_decision() -> None:
    assert len(TABLE) <= 5
    assert len({row.field for row in TABLE}) == len(TABLE)
    assert not {row.field for row in TABLE} & set(DECISIONS)
    record = next(one for one in raw_steps(workload(3), OurAdapter()) if "scheduled" in one)
    known = {name.split(" after")[0] for name in record}
    assert known == {row.field for row in TABLE} | set(DECISIONS) | {"step"}


def test_the_book_prints_this_table() -> None:
    record = json.loads(differential.RECORD.read_text(encoding="utf-8"))
    assert record["intended_differences"] == differential.rows()
    assert record["generator"] == GENERATOR
    assert record["workloads"] >= differential.FULL_RUN
    assert {defect["id"] for defect in record["defects"]} == {defect.id for defect in DEFECTS}


def test_new_tokens_of_a_running_request_are_no_intended_difference() -> None:
    """The row lets pass what is sent for resumed requests, and nothing else."""
    (row,) = (row for row in TABLE if row.field == "new_token_ids")
    record = {"cached": [("a", 4, 1), ("b", 0, 1)], "resumed": ["b"]}
    assert row.normalise([[], [1, 2]], record) == []
    assert row.normalise([[9], [1, 2]], record) == [[9]]


class LateScheduler(WatchedScheduler):
    """Forgets a prefix hit of every third request."""

    def add_request(self, request):
        super().add_request(request)
        if len(self.requests) % 3 == 0:
            request.block_hashes = []


class LateAdapter(OurAdapter):
    side = "ours"

    def scheduler(self, config):
        scheduler = super().scheduler(config)
        scheduler.__class__ = LateScheduler
        return scheduler


def test_a_difference_is_named_and_shrunk() -> None:
    """Two of our own, one of them wrong: what remains is three requests and their arrival."""
    failing = next(
        one
        for seed in range(100)
        if workload(seed)["config"]["enable_prefix_caching"]
        and compare(one := workload(seed), OurAdapter(), LateAdapter()) is not None
    )
    small = shrink(failing, lambda one: compare(one, OurAdapter(), LateAdapter()) is not None)
    arrivals = [event for step in small["steps"] for event in step if event["kind"] == "add"]
    assert len(arrivals) == 3
    assert all(event["kind"] == "add" for step in small["steps"] for event in step)
    assert describe(small).count("arrives") == 3


@pytest.mark.parametrize("wanted", [set(), {3}, {0, 9}, {1, 4, 5}])
def test_the_smallest_failing_part_is_found(wanted: set[int]) -> None:
    assert set(smallest(range(10), lambda some: wanted <= set(some))) == wanted


def test_a_breakdown_on_both_sides_is_no_agreement() -> None:
    class Broken(OurAdapter):
        def result(self, req_ids, sampled):
            raise OSError("no device")

    difference = compare(workload(3), Broken(), Broken())
    assert difference is not None
    assert difference.fields["end"] == ("OSError: no device", "OSError: no device")


def test_too_little_is_noticed() -> None:
    coverage = Coverage()
    coverage.num_workloads = 1000
    coverage.endless = [(5, False), (6, True)]
    problems = coverage.too_little()
    assert len(problems) == len(FLOORS) + 1
    assert problems[0] == "workload 5 does not end"


def test_every_shape_is_drawn() -> None:
    assert {workload(seed)["shape"] for seed in range(150)} == set(SHAPES)
