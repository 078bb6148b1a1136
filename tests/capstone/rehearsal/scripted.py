"""A learner who does all eight steps; a wrong learner differs from this one in one place."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from capstone.rehearsal import sandbox, steps
from capstone.rehearsal.inside import variants
from capstone.rehearsal.verdict import Verdict
from capstone.rehearsal.workshop import Workshop

LEARNER = Path(__file__).parent / "learner"
TEST_FILE = "tests/v1/core/test_scheduler.py"
CODE_FILE = "vllm/v1/core/sched/utils.py"


def write(shop: Workshop, name: str, change: Callable[[str], str] = lambda text: text) -> None:
    shop.paper(name).write_text(change((LEARNER / name).read_text("utf-8")), "utf-8")


def add_test(shop: Workshop, change: Callable[[str], str] = lambda text: text) -> None:
    added = change((LEARNER / "regression.py.txt").read_text("utf-8"))
    path = shop.tree / TEST_FILE
    path.write_text(sandbox.at_pin(shop, TEST_FILE) + added, "utf-8")


def repair(shop: Workshop, change: variants.Repair) -> None:
    """Replace the body's parts in the file; the rest of the file stays as it is."""
    source = sandbox.at_pin(shop, CODE_FILE)
    (shop.tree / CODE_FILE).write_text(variants.repaired_file(source, change), "utf-8")


BY_HAND = """\
        room = max_model_len - request.num_tokens
        allowed = request.max_tokens - request.num_output_tokens
        if min(room, allowed) <= 0:
            request.status = RequestStatus.FINISHED_LENGTH_CAPPED
            return True
"""


def repair_by_hand(shop: Workshop) -> None:
    """Five lines below the one that opens the gate, as one would type them."""
    lines = sandbox.at_pin(shop, CODE_FILE).splitlines(keepends=True)
    (gate,) = (n for n, line in enumerate(lines) if "< sampling_params.min_tokens" in line)
    lines.insert(gate + 1, BY_HAND)
    (shop.tree / CODE_FILE).write_text("".join(lines), "utf-8")


def commit(shop: Workshop, *options: str) -> None:
    who = ["-c", "user.name=A Learner", "-c", "user.email=learner@localhost"]
    git = ["git", "-C", str(shop.tree), *who, "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "Ask about the length", *options], check=True)


def describe(shop: Workshop, change: Callable[[str], str] = lambda text: text) -> None:
    done = steps.passed(shop)
    text = change((LEARNER / "DESCRIPTION.md").read_text("utf-8"))
    stuck = done["reproduce"]["evidence"]["stuck_for"]
    counts = done["fix"]["evidence"]["counts"]
    filled = text.replace("{stuck}", str(stuck)).replace("{counts}", counts)
    shop.paper("DESCRIPTION.md").write_text(filled, "utf-8")


def check(shop: Workshop, name: str) -> Verdict:
    return steps.check(shop, steps.BY_NAME[name])


def complaints(shop: Workshop, name: str) -> str:
    verdict = check(shop, name)
    assert not verdict.passed
    return "\n".join(verdict.complaints)
