"""The workflow files call sessions that exist, leave out none that a change must pass, and ask for
no more rights than they need.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def noxfile() -> ast.Module:
    return ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))


def sessions() -> set[str]:
    """Functions of the noxfile that are sessions."""
    return {
        node.name
        for node in noxfile().body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(d) for d in node.decorator_list)
    }


def default_sessions() -> list[str]:
    """What plain `nox` runs."""
    for node in noxfile().body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "nox.options.sessions":
            return ast.literal_eval(node.value)
    raise AssertionError("the noxfile sets no default sessions")


def workflow(name: str) -> dict:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def steps(data: dict) -> list[dict]:
    return [step for job in data["jobs"].values() for step in job["steps"]]


def called(data: dict) -> list[str]:
    """Sessions in the order in which the steps run them."""
    lines = "\n".join(step.get("run", "") for step in steps(data))
    return re.findall(r"^nox -s ([\w ]+?)(?: --.*)?$", lines, re.MULTILINE)


def test_there_are_two_workflows():
    assert [path.stem for path in WORKFLOWS] == ["ci", "site"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_every_session_that_is_called_exists(path):
    names = called(workflow(path.stem))
    assert names
    assert set(names) <= sessions()


def test_ci_runs_what_plain_nox_runs_in_the_same_order():
    assert called(workflow("ci")) == default_sessions()


def test_ci_runs_on_every_python_that_the_project_supports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    low, high = map(int, re.findall(r"3\.(\d+)", project["requires-python"]))
    wanted = [f"3.{minor}" for minor in range(low, high)]
    assert workflow("ci")["jobs"]["checks"]["strategy"]["matrix"]["python"] == wanted


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_actions_are_pinned_and_rights_and_times_are_bounded(path):
    data = workflow(path.stem)
    for step in steps(data):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", step["uses"])
    assert data["permissions"] == {"contents": "read"}
    assert "group" in data["concurrency"]
    for job in data["jobs"].values():
        assert job["timeout-minutes"] <= 90


def test_only_main_is_published_and_only_that_job_may_publish():
    jobs = workflow("site")["jobs"]
    assert jobs["publish"]["if"] == "github.ref == 'refs/heads/main'"
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    # What is published was looked at in a browser first.
    names = called(workflow("site"))
    assert names.index("site") < names.index("downloads")
