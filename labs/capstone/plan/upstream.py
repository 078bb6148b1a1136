r"""What do the checks ask the pinned tree?

One object that holds the tree, its resolver, the CI steps and the engine's invariants, each read
when it is first asked for. A check that needs no tree costs none.
"""

from __future__ import annotations

import importlib
import re
from functools import cached_property
from pathlib import Path

import mini_vllm
from mini_vllm.invariants import REGISTRY, Invariant
from upstream_anchors.codebase_map.graph import CodeGraph
from upstream_anchors.errors import AnchorError, TreeError, nearest_names
from upstream_anchors.pin import Pin, the_pin
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import Tree, need_tree

from capstone.errors import CapstoneError
from capstone.plan.ci_areas import Step, read_steps
from capstone.plan.places import Suites
from capstone.plan.rules import Complaint

_GUIDE = "docs/contributing/README.md"
_PREFIX = re.compile(r"\[([^\]\[]+)\]")
_SPOKEN = re.compile(r"[\w.-]+(?:/[\w.-]+)+(?:#[^@]+)?(?:@\".+\")?")


class Upstream:
    r"""The pinned tree, as the checks see it; nothing in it is ever written."""

    def __init__(self, tree: Tree, pin: Pin) -> None:
        self.tree = tree
        self.pin = pin
        self.resolver = Resolver(tree, pin)

    @classmethod
    def open(cls) -> Upstream:
        r"""The tree on this machine; {py:class}`.CapstoneError` says how to get one."""
        try:
            return cls(need_tree(the_pin()), the_pin())
        except TreeError as error:
            raise CapstoneError(str(error)) from error

    @cached_property
    def steps(self) -> list[Step]:
        r"""The steps of CI."""
        return read_steps(self.tree)

    @cached_property
    def suites(self) -> Suites:
        r"""The test files: read in a second, the first time that a place is asked for."""
        return Suites(self.tree)

    @cached_property
    def graph(self) -> CodeGraph:
        r"""Imports and calls of the package: cached, a good part of a minute the first time."""
        return CodeGraph.cached(self.tree, self.pin)

    @cached_property
    def prefixes(self) -> list[str]:
        r"""The prefixes of a title, as the contributors' guide lists them."""
        place = self.resolver.resolve(f"{_GUIDE}#PR Title and Classification")
        listed = [line for line in place.slice(self.tree) if line.startswith("- `[")]
        return [line.split("`")[1] for line in listed]

    def prefix_problem(self, title: str) -> str:
        r"""What is wrong with the `[Prefix]` or prefixes that a title begins with; "" if nothing.

        `[Hardware]` takes the vendor's name in brackets of its own; no list of vendors is kept.
        """
        given = re.match(r"(?:\[[^\]]*\]\s*)+", title)
        if not given:
            return f"{title!r} begins with no prefix; the guide lists {', '.join(self.prefixes)}"
        names = _PREFIX.findall(given[0])
        known = {_PREFIX.findall(prefix)[0] for prefix in self.prefixes}
        skip = False
        for place, name in enumerate(names):
            if skip:
                skip = False
            elif name not in known:
                listed = ", ".join(self.prefixes)
                return f"[{name}] is no prefix of the guide, which lists {listed}"
            elif name == "Hardware":
                if place + 1 == len(names) or names[place + 1] in known:
                    return "[Hardware] is followed by the vendor's name, as in [Hardware][AMD]"
                skip = True
        return ""

    @cached_property
    def invariants(self) -> dict[str, Invariant]:
        r"""The engine's registered invariants, after their owners were imported."""
        package = Path(mini_vllm.__file__).parent
        for path in sorted(package.rglob("*.py")):
            if "\n@invariant(" in path.read_text(encoding="utf-8"):
                parts = path.relative_to(package.parent).with_suffix("").parts
                importlib.import_module(".".join(parts))
        return REGISTRY

    # ---- anchors ------------------------------------------------------------------------------
    def find(self, target: str) -> Place:
        r"""Where a target leads; {py:class}`.AnchorError` with what is near."""
        return self.resolver.resolve(target)

    def speaks_of_the_tree(self, code: str) -> bool:
        r"""Whether a code span is a target, and not a command or an expression."""
        if re.match(r'(env|flag|log|default|py):["\w-]', code):
            return True
        first = code.split("/", 1)[0]
        return bool(_SPOKEN.fullmatch(code)) and self.tree.is_folder(first)

    def stale(self, code: str, line: int) -> Complaint | None:
        r"""The complaint about a target that leads nowhere."""
        if re.search(r"\.(py|cu|cuh|cpp|h|md|yaml):\d+", code):
            text = f"`{code}` has a line number, which is another line after the next commit"
            return Complaint(line, "line-number", text)
        if not self.speaks_of_the_tree(code):
            return None
        try:
            self.find(code)
        except AnchorError as error:
            return Complaint(line, "anchor", error.reason, error.nearest)
        return None

    def near_tests(self, path: str) -> tuple[str, ...]:
        r"""Test files whose paths are most like this one."""
        tests = sorted(p for p in self.tree.files if re.fullmatch(r"tests/.*/?test_[^/]*\.py", p))
        name = path.rsplit("/", 1)[-1]
        same = [one for one in tests if one.rsplit("/", 1)[-1] == name]
        return tuple([*same, *nearest_names(path, tests)][:4])
