r"""How will anybody know that it works, and what else could it break?

The test has a place that exists, a step of CI that runs it, and a reason to fail today. Each of the
four neighbours has an anchor or a reason. A claim of performance has a command, a metric, a number
of runs and something to compare with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from upstream_anchors.errors import AnchorError

from capstone.plan.ci_areas import covering
from capstone.plan.markdown import PLACEHOLDER, code_spans, count_words
from capstone.plan.one_pager import RADIUS, Plan, disclaimed
from capstone.plan.rules import Complaint
from capstone.plan.upstream import Upstream

#: Words that a line of the blast radius needs when it has no anchor.
FEWEST_REASON = 8

_BARE = re.compile(
    r"(none|no|n/?a|nothing|unaffected|no impact|no effect|not affected|-|—)\W*", re.I
)
COMMAND = re.compile(
    r"(?:^|[\s`])(?:[A-Z_]+=\S+\s+)*((?:\S*/)?"
    r"(?:pytest|python3?|vllm|uv|bash|nsys|ncu|mini_vllm)[ \t]+\S+)",
    re.MULTILINE,
)
_METRIC = re.compile(
    r"\b(throughput|latency|TTFT|TPOT|ITL|tokens? per second|tok/s|req(uests)?/s|"
    r"requests per second|"
    r"seconds|milliseconds|ms|µs|microseconds|GiB|MiB|bytes|hit rate|acceptance|memory)\b",
    re.IGNORECASE,
)
_RUNS = re.compile(
    r"\b(\d+|two|three|four|five|six|seven|eight|nine|ten|twenty)\s+(\w+\s+){0,2}"
    r"(runs|repetitions|repeats|times|trials|iterations|samples)\b",
    re.IGNORECASE,
)
_BASELINE = re.compile(r"\b(before|baseline|main|without the change|unchanged|base commit)\b", re.I)


def check_test(plan: Plan, upstream: Upstream) -> Iterator[Complaint]:
    r"""The place exists, a step of CI runs it on the machine that is named, and it fails today."""
    section = plan.section("Regression test")
    if not section.text.strip():
        return
    place = plan.field("Regression test", "Place")
    path = plan.place
    if PLACEHOLDER not in place.text:
        complaint = _place(path, place.text, place.line, upstream)
        if complaint is not None:
            yield complaint
        else:
            yield from _area(plan, path, upstream)
    fails = plan.field("Regression test", "Fails today")
    if PLACEHOLDER not in fails.text and count_words(fails.text) < 5:
        text = "`Fails today:` says what the test finds on the tree as it is"
        yield Complaint(fails.line, "test-fails", text)
    command = plan.field("Regression test", "Command")
    if PLACEHOLDER not in command.text:
        if "pytest" not in command.text:
            text = "`Command:` is the pytest command that runs the test"
            yield Complaint(command.line, "test-command", text)
        elif path and path not in command.text:
            text = f"the command does not run {path}"
            yield Complaint(command.line, "test-command", text)


def _place(path: str, text: str, line: int, upstream: Upstream) -> Complaint | None:
    if not path:
        return Complaint(line, "test-place", "no `Place:` with a path under tests/")
    if not path.startswith("tests/"):
        return Complaint(line, "test-place", f"{path} is not under tests/")
    if not upstream.tree.is_file(path):
        near = upstream.near_tests(path)
        return Complaint(line, "test-place", f"{path} is no file of the pinned tree", near)
    if not re.fullmatch(r"test_.*\.py", path.rsplit("/", 1)[-1]):
        return Complaint(line, "test-place", f"{path}: pytest collects files named test_*.py")
    target = next((span for span in code_spans(text) if "#" in span), "")
    if target:
        try:
            upstream.find(target)
        except AnchorError as error:
            return Complaint(line, "test-place", error.reason, error.nearest)
    return None


def _area(plan: Plan, path: str, upstream: Upstream) -> Iterator[Complaint]:
    item = plan.field("Regression test", "CI")
    if PLACEHOLDER in item.text:
        return
    found = covering(upstream.steps, upstream.tree, path)
    label, _, device = (part.strip(" `.") for part in item.text.rpartition(","))
    near = tuple(f"{s.label}, {s.runs_on}" for s, _ in found[:4])
    if not found:
        yield Complaint(item.line, "test-area", f"no step of CI runs {path}; choose another place")
        return
    if device not in ("CPU", "GPU") or not label:
        text = "`CI:` names the step that runs the test, and CPU or GPU after a comma"
        yield Complaint(item.line, "test-device", text, near)
        return
    step = next((step for step, _ in found if step.label == label), None)
    if step is None:
        known = any(one.label == label for one in upstream.steps)
        text = f"the step {label!r} {'does not run ' + path if known else 'is not in CI'}"
        yield Complaint(item.line, "test-area", text, near)
    elif step.runs_on != device:
        text = f"the step {label!r} runs on a {step.runs_on} ({step.device}), not on a {device}"
        yield Complaint(item.line, "test-device", text)


def check_radius(plan: Plan) -> Iterator[Complaint]:
    r"""One line for each of the four, with an anchor or a reason."""
    section = plan.section("Blast radius")
    if not section.text.strip():
        return
    fields = section.fields()
    for name in RADIUS:
        rule = f"blast-{name}"
        item = fields.get(name)
        if item is None:
            yield Complaint(section.line, rule, f"no line `- {name}: …`")
        elif PLACEHOLDER in item.text:
            continue
        elif not item.text or _BARE.fullmatch(item.text):
            text = (
                f"{name}: {item.text or 'nothing'!r} is no reason; who could reach it, and why not"
            )
            yield Complaint(item.line, rule, text)
        elif not _anchored(item.text) and count_words(item.text) < FEWEST_REASON:
            text = f"{name}: no anchor, and {count_words(item.text)} words are no reason"
            yield Complaint(item.line, rule, text)


def _anchored(text: str) -> bool:
    return any("/" in span for span in code_spans(text))


def check_benchmark(plan: Plan) -> Iterator[Complaint]:
    r"""With a claim: command, metric, runs, baseline. Without: a sentence that says so."""
    section = plan.section("Benchmark")
    if not section.text.strip() or PLACEHOLDER in section.text:
        return
    claim = plan.claim
    if disclaimed(section.text):
        if claim:
            text = f"no claim is made here, and the plan says {claim!r}"
            yield Complaint(section.line, "benchmark-unclaimed", text)
        return
    yield from benchmark_gaps(section.text, section.line, "benchmark")


def benchmark_gaps(text: str, line: int, rule: str) -> Iterator[Complaint]:
    r"""What a benchmark's method lacks: a command, a metric, a number of runs, a baseline."""
    needed = (
        (COMMAND, "a command that anybody can run"),
        (_METRIC, "a metric with its unit"),
        (_RUNS, "how many runs, such as `5 runs`"),
        (_BASELINE, "what it is compared with, such as main before the change"),
    )
    for pattern, what in needed:
        if not pattern.search(text):
            yield Complaint(line, rule, f"the method does not say {what}")
