r"""Everything that the book counts in the workflow of the pinned tree, as one record.

`record.json` is committed, so that the pages can be built without the tree, and a test compares it
with the tree where there is one. Every list in it is sorted: two records are equal to the byte.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from upstream_anchors.pin import the_pin
from upstream_anchors.tree import Tree

from capstone.errors import CapstoneError
from capstone.plan.ci_areas import Step, covering, read_steps
from capstone.records import read_json
from capstone.triage.owners import Rule, owners_of, read_owners
from capstone.workflow.pinning import Pinned, pinned_by
from capstone.workflow.triggers import Change, read_everything, started

RECORD = Path(__file__).with_name("record.json")
HOOKS = ".pre-commit-config.yaml"
BOT = ".github/mergify.yml"
#: Places that the book's reader knows, and what a change of them sets in motion.
PLACES = (
    "docs/design/prefix_caching.md",
    "vllm/sampling_params.py",
    "vllm/v1/core/block_pool.py",
    "vllm/v1/core/sched/scheduler.py",
    "vllm/v1/attention/backends/flashinfer.py",
    "vllm/lora/layers/base.py",
    "vllm/v1/worker/gpu_model_runner.py",
    "vllm/config/scheduler.py",
    "vllm/envs.py",
    "requirements/common.txt",
)


class Reader:
    r"""The pinned tree's rules, each read once."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.everything = read_everything(tree)

    @cached_property
    def steps(self) -> list[Step]:
        r"""The steps of CI."""
        return read_steps(self.tree)

    @cached_property
    def rules(self) -> list[Rule]:
        r"""The lines of CODEOWNERS."""
        return read_owners(self.tree)

    def change(self, path: str) -> Change:
        r"""What a change of one file sets in motion."""
        now, later = started(self.steps, path, self.everything)
        rule = owners_of(self.rules, path)
        owners = rule.owners if rule else ()
        return Change(tuple(now), tuple(later), owners, self.everything.match(path))


@dataclass(frozen=True)
class Facts:
    r"""The record; what each field holds, the functions below say."""

    pin: str
    steps: dict[str, int]
    areas: dict[str, dict[str, int]]
    places: dict[str, dict[str, Any]]
    started: dict[str, dict[str, int]]
    test_files: dict[str, int]
    owners: dict[str, dict[str, int]]
    rules: dict[str, int]
    core_tests: dict[str, dict[str, int]]
    asserted: dict[str, int]

    @classmethod
    def of(cls, reader: Reader) -> Facts:
        r"""Count everything."""
        pinned = pinned_by(reader.tree, "tests/v1/core")
        return cls(
            pin=str(the_pin()),
            steps=_steps(reader.steps),
            areas=_areas(reader),
            places={path: _place(reader, path) for path in PLACES},
            started=_started(reader),
            test_files=_test_files(reader),
            owners=_owners(reader),
            rules=_rules(reader),
            core_tests=_core_tests(pinned),
            asserted=_asserted(pinned),
        )

    @classmethod
    def committed(cls) -> Facts:
        r"""The record of the repository."""
        try:
            return cls(**read_json(RECORD))
        except TypeError as error:
            raise CapstoneError(f"{RECORD.name}: {error}") from error

    def write(self) -> None:
        r"""Write the record."""
        RECORD.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def _steps(steps: list[Step]) -> dict[str, int]:
    """How many steps there are, and of what kind."""
    return {
        "all": len(steps),
        "on a CPU": sum(step.runs_on == "CPU" for step in steps),
        "several GPUs": sum(step.runs_on == "GPU" and step.gpus > 1 for step in steps),
        "optional": sum(step.optional for step in steps),
        "by every change": sum(not step.sources and not step.optional for step in steps),
    }


def _areas(reader: Reader) -> dict[str, dict[str, int]]:
    """Area → its steps, and the test files that they run on either machine."""
    found: dict[str, dict[str, int]] = {}
    files: dict[str, dict[str, set[str]]] = {}
    for step in reader.steps:
        area = found.setdefault(_area(step), {"steps": 0, "CPU": 0, "optional": 0})
        area["steps"] += 1
        area["CPU"] += step.runs_on == "CPU"
        area["optional"] += step.optional
    for path in _tests(reader.tree):
        for step, _ in covering(reader.steps, reader.tree, path):
            files.setdefault(_area(step), {}).setdefault(step.runs_on, set()).add(path)
    for name, area in found.items():
        for machine in ("CPU", "GPU"):
            area[f"files on {machine}"] = len(files.get(name, {}).get(machine, ()))
    return dict(sorted(found.items()))


