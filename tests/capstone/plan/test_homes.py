"""The test file that a frame suggests, against 57 places that were labelled beforehand."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from capstone.plan.ci_areas import covering
from capstone.plan.frame import write_frame
from capstone.plan.places import homes

LABELS = tomllib.loads(Path(__file__).with_name("test_places.toml").read_text(encoding="utf-8"))

# What was measured when the guesser was made: right at once, and among the first three.
# The half that was drawn by a seed was looked at only then.
MEASURED = {"tuned": (24, 24), "drawn": (27, 30)}


@pytest.mark.parametrize("half", sorted(LABELS))
def test_the_place_is_found_as_often_as_is_said(upstream, half: str) -> None:
    first = three = 0
    for target, right in LABELS[half].items():
        found = [home.path for home in homes([target], upstream)]
        first += found[:1] != [] and found[0] in right
        three += bool(set(found) & set(right))
    assert (first, three) == MEASURED[half], f"of {len(LABELS[half])}; pages and docstring say so"


@pytest.mark.parametrize(
    ("target", "first", "why"),
    [
        # No test of its folder bears its name, and those of other folders do.
        ("vllm/v1/core/sched/utils.py#check_stop", "test_scheduler.py", "check_stop"),
        (
            "vllm/v1/core/sched/utils.py#check_sequence_repetition",
            "test_repetition_detection.py",
            "check_sequence_repetition",
        ),
        # Passed on by a package, as `vllm.config.SchedulerConfig`.
        ("vllm/config/scheduler.py#SchedulerConfig", "test_scheduler.py", "SchedulerConfig"),
        # Imported by no test at all.
        (
            "vllm/v1/core/sched/request_queue.py#PriorityRequestQueue",
            "test_scheduler.py",
            "through vllm/v1/core/sched/scheduler.py",
        ),
    ],
)
def test_the_reason_is_said(upstream, target: str, first: str, why: str) -> None:
    best = homes([target], upstream)[0]
    assert best.path == f"tests/v1/core/{first}"
    assert best.why == why


def test_a_module_that_is_taken_as_a_whole_is_imported_too(upstream) -> None:
    """`from vllm.utils import numa_utils`: no neighbour has to speak for it."""
    best, other = homes(["vllm/utils/numa_utils.py"], upstream)[:2]
    assert (best.path, best.why) == ("tests/utils_/test_numa_utils.py", "the module")
    assert other.why == ""


def test_two_places_count_together(upstream) -> None:
    targets = [
        "vllm/v1/core/block_pool.py#BlockPool",
        "vllm/v1/core/kv_cache_utils.py#hash_block_tokens",
    ]
    assert homes(targets[:1], upstream)[0].path == "tests/v1/core/test_prefix_caching.py"
    both = [home.path for home in homes(targets, upstream)]
    assert both[0] in {
        "tests/v1/core/test_prefix_caching.py",
        "tests/v1/core/test_kv_cache_utils.py",
    }


def test_every_suggestion_exists_and_ci_runs_it(upstream) -> None:
    for target in LABELS["tuned"]:
        best = homes([target], upstream, most=1)[0]
        assert upstream.tree.is_file(best.path)
        assert covering(upstream.steps, upstream.tree, best.path)


def test_the_frame_says_that_it_is_a_guess(upstream) -> None:
    target = "vllm/v1/core/sched/utils.py#check_stop"
    frame = write_frame(upstream, [target], with_graph=False)
    (line,) = [line for line in frame.split("\n") if line.startswith("- Place:")]
    assert line.startswith("- Place: `tests/v1/core/test_scheduler.py`, which takes check_stop")
    assert "TODO(you)" in line
    assert "`tests/v1/core/test_repetition_detection.py`" in line
