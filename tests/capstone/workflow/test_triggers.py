"""Which steps a path starts, on a made-up pipeline, and the record against the pinned tree."""

from __future__ import annotations

import ast
from dataclasses import asdict

import pytest
from capstone.plan.ci_areas import Step
from capstone.workflow.__main__ import main
from capstone.workflow.facts import Facts, Reader
from capstone.workflow.pinning import _of, _tests
from capstone.workflow.triggers import Everything, names, started

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import open_tree

TREE = open_tree(the_pin())
needs_tree = pytest.mark.skipif(TREE is None, reason="the pinned tree is not here")


def step(label: str, *sources: str, optional: bool = False) -> Step:
    return Step("misc.yaml", 1, label, "gpu", 1, optional, sources, ())


STEPS = [
    step("core", "vllm/v1/", "tests/v1/core"),
    step("named", "tests/test_sequence"),
    step("asked for", "vllm/", optional=True),
    step("always"),
]
ALL = Everything(("requirements/", "csrc/"), ("csrc/cpu/",))


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("vllm/v1/core/block_pool.py", ["core", "always"]),
        ("vllm/v1extra.py", ["always"]),
        ("tests/test_sequence.py", ["named", "always"]),
        ("docs/index.md", ["always"]),
        ("requirements/common.txt", ["core", "named", "always"]),
        ("csrc/cpu/x.cpp", ["always"]),
        ("csrc/attention.cu", ["core", "named", "always"]),
    ],
)
def test_paths_choose_the_steps(path: str, labels: list[str]) -> None:
    now, _ = started(STEPS, path, ALL)
    assert [one.label for one in now] == labels


def test_optional_steps_wait_for_a_person() -> None:
    now, later = started(STEPS, "vllm/v1/core/block_pool.py", ALL)
    assert [one.label for one in later] == ["asked for"]
    assert not set(now) & set(later)


def test_a_step_without_sources_is_for_every_path() -> None:
    assert names((), "anything")
    assert not names(("vllm/",), "vllm")


def test_what_a_test_pins_is_read_from_its_syntax() -> None:
    module = ast.parse(
        "def test_a(one):\n"
        "    out = scheduler.schedule()\n"
        "    assert scheduler.running == [] and out.total == 3\n"
        "    assert len(scheduler.waiting.items) == 1\n"
        "def helper():\n    assert x.never\n"
    )
    [test] = [_of("test_x.py", node) for node in _tests(module)]
    assert (test.asserts, test.schedules) == (2, 1)
    assert test.names == {"running", "total", "items", "waiting"}


@needs_tree
def test_the_record_is_what_the_tree_says() -> None:
    assert asdict(Facts.committed()) == asdict(Facts.of(Reader(TREE))), (
        "count anew: python -m capstone.workflow --record"
    )


@needs_tree
def test_the_command_says_what_a_file_sets_in_motion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vllm/v1/core/sched/scheduler.py"]) == 0
    printed = capsys.readouterr().out
    place = Facts.committed().places["vllm/v1/core/sched/scheduler.py"]
    assert f"steps of CI: {place['steps']}, of which {place['on a CPU']} on a CPU" in printed
    assert "owners: " in printed
    assert main(["vllm/no_such.py"]) == 2
    assert "no such file at the pin" in capsys.readouterr().err
