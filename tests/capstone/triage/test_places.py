"""Checks 3 to 5: the map, the place of a test, owners and size."""

from __future__ import annotations

import pytest
from capstone.errors import CapstoneError
from capstone.triage import reviewable, testable, within_map
from capstone.triage.findings import Verdict
from capstone.triage.owners import Rule, owners_of
from capstone.triage.territory import read_territory

from upstream_anchors.codebase_map.document import PLACEHOLDER, header

MANAGER = "vllm/v1/core/kv_cache_manager.py"


def after_map(made):
    """The setting as the third check leaves it."""
    assert within_map.check(made).passed
    return made


def test_a_file_of_the_map_passes_and_another_does_not(setting) -> None:
    made = setting()
    assert within_map.check(made).passed
    assert made.files == (MANAGER,)
    assert within_map.check(setting(known=("vllm/v1/engine",))).verdict is Verdict.FAILED


def test_without_a_map_nothing_lies_within_it(setting) -> None:
    assert within_map.check(setting(known=())).verdict is Verdict.UNDECIDED


def test_half_of_the_files_are_enough_if_the_first_is_known(setting) -> None:
    inside, outside = "`vllm/v1/core/block_pool.py`", "`vllm/lora/request.py`"
    outcome = within_map.check(setting(body=f"{inside} and {outside}"))
    assert outcome.passed
    assert outcome.cost == ((2, "1 of its files are not on your map"),)
    assert not within_map.check(setting(body=f"{outside} and {inside}")).passed
    more = f"{inside}, {outside} and `vllm/lora/utils.py`"
    assert not within_map.check(setting(body=more)).passed


def test_a_frame_of_a_traceback_is_a_place(setting) -> None:
    frame = 'File "/usr/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 12, in step'
    made = setting(body=frame)
    assert within_map.check(made).passed
    assert made.files == ("vllm/v1/engine/core.py",)


def test_a_file_that_the_pin_lacks_ends_it(setting) -> None:
    outcome = within_map.check(setting(body="In `vllm/core/scheduler.py` it is wrong."))
    assert outcome.verdict is Verdict.FAILED
    assert "vllm/core/scheduler.py" in outcome.decided_by.rule


def test_where_no_file_is_named_the_learner_may_name_one(setting) -> None:
    vague = {"body": "Something in the cache is counted twice."}
    assert within_map.check(setting(**vague)).verdict is Verdict.UNDECIDED
    assert within_map.check(setting(**vague, answers={"files": MANAGER})).passed
    nowhere = within_map.check(setting(**vague, answers={"files": "vllm/none.py"}))
    assert nowhere.decided_by.rule == "you name vllm/none.py, which the pinned tree does not have"
    partly = within_map.check(setting(**vague, answers={"files": f"vllm/none.py, {MANAGER}"}))
    assert partly.passed
    assert any("vllm/none.py" in one.rule for one in partly.evidence)
    assert nowhere.verdict is Verdict.UNDECIDED


def test_a_map_is_the_files_that_have_a_sentence(tmp_path) -> None:
    path = tmp_path / "MAP.md"
    filled = f"### `{MANAGER}`\n\nRole: Hands out blocks and takes them back.\n\n"
    frame = f"### `vllm/v1/core/block_pool.py`\n\nRole: {PLACEHOLDER}\n"
    path.write_text(f"# Map\n\n{header(('vllm/v1/core',), 'pin')}\n\n{filled}{frame}")
    territory = read_territory(path)
    assert set(territory.lines) == {MANAGER}
    assert territory.where(MANAGER) == "MAP.md, line 5"
    path.write_text(f"# Map\n\n{header(('vllm/v1/core',), 'pin')}\n\n{frame}")
    with pytest.raises(CapstoneError, match="none of its 1 files has a sentence"):
        read_territory(path)
    path.write_text("# Notes")
    with pytest.raises(CapstoneError, match="not a map"):
        read_territory(path)


@pytest.mark.parametrize(
    ("path", "home"),
    [
        ("vllm/v1/core/block_pool.py", "tests/v1/core"),
        ("vllm/v1/core/kv_cache_utils.py", "tests/v1/core/test_kv_cache_utils.py"),
        ("vllm/sampling_params.py", "tests/test_sampling_params.py"),
    ],
)
def test_the_home_of_a_test_mirrors_the_file(upstream, path: str, home: str) -> None:
    found = testable.test_home(upstream.tree, path)
    if not upstream.tree.is_file(home) and not upstream.tree.is_folder(home):
        assert found is None  # the top of tests/ mirrors nothing
    else:
        assert found == home


def test_a_change_in_the_core_is_run_by_ci(setting) -> None:
    outcome = testable.check(after_map(setting()))
    assert outcome.passed
    assert outcome.decided_by.where.startswith(".buildkite/test_areas/")
    assert outcome.decided_by.source == "tree"


def test_a_file_without_tests_is_not_testable(setting) -> None:
    made = setting()
    made.files = ("csrc/cache_kernels.cu",)
    assert testable.check(made).verdict is Verdict.FAILED


def test_an_rfc_a_refusal_and_a_typo_are_not_for_review(setting) -> None:
    for changes in (
        {"title": "[RFC]: a plugin framework"},
        {"labels": [{"name": "RFC"}]},
        {"labels": [{"name": "wontfix"}]},
        {"title": "[Doc]: typo in the scheduler's docstring"},
    ):
        assert reviewable.check(after_map(setting(**changes))).verdict is Verdict.FAILED, changes


def test_a_feature_needs_a_welcome(setting, comment) -> None:
    feature = [{"name": "feature request"}]
    assert not reviewable.check(after_map(setting(labels=feature))).passed
    welcome = [*feature, {"name": "help wanted"}]
    assert reviewable.check(after_map(setting(labels=welcome))).passed
    spoken = [comment("We would take this.", role="MEMBER")]
    assert reviewable.check(after_map(setting(labels=feature, comments=spoken))).passed


def test_five_hundred_lines_are_the_limit(setting) -> None:
    assert reviewable.check(after_map(setting(answers={"lines": 500}))).passed
    assert not reviewable.check(after_map(setting(answers={"lines": 501}))).passed
    assert reviewable.check(after_map(setting())).open_questions


def test_the_last_matching_line_names_the_owners(upstream) -> None:
    found = owners_of(upstream.owners, "vllm/v1/attention/backends/flashinfer.py")
    assert found is not None
    assert found.pattern == "/vllm/v1/attention/backends/flashinfer.py"
    assert owners_of(upstream.owners, "vllm/v1/request.py") is None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/vllm/lora", "vllm/lora/layers/base.py", True),
        ("/vllm/lora", "vllm/lora_utils.py", False),
        ("/vllm/entrypoints/*.py", "vllm/entrypoints/llm.py", True),
        ("/vllm/entrypoints/*.py", "vllm/entrypoints/openai/api.py", False),
        ("/vllm/**/*rocm*", "vllm/v1/attention/backends/rocm_attn.py", True),
        ("/vllm/v1/worker/cpu*", "vllm/v1/worker/cpu_worker.py", True),
        ("mkdocs.yaml", "docs/mkdocs.yaml", True),
        ("/vllm/kernels/", "vllm/kernels/helion/ops.py", True),
    ],
)
def test_patterns_of_codeowners(pattern: str, path: str, matches: bool) -> None:
    assert Rule(pattern, ("x",), 1).matches(path) is matches
