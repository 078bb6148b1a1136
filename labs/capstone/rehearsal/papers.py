r"""Steps 3 and 8: the plan and the description, held to the rules for any other change.

`capstone plan` has those rules, each with the line of the pinned tree that asks for it. What is
asked here beyond them is only known here: that the function that decides is among the load-bearing
lines, and that the numbers of the description are those that were measured on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from capstone.errors import CapstoneError
from capstone.rehearsal import sandbox
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.workshop import Workshop, digest

if TYPE_CHECKING:
    from capstone.plan.markdown import Document
    from capstone.plan.rules import Complaint
    from capstone.plan.upstream import Upstream

#: Paper → the command that makes a frame of it; `{folder}` is where the rehearsal lies.
FRAMES = {
    "plan.md": "capstone plan new {folder}/plan.md --issue {folder}/report.json --from TARGET …",
    "DESCRIPTION.md": "capstone plan pr {folder}/DESCRIPTION.md --plan {folder}/plan.md",
}
#: The steps that looked at code and tests of the sandbox.
OF_THE_BRANCH = ("test", "fix", "after")


def _document(workshop: Workshop, name: str) -> Document:
    from capstone.plan.markdown import Document

    path = workshop.paper(name)
    if not path.exists():
        frame = FRAMES[name].format(folder=workshop.shown_folder)
        raise CapstoneError(f"{path}: no such file; `{frame}` makes a frame of it")
    return Document.read(path)


def _take(verdict: Verdict, found: Iterable[Complaint], name: str, upstream: Upstream) -> None:
    from capstone.plan.rules import say

    for complaint in found:
        verdict.complain("\n".join(say(complaint, name, upstream.resolver)))


def of_plan(workshop: Workshop) -> str:
    r"""The digest of what step 3 looks at."""
    return digest(_document(workshop, "plan.md").full_text)


def of_description(workshop: Workshop) -> str:
    r"""The digest of what step 8 looks at beside the branch's content."""
    text = _document(workshop, "DESCRIPTION.md").full_text
    return digest(text, *sandbox.messages(workshop))


def check_plan(workshop: Workshop) -> Verdict:
    r"""Step 3: every rule of `capstone plan check`, and the function that decides."""
    from capstone.plan.checking import check_plan as by_the_rules
    from capstone.plan.one_pager import Plan
    from capstone.plan.upstream import Upstream

    document, upstream = _document(workshop, "plan.md"), Upstream.open()
    verdict, plan = Verdict(of_plan(workshop)), Plan(document)
    _take(verdict, by_the_rules(document, upstream), "plan.md", upstream)
    if "#check_stop" not in plan.section("Load-bearing lines").prose:
        verdict.complain("plan.md: the function that decides is not among the load-bearing lines")
    verdict.lines = [f"may change: {path}" for path in plan.touched()]
    return verdict


def check_description(
    workshop: Workshop, passed: dict[str, dict[str, Any]], outdated: Collection[str]
) -> Verdict:
    r"""Step 8: the rules for the text and for the branch, and the numbers of your journal.

    `outdated` are steps that passed on something else than what is there now.
    """
    from capstone.plan.branch import Branch, check_branch
    from capstone.plan.description import ai_helped
    from capstone.plan.description import check_description as by_the_rules
    from capstone.plan.one_pager import Plan
    from capstone.plan.upstream import Upstream

    document, upstream = _document(workshop, "DESCRIPTION.md"), Upstream.open()
    plan = Plan(_document(workshop, "plan.md"))
    verdict = Verdict(of_description(workshop))
    branch = Branch.read(workshop.tree, "HEAD", sandbox.TAG)
    found = [
        *by_the_rules(document, upstream, plan),
        *check_branch(branch, plan, ai_helped=ai_helped(document)),
    ]
    _take(verdict, found, "DESCRIPTION.md", upstream)
    if left := sandbox.uncommitted(workshop):
        verdict.complain(f"not committed: {', '.join(left)}; what was checked is not the branch")
    for name in OF_THE_BRANCH:
        if name in outdated:
            verdict.complain(
                f"what `check {name}` passed on has changed since; what was checked is not the "
                f"branch (`check {name}` again)"
            )
    _judge_numbers(verdict, document, passed)
    verdict.lines = [document.title, f"{len(branch.commits)} commit(s) since {sandbox.TAG}"]
    return verdict


def _judge_numbers(verdict: Verdict, document: Document, passed: dict[str, dict[str, Any]]) -> None:
    def evidence(step: str) -> dict[str, Any]:
        return passed.get(step, {}).get("evidence", {})

    def section(name: str) -> str:
        found = document.by_title.get(name)
        return found.text if found is not None else ""

    plan, result = section("Test Plan"), section("Test Result")
    for node in evidence("test").get("tests", []):
        if (name := node.rsplit("::", 1)[-1]) not in plan + result:
            verdict.complain(f"Test Plan: your test {name} is not named")
    stuck, counts = evidence("reproduce").get("stuck_for"), evidence("fix").get("counts", "")
    if stuck is not None and not re.search(rf"\b{stuck}\b", result):
        verdict.complain(f"Test Result: the {stuck} idle steps that you measured are not in it")
    if counts and counts not in result:
        verdict.complain(f"Test Result: your journal says {counts!r}, which is not in it")
