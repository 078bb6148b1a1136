r"""Steps 2, 3 and 8: what the learner writes, as far as a program can judge it.

A program cannot tell a good argument from a bad one. It can tell whether the place named exists,
whether a section is still empty, and whether a number that the text states is the one that was
measured here. What these checks ask for is what upstream's own rules ask for, in
{up}`AGENTS.md@"### Duplicate-work checks"` and in `docs/contributing`.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from upstream_anchors.errors import AnchorError
from upstream_anchors.pin import the_pin
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import need_tree

from capstone.errors import CapstoneError
from capstone.rehearsal import sandbox
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.workshop import Workshop, digest

QUESTIONS = {
    "claimed": "no",
    "reproducible": "yes",
    "map": "yes",
    "testable": "yes",
    "reviewable": "yes",
}
_ANCHOR = re.compile(r"[\w./-]+\.py#[\w.]+(?:@\"[^\"]+\")?")
_TEST_FILE = re.compile(r"tests/[\w./-]+\.py")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_RISKS = ("tensor parallelism", "quantization", "lora", "speculative decoding")
_TITLE = re.compile(r"\[(?:Bugfix|Core)\](?:\[\w+\])* \S+")


def _text(workshop: Workshop, name: str) -> str:
    path = workshop.paper(name)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CapstoneError(f"{path}: no such file; `start` put one there to fill in") from error
    except UnicodeDecodeError as error:
        raise CapstoneError(f"{path}: not UTF-8 text") from error


def sections(text: str) -> dict[str, str]:
    r"""Heading in small letters → what stands under it, comments left out."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in _COMMENT.sub("", text).splitlines():
        if line.startswith("## "):
            name = line[3:].strip().lower()
            found.setdefault(name, [])
        else:
            found[name].append(line)
    return {key: "\n".join(lines).strip() for key, lines in found.items()}


def _dead_anchors(text: str) -> tuple[list[str], list[str]]:
    """The anchors of a text that resolve in the pinned tree, and what is wrong with the others."""
    resolver, good, bad = Resolver(need_tree(the_pin()), the_pin()), [], []
    for anchor in dict.fromkeys(_ANCHOR.findall(text)):
        try:
            resolver.resolve(anchor)
            good.append(anchor)
        except AnchorError as error:
            bad.append(f"{anchor}: {error}")
    return good, bad


def check_triage(workshop: Workshop, reproduced: dict[str, Any] | None) -> Verdict:
    r"""Step 2: five answers, each with what it rests on; stops at the first that ends it."""
    name = "triage.toml"
    text = _text(workshop, name)
    verdict = Verdict(digest(text))
    try:
        answers = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CapstoneError(f"{workshop.paper(name)}: not TOML: {error}") from error
    for question, good in QUESTIONS.items():
        entry = answers.get(question)
        if not isinstance(entry, dict):
            verdict.complain(f"{name}: no [{question}]")
            continue
        answer = str(entry.get("answer", "")).strip().lower()
        evidence = str(entry.get("evidence", "")).strip()
        if answer not in ("yes", "no"):
            verdict.complain(f"[{question}]: answer is {answer!r}; expected yes or no")
        elif answer != good:
            verdict.complain(f"[{question}]: {answer} ends it here: do not take this issue")
            break
        if len(evidence.split()) < 4:
            verdict.complain(f"[{question}]: evidence is {evidence!r}; say what you looked at")
    _judge_places(verdict, answers)
    if reproduced is None:
        verdict.complain("[reproducible]: nothing has been reproduced on this machine yet")
    verdict.lines = [f"{question}: {good}" for question, good in QUESTIONS.items()]
    return verdict


def _judge_places(verdict: Verdict, answers: dict[str, Any]) -> None:
    def evidence(question: str) -> str:
        entry = answers.get(question)
        return str(entry.get("evidence", "")) if isinstance(entry, dict) else ""

    good, bad = _dead_anchors(evidence("map"))
    if not good:
        verdict.complain("[map]: name the symbol as path#Symbol, so that it can be looked up")
    for one in bad:
        verdict.complain(f"[map]: {one}")
    tree = need_tree(the_pin())
    named = _TEST_FILE.findall(evidence("testable"))
    if not any(tree.is_file(path) for path in named):
        verdict.complain("[testable]: name a file under tests/ that exists in the pinned tree")


def check_plan(workshop: Workshop) -> Verdict:
    r"""Step 3: the lines that decide, what must hold, the test, the blast radius, the limits."""
    text = _text(workshop, "plan.md")
    verdict, parts = Verdict(digest(text)), sections(text)
    good, bad = _dead_anchors(parts.get("load-bearing lines", ""))
    for one in bad:
        verdict.complain(f"load-bearing lines: {one}")
    if len(good) < 2:
        verdict.complain(f"load-bearing lines: {len(good)} anchor(s) resolve; two are wanted")
    if not any("check_stop" in anchor for anchor in good):
        verdict.complain("load-bearing lines: the function that decides is not among them")
    holds = [line for line in parts.get("what must hold", "").splitlines() if len(line) > 20]
    if len(holds) < 2:
        verdict.complain("what must hold: two statements, one broken today and one to be kept")
    if not _TEST_FILE.search(parts.get("regression test", "")):
        verdict.complain("regression test: name the file under tests/")
    radius = parts.get("blast radius", "").lower()
    for risk in _RISKS:
        line = next((one for one in radius.splitlines() if risk in one), "")
        if len(line.split(":", 1)[-1].split()) < 3:
            verdict.complain(f"blast radius: say what {risk} has to do with it, or why nothing")
    if len(parts.get("out of scope", "").split()) < 5:
        verdict.complain("out of scope: name what you saw and leave alone")
    verdict.lines = [f"anchor: {anchor}" for anchor in good]
    return verdict


def check_description(workshop: Workshop, passed: dict[str, dict[str, Any]]) -> Verdict:
    r"""Step 8: the text of the pull request, against upstream's template and your own journal."""
    text = _text(workshop, "DESCRIPTION.md")
    messages = sandbox.messages(workshop)
    verdict, parts = Verdict(digest(text, *messages)), sections(text)
    title = next((line for line in parts.get("", "").splitlines() if line.strip()), "")
    if not _TITLE.match(title):
        verdict.complain(f"title {title!r}: expected [Bugfix] or [Core] and a few words")
    for name in ("purpose", "test plan", "test result", "not a duplicate", "ai assistance"):
        if len(parts.get(name, "").split()) < 4:
            verdict.complain(f"section {name!r} is missing or empty")
    plan, result = parts.get("test plan", ""), parts.get("test result", "")
    for node in passed.get("test", {}).get("evidence", {}).get("tests", []):
        if node.rsplit("::", 1)[-1] not in plan + result:
            verdict.complain(f"test plan: your test {node.rsplit('::', 1)[-1]} is not named")
    stuck = passed.get("reproduce", {}).get("evidence", {}).get("stuck_for")
    if stuck is not None and not re.search(rf"\b{stuck}\b", result):
        verdict.complain(f"test result: the {stuck} idle steps that you measured are not in it")
    counts = passed.get("fix", {}).get("evidence", {}).get("counts", "")
    if counts and (number := counts.split()[0]) not in re.findall(r"\d+", result):
        verdict.complain(f"test result: your journal says {counts!r}; {number} is not in it")
    if not messages:
        verdict.complain("nothing is committed in the sandbox: `git commit -s`")
    for message in messages:
        if "Signed-off-by: " not in message:
            subject = message.splitlines()[0]
            verdict.complain(f"commit {subject!r} has no sign-off: `git commit --amend -s`")
    verdict.lines = [title]
    return verdict
