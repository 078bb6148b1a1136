"""Check 1: who is at work, who was, and what cannot be decided."""

from __future__ import annotations

import pytest
from capstone.triage import claimed
from capstone.triage.findings import Verdict

CLAIMS = (
    "I'd like to work on this.",
    "Hi! I’m interested in taking this if nobody is on it.",
    "I'll take this",
    "Can you assign this to me?",
    "I am working on a fix, will open a PR tomorrow.",
    "We are going to fix this",
    "@somebody is working on this.",
    "I'm happy to submit a PR.",
    "Opened #123 with tests.",
    "Should be fixed by https://github.com/vllm-project/vllm/pull/77",
    "A merged PR, #48, addresses this",
)
NO_CLAIMS = (
    "Is anyone working on this?",
    "Same here with 0.21.",
    "> I'll take this\n\nDid that happen?",
    "```\nI am working on this\n```",
    "This was introduced by #99.",
    "Can someone look into this? I cannot build from source.",
)


def test_a_free_issue_passes_with_its_evidence(setting) -> None:
    outcome = claimed.check(setting())
    assert outcome.verdict is Verdict.PASSED
    assert [e.where for e in outcome.evidence] == ["state", "assignees", "--prs"]


@pytest.mark.parametrize("text", CLAIMS)
def test_a_fresh_claim_ends_it_and_is_found_by_position(setting, comment, text: str) -> None:
    outcome = claimed.check(setting(comments=[comment("First."), comment(text)]))
    assert outcome.verdict is Verdict.FAILED
    assert outcome.decided_by.where.startswith("comment 2, characters ")
    first, last = outcome.decided_by.where.removeprefix("comment 2, characters ").split(" to ")
    assert 0 <= int(first) < int(last) <= len(text)


@pytest.mark.parametrize("text", NO_CLAIMS)
def test_what_is_no_claim_is_none(setting, comment, text: str) -> None:
    assert claimed.check(setting(comments=[comment(text)])).passed


def test_a_claim_lapses_after_its_days(setting, comment) -> None:
    old = comment("I'll take this", at="2026-04-29T00:00:00Z")
    outcome = claimed.check(setting(comments=[old]))
    assert outcome.passed
    assert any("lapsed" in e.rule for e in outcome.evidence)
    fresh = comment("I'll take this", at="2026-05-01T00:00:00Z")
    assert not claimed.check(setting(comments=[fresh])).passed
    yesterday = claimed.check(
        setting(comments=[comment("I'll take this", at="2026-05-29T00:00:00Z")])
    )
    assert yesterday.decided_by.rule == "claimed 1 day ago"


def test_a_claim_given_back_is_free_again_but_only_by_its_owner(setting, comment) -> None:
    claim, back = comment("I'll take this"), "I no longer have time for this"
    assert claimed.check(setting(comments=[claim, comment(back)])).passed
    assert not claimed.check(setting(comments=[claim, comment(back, author="other")])).passed
    assert not claimed.check(setting(comments=[comment(back), claim])).passed


def test_a_bot_claims_nothing(setting, comment) -> None:
    said = comment("I will fix this", author="renovate[bot]")
    assert claimed.check(setting(comments=[said])).passed


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "CLOSED"},
        {"assignees": [{"login": "somebody"}]},
        {"closedByPullRequestsReferences": [{"number": 5}]},
        {"body": "The cause is known, I will open a PR for it tomorrow."},
    ],
)
def test_the_fields_of_the_issue_end_it(setting, changes) -> None:
    assert claimed.check(setting(**changes)).verdict is Verdict.FAILED


def test_without_a_list_of_pull_requests_it_is_not_passed(setting) -> None:
    assert claimed.check(setting(pulls=None)).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    "body",
    ["Fixes #100", "closes: #100", "Resolves https://github.com/vllm-project/vllm/issues/100"],
)
def test_a_pull_request_that_closes_it_ends_it_whatever_is_answered(setting, pull, body) -> None:
    made = setting(pulls=[pull(7, body=body)], answers={"same-fix-7": "no"})
    assert claimed.check(made).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    "body",
    ["See #100 for the discussion.", "vllm-project/vllm#100 is related"],
)
def test_a_pull_request_that_names_it_needs_a_no(setting, pull, body) -> None:
    listed = [pull(7, body=body)]
    assert claimed.check(setting(pulls=listed)).verdict is Verdict.UNDECIDED
    assert claimed.check(setting(pulls=listed, answers={"same-fix-7": "no"})).passed
    said_yes = claimed.check(setting(pulls=listed, answers={"same-fix-7": True}))
    assert said_yes.verdict is Verdict.FAILED


@pytest.mark.parametrize("body", ["Fixes #1001", "vllm-ascend#100", "see 100", "#10"])
def test_other_numbers_are_other_issues(setting, pull, body: str) -> None:
    assert claimed.check(setting(pulls=[pull(7, body=body)])).passed


def test_a_pull_request_about_the_same_code_is_found_without_the_number(setting, pull) -> None:
    body = "Stats of `get_computed_blocks` in `KVCacheManager` are recorded too early."
    assert claimed.check(setting(pulls=[pull(7, body=body)])).verdict is Verdict.UNDECIDED
    one_name = pull(7, body="Speeds up `get_computed_blocks`.")
    assert claimed.check(setting(pulls=[one_name])).passed


def test_a_closed_pull_request_fixes_nothing(setting, pull) -> None:
    assert claimed.check(setting(pulls=[pull(7, body="Fixes #100", state="CLOSED")])).passed


def test_what_was_said_after_the_day_of_judgement_does_not_count(setting, comment) -> None:
    later = comment("I'll take this", at="2026-06-02T00:00:00Z")
    assert claimed.check(setting(comments=[later])).passed
