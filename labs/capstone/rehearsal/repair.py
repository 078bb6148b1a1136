r"""Steps 5 and 6: what do upstream's own tests say, before and after?

With the stand-ins ({py:mod}`capstone.rehearsal.stand_ins`) all of them pass on the pin, on a CPU
and without weights. That is the recorded baseline, and one taken here that differs from it is
shown test by test, with the reason that pytest gave. The baseline that counts is still the one of
this machine: what is asked of a change is whether something fails that did not fail before.
"""

from __future__ import annotations

import ast
from typing import Any

from upstream_anchors.pin import the_pin
from upstream_anchors.tree import need_tree

from capstone.rehearsal import regression, sandbox
from capstone.rehearsal.inside.rows import ROWS, STOP, STOPPED, at
from capstone.rehearsal.stop_table import table
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.worker import Outcome, work
from capstone.rehearsal.workshop import Workshop, digest

#: Of `tests/v1/core`: those that decide when a request ends, and those that run the whole loop.
SUITE = ("test_scheduler", "test_async_scheduler", "test_repetition_detection", "test_output")
#: How many passed, and none failed, where this was written.
RECORDED = 127
ALLOWED = "vllm/v1/core/sched/"
MOST_LINES = 40
LIMIT = 420.0
#: What the gate below the length answers where the pin goes on.
MERGED_LATER = {"eos-below-min": at(STOPPED, 3), "id-below-min": at(STOPPED, 3, STOP)}


def _run(workshop: Workshop, vllm: str, tests: str, nodes: list[str]) -> Outcome:
    paths = [f"{tests}/{node}" for node in nodes]
    return work(workshop, "suite.py", vllm, the_pin().version, tests, *paths, limit=LIMIT)


def _suite() -> list[str]:
    return [f"{regression.PLACE}/{name}.py" for name in SUITE]


def _counts(outcomes: dict[str, str]) -> str:
    names = ("passed", "failed", "skipped", "not collected")
    said = ((name, sum(1 for one in outcomes.values() if one == name)) for name in names)
    return ", ".join(f"{number} {name}" for name, number in said if number)


def of_baseline(workshop: Workshop) -> str:
    r"""The digest of what step 5 looks at: the pin and the names of the suite."""
    return digest(the_pin().commit, *SUITE)


def of_fix(workshop: Workshop) -> str:
    r"""The digest of what step 6 looks at: all that was changed in code and tests."""
    return digest(sandbox.diff(workshop, "vllm", "tests"))


def check_baseline(workshop: Workshop) -> Verdict:
    r"""Step 5: upstream's tests as they are, on the pin as it is."""
    pinned = str(need_tree(the_pin()).root)
    verdict = Verdict(of_baseline(workshop))
    outcome = _run(workshop, pinned, pinned, _suite())
    outcomes = outcome.found.get("outcomes", {})
    if "passed" not in outcomes.values():
        verdict.complain(f"no test of upstream's passed here: {outcome.last_line()}")
    verdict.evidence = {"outcomes": outcomes, "seconds": outcome.seconds}
    verdict.lines = [f"{_counts(outcomes)}, in {outcome.seconds:.0f} s"]
    verdict.lines += departures(outcome.found)
    return verdict


def departures(found: dict[str, Any]) -> list[str]:
    r"""How a baseline differs from the recorded one; empty when every test of it passed."""
    outcomes, why = found.get("outcomes", {}), found.get("why", {})
    lines = [
        f"{said} here, passed where this was recorded: {node.rsplit('/', 1)[-1]}: "
        f"{why.get(node, 'no reason given')}"
        for node, said in outcomes.items()
        if said != "passed"
    ]
    if len(outcomes) != RECORDED:
        lines.append(f"{len(outcomes)} tests were found, and {RECORDED} are recorded")
    return lines


