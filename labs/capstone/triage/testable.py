r"""Check 4: is there a place for its test, and who would run it?

A fix without a test is an opinion. The place is the folder under `tests/` that mirrors the file;
the runner is a step of `.buildkite/test_areas/` that collects it.
"""

from __future__ import annotations

from upstream_anchors.tree import Tree

from capstone.plan.ci_areas import Step, covering
from capstone.triage.findings import Notes, Outcome
from capstone.triage.setting import Setting


def check(setting: Setting) -> Outcome:
    r"""Whether a test of the first file would have a home and a runner."""
    notes, tree = Notes("testable"), setting.upstream.tree
    for path in setting.files:
        home = test_home(tree, path)
        if home is None:
            notes.add(f"no folder of tests mirrors {path}", path, "tree")
            continue
        steps = running(setting.upstream.steps, tree, home)
        if not steps:
            notes.add(f"no step of CI runs {home}", path, "tree")
            continue
        on_cpu = [step for step in steps if step.runs_on == "CPU"]
        step = (on_cpu or steps)[0]
        notes.add(f"its test belongs to {home}", home, "tree")
        if not on_cpu:
            notes.cost.append((1, "CI runs its tests on a GPU only"))
        if tree.is_folder(home):
            notes.cost.append((1, "no test file has its name yet"))
        return notes.done(
            f"CI runs it on a {step.runs_on}: {step.label}",
            f"{step.file}, line {step.line}",
            "tree",
        )
    return notes.fail("no place under tests/ with a step of CI", ", ".join(setting.files), "tree")


def test_home(tree: Tree, path: str) -> str | None:
    r"""The test file of a source file, or the nearest folder that mirrors its own.

    The top of `tests/` mirrors everything, and so nothing.
    """
    folders = path.split("/")[1:-1] if path.startswith("vllm/") else path.split("/")[:-1]
    stem = path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    for depth in range(len(folders), -1, -1):
        folder = "/".join(["tests", *folders[:depth]])
        file = f"{folder}/test_{stem}.py"
        if tree.is_file(file):
            return file
        if depth and tree.is_folder(folder) and _has_tests(tree, folder):
            return folder
    return None


def running(steps: list[Step], tree: Tree, home: str) -> list[Step]:
    r"""The steps that run the file, or any test of the folder."""
    if tree.is_file(home):
        return [step for step, _ in covering(steps, tree, home)]
    found = [
        step
        for path in sorted(tree.files)
        if path.startswith(f"{home}/test_")
        for step, _ in covering(steps, tree, path)
    ]
    return list(dict.fromkeys(found))


def _has_tests(tree: Tree, folder: str) -> bool:
    return any(path.startswith(f"{folder}/test_") for path in tree.files)
