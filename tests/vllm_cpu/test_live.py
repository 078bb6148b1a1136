r"""Real vLLM, now: is it the pinned one, and does it still do what the captures say?

Runs in the environment of `nox -s vllm_cpu` and nowhere else.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from functools import cache
from pathlib import Path

import pytest
from vllm_cpu import capture, scrub, wheel
from vllm_cpu.scenes import CHECKPOINT, SCENES

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / capture.LAB / "capture"
PACKAGE = wheel.installed()
pytestmark = [
    pytest.mark.vllm_cpu,
    pytest.mark.skipif(PACKAGE is None, reason="vLLM is not installed here: nox -s vllm_cpu"),
]
ON_CPU = [name for name, scene in SCENES.items() if scene.device == "cpu"]
needs_checkpoint = pytest.mark.skipif(
    not (ROOT / CHECKPOINT / "model.safetensors").is_file(), reason=f"no checkpoint: {CHECKPOINT}"
)


@cache
def solution():
    path = ROOT / capture.LAB / "solution.py"
    spec = importlib.util.spec_from_file_location("lab_02_solution_live", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_wheel_is_the_pinned_tree_but_for_two_files(capsys):
    pinned = ROOT / "upstream" / "vllm"
    if not pinned.is_dir():
        pytest.skip("the pinned tree is not fetched: python -m upstream_anchors fetch")
    with capsys.disabled():
        print(f"\n{wheel.report(PACKAGE, pinned)}")
    result = wheel.compare(PACKAGE, pinned)
    assert result.differing == ("_version.py", "platforms/__init__.py")
    assert (result.only_installed, result.only_pinned) == ((), ())
    assert result.same > 1700
    # The first lost the commit when the wheel was built, the second knows the wheel's name.
    changed = [
        line
        for name in result.differing
        for line in wheel.difference(name, PACKAGE, pinned)
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]
    assert [line[1:].strip() for line in changed] == [
        "__commit_id__ = commit_id = 'g0decac0d9'",
        "__commit_id__ = commit_id = None",
        'vllm_version = version("vllm")',
        "try:",
        'vllm_version = version("vllm")',
        "except PackageNotFoundError:",
        'vllm_version = version("vllm-cpu") + "+cpu"',
    ]


def test_the_solution_shortens_every_path_as_the_formatter_does(monkeypatch):
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    from vllm.logging_utils import NewLineFormatter

    formatter = NewLineFormatter("%(fileinfo)s")
    formatter.use_relpath = True
    formatter.root_dir = PACKAGE.parent
    for path in PACKAGE.rglob("*.py"):
        record = logging.LogRecord("vllm", logging.INFO, str(path), 1, "words", None, None)
        written = formatter.format(record)
        assert solution().shrunk(path.relative_to(PACKAGE.parent).as_posix()) == written


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The scenes, run again; nothing of it is kept."""
    folder = tmp_path_factory.mktemp("capture")
    assert capture.main(["--out", str(folder)]) == 0
    return folder


def said(folder, name):
    """Which function spoke in which stage: the structure of a log, without its values."""
    lines = solution().parse(solution().log(name, folder))
    known = solution().known_sources(folder)
    sources = [solution().source_of(line, known) for line in lines]
    return set(zip(sources, solution().attribute(sources), strict=True))


@needs_checkpoint
@pytest.mark.slow
@pytest.mark.parametrize("name", ON_CPU)
def test_the_same_functions_speak_in_the_same_stages(fresh, name):
    timing = {
        "vllm/distributed/device_communicators/shm_broadcast.py#SpinCondition.wait",
        "vllm/v1/engine/utils.py#wait_for_engine_startup",
        None,
    }
    now, then = said(fresh, name), said(CAPTURE, name)
    # What each processor has of its own, and what depends on who was faster.
    machine = {"vllm/v1/worker/cpu_worker.py#CPUWorker.init_device"}
    differ = {source for source, _ in now ^ then}
    assert differ <= timing | machine


@needs_checkpoint
@pytest.mark.slow
@pytest.mark.parametrize("name", ON_CPU)
def test_our_scheduler_takes_the_steps_of_this_run(fresh, name):
    run = solution().trace(name, fresh)
    assert solution().line_up(solution().our_steps(name, fresh), run["steps"]) is None
    prompts = {key: len(told["prompt_token_ids"]) for key, told in run["requests"].items()}
    assert solution().counters(prompts, run["steps"]) == [
        {key: tuple(row) for key, row in step["after_update"].items()} for step in run["steps"]
    ]


@needs_checkpoint
@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "scarce"])
def test_in_one_process_the_schedule_is_the_captured_one(fresh, name):
    now, then = (solution().trace(name, folder)["steps"] for folder in (fresh, CAPTURE))
    assert solution().line_up(now, then) is None


@needs_checkpoint
@pytest.mark.slow
def test_a_fresh_capture_is_clean_and_stated(fresh):
    for path in fresh.iterdir():
        assert scrub.leaks(path.read_text(encoding="utf-8")) == []
    told = json.loads((fresh / "provenance.json").read_text(encoding="utf-8"))
    assert told["versions"]["vllm-cpu"] == "0.22.1"
    assert set(told["scenes"]) == set(ON_CPU)
