"""Check 2: what a report must say, and what machine it asks for."""

from __future__ import annotations

import pytest
from capstone.triage import reproducible
from capstone.triage.findings import Verdict
from capstone.triage.hardware import demand, without

SCRIPT = "```python\nfrom vllm import LLM\nLLM(model='facebook/opt-125m').generate('x')\n```"
PLAIN = "The answer is empty when the prompt is. I expected an answer of one token at least."


def test_a_version_and_a_script_are_enough(setting) -> None:
    outcome = reproducible.check(setting(body=f"vLLM 0.21.0. {PLAIN}\n\n{SCRIPT}\n"))
    assert outcome.passed
    assert outcome.open_questions == ("see it fail on your own machine",)


@pytest.mark.parametrize(
    ("body", "lacking"),
    [
        (PLAIN, "a version"),
        (f"vLLM 0.21.0. {PLAIN}", "something to run"),
        (f"vLLM 0.21. {PLAIN}\n\n```text\nYour output of collect_env.py here\n```\n", "something"),
    ],
)
def test_without_them_it_is_not(setting, body: str, lacking: str) -> None:
    outcome = reproducible.check(setting(body=body))
    assert outcome.verdict is Verdict.FAILED
    assert lacking in outcome.decided_by.rule


def test_a_cause_placed_in_the_tree_stands_for_both(setting) -> None:
    outcome = reproducible.check(setting())
    assert outcome.passed
    assert any("kv_cache_manager.py" in e.rule for e in outcome.evidence)
    invented = "`KVCacheManager.get_invented_blocks()` records its statistics at lookup, too early."
    assert not reproducible.check(setting(body=invented)).passed


@pytest.mark.parametrize(
    ("text", "gib"),
    [
        ("seen on 8x H100", 640),
        ("TP=4 on one node", 320),
        ("Qwen3-30B-A3B is slow", 55.9),
        ("DeepSeek-V4-Pro hangs", 640),
        ("on an RTX 4090", 16),
        ("facebook/opt-125m and nothing else", None),
        ("256 tokens, 100k requests, 4 steps", None),
    ],
)
def test_machines_that_a_report_asks_for(text: str, gib: float | None) -> None:
    found = demand("", text)
    assert (found and found.gib) == (gib if gib is None else pytest.approx(gib, abs=0.1))


def test_memory_of_the_learner_decides(setting) -> None:
    body = f"vLLM 0.21.0 with Qwen3-8B. {PLAIN}\n\n{SCRIPT}\n"
    assert reproducible.check(setting(body=body)).verdict is Verdict.FAILED
    assert reproducible.check(setting(body=body, gpu_gib=14)).verdict is Verdict.FAILED
    assert reproducible.check(setting(body=body, gpu_gib=16)).passed
    assert reproducible.check(setting(body=body, gpu_gib=None)).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    "text",
    ["no GPU needed", "this is pure Python", "it fails on a CPU", "Independent of the environment"],
)
def test_a_report_may_say_that_the_machine_does_not_matter(setting, text: str) -> None:
    assert without(f"Seen on 8x H100, but {text}.")
    body = f"vLLM 0.21.0, seen on 8x H100, but {text}. {PLAIN}\n\n{SCRIPT}\n"
    assert reproducible.check(setting(body=body)).passed


def test_somebody_who_could_not_see_it_counts_until_the_reporter_answers(setting, comment) -> None:
    failed = comment("I could not reproduce this on main.", role="MEMBER")
    outcome = reproducible.check(setting(comments=[failed]))
    assert (outcome.verdict, outcome.decided_by.where[:9]) == (Verdict.FAILED, "comment 1")
    answer = comment("With these flags it fails every time.", author="reporter")
    assert reproducible.check(setting(comments=[failed, answer])).passed


def test_what_does_not_come_when_called_needs_a_script(setting) -> None:
    body = f"vLLM 0.21.0. It is hard to reproduce. {PLAIN}"
    assert not reproducible.check(setting(body=body)).passed
    assert reproducible.check(setting(body=f"{body}\n\n{SCRIPT}\n")).passed


def test_a_run_of_ci_must_have_been_seen_elsewhere(setting) -> None:
    labels = [{"name": "ci-failure"}]
    body = f"vLLM 0.21.0. {PLAIN}\n\n- [ ] Can reproduce locally\n\n{SCRIPT}\n"
    assert not reproducible.check(setting(body=body, labels=labels)).passed
    ticked = body.replace("[ ]", "[x]")
    assert reproducible.check(setting(body=ticked, labels=labels)).passed


def test_a_feature_must_ask_for_something(setting) -> None:
    feature = {"title": "[Feature]: user ids", "labels": [{"name": "feature request"}]}
    praise = "Excellent work by everybody, thank you very much for this great project."
    assert not reproducible.check(setting(body=praise, **feature)).passed
    wish = "Please add the user's id to the request, so that a policy may look at it."
    assert reproducible.check(setting(body=wish, **feature)).passed


def test_what_the_learner_saw_overrules(setting) -> None:
    assert not reproducible.check(setting(answers={"seen": "no"})).passed
    outcome = reproducible.check(setting(answers={"seen": "yes"}))
    assert outcome.passed
    assert outcome.open_questions == ()
