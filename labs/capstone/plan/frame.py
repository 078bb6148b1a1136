r"""A plan with everything in it that can be known beforehand.

Known are the pin, the number of the issue, where a name leads, which of the engine's invariants
speak of the same files, which test file is nearest and which step of CI runs it, and what the call
graph knows of the four neighbours. All the rest is marked, and the check refuses each mark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from upstream_anchors.errors import AnchorError
from upstream_anchors.name_index import NameIndex
from upstream_anchors.showing import is_bare

from capstone.errors import CapstoneError
from capstone.plan.blast import Radius, radius_of, suggestion
from capstone.plan.ci_areas import covering
from capstone.plan.markdown import PLACEHOLDER
from capstone.plan.one_pager import RADIUS, SECTIONS
from capstone.plan.places import Home, homes
from capstone.plan.upstream import Upstream

_T = PLACEHOLDER


def read_issue(data: Any, name: str) -> tuple[int, str]:
    r"""Number and title of an issue, as `gh issue view N --json number,title` prints them."""
    if not isinstance(data, dict):
        what = f"{name}: expected the object that `gh issue view N --json number,title` prints"
        raise CapstoneError(f"{what}, found a {type(data).__name__}")
    for key, kind in (("number", int), ("title", str)):
        if not isinstance(data.get(key), kind) or isinstance(data.get(key), bool):
            raise CapstoneError(
                f"{name}: {key!r} is {data.get(key)!r}; expected {kind.__name__}, as "
                "`gh issue view N --json number,title` prints it"
            )
    return data["number"], " ".join(data["title"].split())


def whole_targets(names: Sequence[str], upstream: Upstream) -> list[str]:
    r"""Targets as a plan has them: a bare name such as `Scheduler.schedule` gets its path."""
    found = []
    for name in names:
        try:
            target = name
            if is_bare(name, upstream.tree):
                target = NameIndex.cached(upstream.tree, upstream.pin).find(name)
            upstream.find(target)
        except AnchorError as error:
            raise CapstoneError(str(error)) from error
        found.append(target)
    return found


def write_frame(
    upstream: Upstream,
    targets: Sequence[str] = (),
    issue: tuple[int, str] | None = None,
    *,
    with_graph: bool = True,
) -> str:
    r"""The frame; `targets` are whole ones. Without the graph, the radius is left to its author."""
    files = list(dict.fromkeys(upstream.find(target).path for target in targets))
    parts = {
        "Problem": f"{_T}: {SECTIONS['Problem']}",
        "Load-bearing lines": _lines(targets),
        "Invariants": _invariants(files, targets, upstream),
        "Change": f"{_T}: {SECTIONS['Change']}",
        "Regression test": _test(targets, upstream),
        "Blast radius": _radius(targets, upstream, with_graph),
        "Size": f"Estimate: {_T} lines: {_T} code, {_T} tests",
        "Benchmark": f"{_T}: `No performance claim is made.`, or command, metric, runs, baseline",
        "Out of scope": f"- {_T}: {SECTIONS['Out of scope']}",
        "Before the first commit": "\n".join(
            (
                f"- [ ] Claimed: {_T} where and when",
                f"- [ ] pre-commit: {_T} installed, `pre-commit install`",
                f"- [ ] Sign-off: {_T} every commit with `git commit -s`",
            )
        ),
    }
    number, title = issue or (_T, _T)
    head = (f"# Plan: {title}", f"Issue: #{number}", f"Pin: {upstream.pin}", f"Prefix: {_T}")
    body = [f"## {name}\n\n{parts[name]}" for name in SECTIONS]
    return "\n\n".join([*head, *body]) + "\n"


def _lines(targets: Sequence[str]) -> str:
    lines = [f"- `{target}`: {_T} why" for target in targets]
    return "\n".join(lines or [f'- `path#Symbol@"fragment"`: {_T}'])


def _invariants(files: list[str], targets: Sequence[str], upstream: Upstream) -> str:
    known = upstream.invariants.values()
    near = [
        one for one in known if any(re.split(r"[#@]", anchor)[0] in files for anchor in one.anchors)
    ]
    # Those whose anchors name the very symbol come first.
    symbols = {target.split("@")[0] for target in targets}
    near.sort(key=lambda one: not any(anchor.split("@")[0] in symbols for anchor in one.anchors))
    lines = [f"- `{one.id}`: {_T} how; it says: {one.statement}" for one in near[:4]]
    return "\n".join(lines or [f"- new: {_T} a predicate with `path#Class.attribute`; {_T} how"])


def _test(targets: Sequence[str], upstream: Upstream) -> str:
    found = homes(targets, upstream) if targets else []
    path = found[0].path if found else ""
    area = f"{_T} the step, CPU or GPU"
    if path:
        steps = covering(upstream.steps, upstream.tree, path)
        if steps:
            area = f"{steps[0][0].label}, {steps[0][0].runs_on}"
    return "\n".join(
        (
            f"- Place: {_place(found)}",
            f"- CI: {area}",
            f"- Fails today: {_T} what the test finds on the tree as it is",
            f"- Command: `.venv/bin/python -m pytest -v {path or _T}`",
        )
    )


def _place(found: Sequence[Home]) -> str:
    # A guess is marked as one: somebody has to open the file before the check lets it pass.
    if not found:
        return f"{_T} a path under tests/"
    best, *others = found
    why = ""
    if best.why.startswith("through "):
        why = f", {best.why}"
    elif best.why:
        why = f", which takes {best.why} from there"
    rather = " or ".join(f"`{home.path}`" for home in others)
    return f"`{best.path}`{why}; {_T} look into it" + (f"; rather {rather}?" if rather else "")


def _radius(targets: Sequence[str], upstream: Upstream, with_graph: bool) -> str:
    radii: list[Radius] = []
    for target in targets if with_graph else ():
        try:
            radii.append(radius_of(target, upstream))
        except CapstoneError:
            continue  # a kernel, a document: the graph knows nothing of it, its author does
    lines = []
    for name in RADIUS:
        known = suggestion(name, radii)
        lines.append(f"- {name}: {known}; {_T} does it matter?" if known else f"- {name}: {_T}")
    return "\n".join(lines)
