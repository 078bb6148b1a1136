r"""The mini-build's last check compares a reader's file with the engine. Can it fail?

The page's own cells run here, with fewer workloads: as they stand, they pass; with a plausible
slip in the file, one of the page's checks stops them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (
    Path(__file__).parents[2]
    / "book"
    / "phase-01-architecture-and-request-lifecycle"
    / "02-mini-build.md"
)

# A slip: what the reader was to write, and what was written instead.
SLIPS = {
    "waiting-first": ("for request in self.running:", "for request in self.waiting:"),
    "budget-ignored": ("n = min(request.todo, left)", "n = request.todo"),
    "one-seat-too-many": (
        "if len(self.running) == self.max_seqs or",
        "if len(self.running) > self.max_seqs or",
    ),
    "samples-everybody": ("if request.todo == 0:", "if request.todo >= 0:"),
    "length-before-eos": (
        "    if request.tokens[-1] == request.eos:\n"
        '        return "stop"\n'
        "    if len(request.output) >= request.max_tokens:\n"
        '        return "length"\n',
        "    if len(request.output) >= request.max_tokens:\n"
        '        return "length"\n'
        "    if request.tokens[-1] == request.eos:\n"
        '        return "stop"\n',
    ),
    "first-is-the-victim": ("victim = self.running.pop()", "victim = self.running.pop(0)"),
    "victim-waits-last": ("self.waiting.insert(0, victim)", "self.waiting.append(victim)"),
    "admits-by-first-chunk": (
        "self.wants(request, len(request.tokens))",
        "self.wants(request, n)",
    ),
    "counter-kept": ("victim.computed = 0", "pass"),
    "blocks-lost": ("self.free += self.held.pop(request.id, 0)", "self.held.pop(request.id, 0)"),
}


def cells() -> list[str]:
    """The code of the page, in order."""
    return re.findall(
        r"^```\{code-cell\}[^\n]*\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


def work_through(sources: list[str]) -> None:
    """Run the cells as a reader would, in one namespace."""
    names: dict[str, object] = {"__name__": "__main__", "In": sources}
    for source in sources:
        exec(compile(source, str(PAGE), "exec", dont_inherit=True), names)


def fewer(sources: list[str]) -> list[str]:
    """The same cells with a hundred workloads, which is enough for a slip to show."""
    changed = [
        source.replace("range(300)", "range(100)").replace("preemptions > 100", "preemptions > 30")
        for source in sources
    ]
    assert changed != sources
    return changed


def test_the_page_passes_its_own_checks() -> None:
    work_through(fewer(cells()))


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_caught(slip: str) -> None:
    right, wrong = SLIPS[slip]
    sources = fewer(cells())
    assert any(right in source for source in sources), f"the page no longer has {right!r}"
    with pytest.raises((AssertionError, ValueError)):
        work_through([source.replace(right, wrong) for source in sources])


def test_the_rule_that_never_decides() -> None:
    """The page proves that nobody could be admitted after a preemption, forbidden or not."""
    rule = "and left > 0 and not preempted:"
    sources = fewer(cells())
    assert any(rule in source for source in sources)
    work_through([source.replace(rule, "and left > 0:") for source in sources])