def _place(reader: Reader, path: str) -> dict[str, Any]:
    change = reader.change(path)
    return {
        "steps": len(change.steps),
        "on a CPU": sum(step.runs_on == "CPU" for step in change.steps),
        "areas": len({_area(step) for step in change.steps}),
        "optional": len(change.optional),
        "owners": len(change.owners),
        "everything": change.everything,
    }


def _started(reader: Reader) -> dict[str, dict[str, int]]:
    """Folder below `vllm/` → steps started by one of its files → how many files do so."""
    found: dict[str, Counter[int]] = {}
    for path in reader.tree.python_files("vllm"):
        found.setdefault(_part(path), Counter())[len(reader.change(path).steps)] += 1
    return {part: {str(n): c for n, c in sorted(found[part].items())} for part in sorted(found)}


def _test_files(reader: Reader) -> dict[str, int]:
    """Test files by who runs them: CPU and GPU, one of the two, nobody of these steps."""
    kinds: Counter[str] = Counter()
    for path in _tests(reader.tree):
        machines = {step.runs_on for step, _ in covering(reader.steps, reader.tree, path)}
        kinds[" and ".join(sorted(machines)) or "no step"] += 1
    return dict(sorted(kinds.items()))


def _owners(reader: Reader) -> dict[str, dict[str, int]]:
    """Folder below `vllm/` → its Python files, those with an owner, and the most owners of one."""
    found: dict[str, dict[str, int]] = {}
    for path in reader.tree.python_files("vllm"):
        owners = len(reader.change(path).owners)
        part = found.setdefault(_part(path), {"files": 0, "owned": 0, "most": 0})
        part["files"] += 1
        part["owned"] += owners > 0
        part["most"] = max(part["most"], owners)
    return dict(sorted(found.items()))


def _rules(reader: Reader) -> dict[str, int]:
    """Lines of CODEOWNERS and the people on them; hooks, and rules of the bot."""
    hooks = yaml.safe_load(reader.tree.text(HOOKS))
    bot = yaml.safe_load(reader.tree.text(BOT))["pull_request_rules"]
    every = [hook for repository in hooks["repos"] for hook in repository["hooks"]]
    manual = [hook for hook in every if hook.get("stages") == ["manual"]]
    return {
        "lines of CODEOWNERS": len(reader.rules),
        "people": len({owner for rule in reader.rules for owner in rule.owners}),
        "hooks": len(every),
        "hooks in CI only": len(manual),
        "rules of the bot": len(bot),
        "labels by the bot": sum("label" in rule["actions"] for rule in bot),
    }


def _core_tests(pinned: list[Pinned]) -> dict[str, dict[str, int]]:
    """File of `tests/v1/core` → tests, assertions, and calls that let a scheduler decide."""
    found: dict[str, dict[str, int]] = {}
    for test in pinned:
        row = found.setdefault(test.file, {"tests": 0, "asserts": 0, "decisions": 0})
        row["tests"] += 1
        row["asserts"] += test.asserts
        row["decisions"] += test.schedules
    return dict(sorted(found.items()))


def _asserted(pinned: list[Pinned]) -> dict[str, int]:
    """Name that asserts speak of → how many tests do so; the thirty most frequent."""
    names = Counter(name for test in pinned for name in test.names)
    ranked = sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(ranked[:30])


def _area(step: Step) -> str:
    return step.file.rsplit("/", 1)[1].removesuffix(".yaml")


def _part(path: str) -> str:
    words = path.split("/")[1:-1]
    if not words:
        return "(top)"
    return "/".join(words[:2]) if words[0] == "v1" else words[0]


def _tests(tree: Tree) -> list[str]:
    return [p for p in tree.python_files("tests") if p.rsplit("/", 1)[1].startswith("test_")]
