r"""Numbers of phase 19: counted in the workflow files of the pinned tree, and a little arithmetic.

The counts come from the record of {py:mod}`capstone.workflow`, which a test holds to the tree.
"""

from __future__ import annotations

import json
from functools import lru_cache
from math import comb
from pathlib import Path
from typing import Any

from book.quantities.registry import quantity
from upstream_anchors.drift.story import Story, says_otherwise

_ROOT = Path(__file__).parents[2]
_RECORD = "labs/capstone/workflow/record.json"
TREE = "counted in the pinned tree: `python -m capstone.workflow --record`"
DRIFT = "the drift records of this book"
SUM = "arithmetic on the numbers of the question"
SCHEDULER = "vllm/v1/core/sched/scheduler.py"


@lru_cache
def record() -> dict[str, Any]:
    """What was counted."""
    return json.loads((_ROOT / _RECORD).read_text(encoding="utf-8"))


@quantity("p19-steps", unit="", source=TREE, phases=(19,))
def steps() -> int:
    """Steps of CI in the test areas."""
    return record()["steps"]["all"]


@quantity("p19-steps-cpu", unit="", source=TREE, phases=(19,))
def steps_cpu() -> int:
    """Steps of CI that run on a CPU."""
    return record()["steps"]["on a CPU"]


@quantity("p19-steps-optional", unit="", source=TREE, phases=(19,))
def steps_optional() -> int:
    """Steps of CI that nobody but a person starts."""
    return record()["steps"]["optional"]


@quantity("p19-scheduler-steps", unit="", source=TREE, phases=(19,))
def scheduler_steps() -> int:
    """Steps that a change of the scheduler's file starts."""
    return record()["places"][SCHEDULER]["steps"]


@quantity("p19-scheduler-cpu", unit="", source=TREE, phases=(19,))
def scheduler_cpu() -> int:
    """Steps that a change of the scheduler's file starts and that run on a CPU."""
    return record()["places"][SCHEDULER]["on a CPU"]


@quantity("p19-scheduler-owners", unit="", source=TREE, phases=(19,))
def scheduler_owners() -> int:
    """People who own the scheduler's file."""
    return record()["places"][SCHEDULER]["owners"]


@quantity("p19-requirements-steps", unit="", source=TREE, phases=(19,))
def requirements_steps() -> int:
    """Steps that a change of requirements/common.txt starts: all that are not optional."""
    return record()["places"]["requirements/common.txt"]["steps"]


@quantity("p19-owner-lines", unit="", source=TREE, phases=(19,))
def owner_lines() -> int:
    """Lines of CODEOWNERS with a pattern."""
    return record()["rules"]["lines of CODEOWNERS"]


@quantity("p19-hooks", unit="", source=TREE, phases=(19,))
def hooks() -> int:
    """Hooks of pre-commit."""
    return record()["rules"]["hooks"]


@quantity("p19-hooks-ci", unit="", source=TREE, phases=(19,))
def hooks_ci() -> int:
    """Hooks that run in CI only."""
    return record()["rules"]["hooks in CI only"]


@quantity("p19-test-files", unit="", source=TREE, phases=(19,))
def test_files() -> int:
    """Test files of the tree."""
    return sum(record()["test_files"].values())


@quantity("p19-test-files-cpu", unit="", source=TREE, phases=(19,))
def test_files_cpu() -> int:
    """Test files of which a step on a CPU runs something."""
    return sum(count for name, count in record()["test_files"].items() if "CPU" in name)


@quantity("p19-test-files-no-step", unit="", source=TREE, phases=(19,))
def test_files_no_step() -> int:
    """Test files that no step of the test areas names."""
    return record()["test_files"]["no step"]


@quantity("p19-core-tests", unit="", source=TREE, phases=(19,))
def core_tests() -> int:
    """Test functions in tests/v1/core."""
    return sum(row["tests"] for row in record()["core_tests"].values())


@quantity("p19-core-asserts", unit="", source=TREE, phases=(19,))
def core_asserts() -> int:
    """Assertions in the tests of tests/v1/core."""
    return sum(row["asserts"] for row in record()["core_tests"].values())


@quantity("p19-asserts-a-test", unit="", source=TREE, phases=(19,))
def asserts_a_test() -> float:
    """Assertions in a test, on average."""
    return core_asserts() / core_tests()


@quantity("p19-changed-first", unit="%", source=DRIFT, phases=(19,))
def changed_first() -> float:
    """Definitions anchored by this book that say something else one release after the pin."""
    story = Story.committed()
    places = story.definitions()
    return 100 * story.count(says_otherwise, story.records[0], places) / len(places)


@quantity("p19-changed-last", unit="%", source=DRIFT, phases=(19,))
def changed_last() -> float:
    """Definitions anchored by this book that say something else at the newest release on record."""
    story = Story.committed()
    places = story.definitions()
    return 100 * story.count(says_otherwise, story.last, places) / len(places)


@quantity("p19-fork-merges", unit="%", source=SUM, phases=(19,))
def fork_merges() -> float:
    """Chance that at least one of five places changed at the first release, if independent."""
    return 100 * (1 - (1 - changed_first() / 100) ** 5)


@quantity("p19-gauntlet-hours", unit="h", source=SUM, phases=(19,))
def gauntlet_hours() -> float:
    """Three issues: ten minutes for each that leaves at once, two hours for the one planned."""
    return (2 * 10 + 120) / 60


@quantity("p19-late-hours", unit="h", source=SUM, phases=(19,))
def late_hours() -> float:
    """Three issues, if each is coded for six hours before anybody looks for duplicates."""
    return 3 * 6


@quantity("p19-flaky-red", unit="%", source=SUM, phases=(19,))
def flaky_red() -> float:
    """Chance that a right change is red, if each started step fails by chance once in 200 runs."""
    return 100 * (1 - (1 - 1 / 200) ** scheduler_steps())


@quantity("p19-flaky-red-all", unit="%", source=SUM, phases=(19,))
def flaky_red_all() -> float:
    """Chance that a right change is red if it starts every step, each failing once in 200 runs."""
    return 100 * (1 - (1 - 1 / 200) ** requirements_steps())


@quantity("p19-two-reviewers", unit="%", source=SUM, phases=(19,))
def two_reviewers() -> float:
    """Chance that both of two independent reviewers miss a fault that each misses in 3 of 10."""
    return 100 * 0.3**2


@quantity("p19-noise-runs", unit="", source=SUM, phases=(19,))
def noise_runs() -> int:
    """Runs of each side until a gain of 2% is three standard errors, at 3% of noise a run."""
    runs = 1
    while 3 * 0.03 * (2 / runs) ** 0.5 > 0.02:
        runs += 1
    return runs


@quantity("p19-pairs", unit="", source=SUM, phases=(19,))
def pairs() -> int:
    """Pairs of the four features of the blast radius: TP, quantization, LoRA, speculation."""
    return comb(4, 2)


@quantity("p19-comment-minutes", unit="min", source=SUM, phases=(19,))
def comment_minutes() -> float:
    """Reading a comment of 400 words, at the 175 words a minute of this book."""
    return 400 / 175


@quantity("p19-thousand-lines-hours", unit="h", source=SUM, phases=(19,))
def thousand_lines_hours() -> float:
    """Reading 1,000 changed lines for defects at 200 lines an hour."""
    return 1000 / 200