def check_fix(workshop: Workshop, baseline: dict[str, Any] | None) -> Verdict:
    r"""Step 6: small, in its place, right in every row, and nothing broken."""
    changed = sandbox.changes(workshop)
    verdict = Verdict(of_fix(workshop))
    if baseline is None:
        verdict.complain("there is no baseline to compare with: `check baseline` first")
    added, altered = regression.new_tests(workshop)
    if altered:
        verdict.complain(f"{', '.join(altered)}: a test of the pin is changed or gone")
    if not added:
        verdict.complain("the fix comes with no test of yours: step 4")
    _judge_size(verdict, changed)
    _judge_syntax(verdict, workshop, changed)
    if not verdict.passed or baseline is None:
        return verdict
    _judge_rows(verdict, table(workshop, str(workshop.tree), the_pin().version))
    if not verdict.passed:
        return verdict
    # The whole suite only for what has survived the quick questions.
    outcome = _run(workshop, str(workshop.tree), str(workshop.tree), _suite() + added)
    _judge_outcomes(verdict, outcome, baseline["evidence"]["outcomes"], added)
    return verdict


def _judge_size(verdict: Verdict, changed: list[sandbox.Change]) -> None:
    code = [change for change in changed if not change.is_test]
    if not code:
        verdict.complain(f"nothing below {ALLOWED} has changed yet")
    for change in code:
        if not change.path.startswith(ALLOWED):
            verdict.complain(f"{change.path}: changed, and the defect lies below {ALLOWED}")
    lines = sum(change.added + change.removed for change in code)
    if lines > MOST_LINES:
        verdict.complain(f"{lines} lines of code changed; {MOST_LINES} are plenty for this defect")
    verdict.lines.append(f"code: {lines} lines in {len(code)} file(s)")
    verdict.evidence["lines"] = lines


def _judge_syntax(verdict: Verdict, workshop: Workshop, changed: list[sandbox.Change]) -> None:
    """A patch that was applied by half leaves text that Python cannot read."""
    for change in changed:
        path = workshop.tree / change.path
        if change.path.endswith((".rej", ".orig")):
            verdict.complain(f"{change.path}: what a patch leaves that did not apply; remove it")
        elif path.suffix == ".py" and path.is_file():
            try:
                ast.parse(path.read_bytes())
            except SyntaxError as error:
                verdict.complain(f"{change.path}:{error.lineno}: not Python: {error.msg}")


def _judge_rows(verdict: Verdict, answers: dict[str, str]) -> None:
    for row in ROWS:
        if answers.get(row.id) not in row.right:
            verdict.complain(
                f"{row.says}: {answers.get(row.id, 'no answer')}; right is {' or '.join(row.right)}"
            )
    if {row: answers.get(row) for row in MERGED_LATER} == MERGED_LATER:
        verdict.complain(
            "this is the order that upstream merged later. It changes what a caller reads when an "
            "end comes below min_tokens, so a test of the pin had to be rewritten with it: a "
            "second change, and not what this report asks for. See `capstone rehearse compare`"
        )
    verdict.lines.append(f"stop table: {len(answers)} situations asked")


def _judge_outcomes(
    verdict: Verdict, outcome: Outcome, before: dict[str, str], added: list[str]
) -> None:
    outcomes = outcome.found.get("outcomes", {})
    if not outcomes:
        verdict.complain(f"the tests could not be run: {outcome.last_line()}")
        return
    worse = sorted(
        node
        for node, then in before.items()
        if then == "passed" and outcomes.get(node, "gone") != "passed"
    )
    for node in worse:
        why = outcome.found["why"].get(node, "")
        verdict.complain(f"{node}: passed before, {outcomes.get(node, 'gone')} now. {why}".strip())
    mine = {
        node: said
        for node, said in outcomes.items()
        if any(node == one or node.startswith(f"{one}[") for one in added)
    }
    if not mine or set(mine.values()) != {"passed"}:
        verdict.complain(f"your own tests: {_counts(mine) or 'none was run'}")
    verdict.evidence |= {"counts": _counts(outcomes), "new_failures": worse}
    verdict.lines.append(f"upstream's tests and yours: {_counts(outcomes)}")
    verdict.lines.append(f"failures that the baseline does not have: {len(worse)}")
