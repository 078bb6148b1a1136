"""A filled frame is clean, whatever is taken out is named, layout is nobody's business."""

from __future__ import annotations

import re
import textwrap

import pytest
from capstone.errors import CapstoneError
from capstone.plan.checking import check_plan
from capstone.plan.comment import check_comment, draft_comment
from capstone.plan.description import check_description, draft_description
from capstone.plan.frame import write_frame
from capstone.plan.markdown import PLACEHOLDER, Document
from capstone.plan.one_pager import RADIUS, SECTIONS, Plan, claimed
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_documents import GOOD, check, good, section

PLANS = [path.name for path in GOOD if path.name.startswith("plan")]

TARGETS = (
    "vllm/v1/core/sched/scheduler.py#Scheduler.schedule",
    "vllm/v1/core/block_pool.py#BlockPool.get_new_blocks",
    "vllm/v1/core/kv_cache_utils.py#FreeKVCacheBlockQueue.popleft_n",
    "vllm/lora/peft_helper.py#PEFTHelper.from_dict",
    "vllm/tool_parsers/hermes_tool_parser.py#Hermes2ProToolParser.adjust_request",
    "vllm/v1/engine/output_processor.py#OutputProcessor.abort_requests",
    'vllm/v1/core/sched/utils.py#check_stop@"last_token_id == sampling_params.eos_token_id"',
    "vllm/v1/sample/rejection_sampler.py#RejectionSampler",
)

SENTENCES = {
    "Problem": "Under load a request is counted twice, so an operator sees more of them than "
    "there are.",
    "Change": "Count where a request enters and nowhere else. The second counter goes away, and "
    "what it fed reads the first one; its name and its unit stay as they are.",
    "Benchmark": "No performance claim is made.",
    "Out of scope": "- The other counters of the same file",
}
VALUES = {
    "Prefix": "[Core]",
    "Fails today": "the counter says two after a single request was added",
    "TP": "one process counts, before the ranks see the batch",
    "Quantization": "requests are counted, whatever the type of their weights",
    "LoRA": "an adapter is one more field of a request and is not read",
    "Speculative decoding": "drafts belong to a request that has been counted by then",
    "Estimate": "60 lines: 20 code, 40 tests",
    "Claimed": "in the issue, on Monday",
    "pre-commit": "installed, runs on every commit",
    "Sign-off": "every commit, with -s",
}


def fill(frame: str) -> str:
    """A frame as a diligent author leaves it."""
    lines, title = [], ""
    for line in frame.split("\n"):
        title = line[3:] if line.startswith("## ") else title
        if PLACEHOLDER in line:
            key = re.match(r"(?:- )?(?:\[ \] )?([A-Z][\w -]+|pre-commit):", line)
            if title in SENTENCES:
                line = SENTENCES[title]
            elif key and key[1] in VALUES:
                box = "[x] " if "[ ]" in line else ""
                line = f"{'- ' if line.startswith('- ') else ''}{box}{key[1]}: {VALUES[key[1]]}"
            elif line.startswith("- new:"):
                state = "`vllm/v1/request.py#Request.num_tokens`"
                line = f"- new: {state} is at least 1; nothing sets it here"
            else:
                line = line.split(PLACEHOLDER)[0] + "the change reads this and writes nothing"
        lines.append(line)
    return "\n".join(lines)


@settings(deadline=None, max_examples=25)
@given(
    targets=st.lists(st.sampled_from(TARGETS), min_size=1, max_size=4, unique=True),
    number=st.integers(1, 99999),
)
def test_a_frame_that_is_filled_in_is_clean(upstream, targets, number) -> None:
    frame = write_frame(upstream, targets, (number, "Count each request once"), with_graph=False)
    marks = {c.line for c in check_plan(Document(frame), upstream) if c.rule == "placeholder"}
    assert marks == {n for n, line in enumerate(frame.split("\n"), 1) if PLACEHOLDER in line}
    text = fill(frame)
    assert check_plan(Document(text), upstream) == []
    assert Plan(Document(text)).issue == str(number)


@pytest.mark.parametrize("name", PLANS)
def test_whatever_is_taken_out_is_named(upstream, name: str) -> None:
    text = good(name)
    for title in SECTIONS:
        found = check(name, text.replace(section(text, title), ""), upstream)
        assert [c.text for c in found if c.rule == "section-missing"] == [
            f"no section `## {title}`"
        ]
    keys = ("Issue", "Pin", "Prefix", "Place", "CI", "Fails today", "Command", "Estimate")
    for key in (*keys, *RADIUS, r"\[x\] Claimed", r"\[x\] pre-commit", r"\[x\] Sign-off"):
        rest, count = re.subn(
            rf"^([-*] )?{key}: .*\n(  .*\n)*", "Nothing.\n", text, count=1, flags=re.MULTILINE
        )
        assert count == 1, key
        found = check(name, rest, upstream)
        plain = key.removeprefix(r"\[x\] ")
        assert any(plain in c.text or plain.lower() in c.rule for c in found), (key, found)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_layout_is_nobodys_business(upstream, data) -> None:
    name = data.draw(st.sampled_from([path.name for path in GOOD]))
    text = good(name)
    if data.draw(st.booleans(), "other bullets"):
        text = re.sub(
            r"^[-*] (?!-)", data.draw(st.sampled_from(["- ", "* ", "+ "])), text, flags=re.M
        )
    if data.draw(st.booleans(), "trailing blanks"):
        text = re.sub(r"(?<=[a-z.])$", "  ", text, flags=re.M)
    if data.draw(st.booleans(), "a blank line more before each heading"):
        text = text.replace("\n## ", "\n\n## ") if len(text.split("\n")) < 75 else text
    if data.draw(st.booleans(), "closed headings"):
        text = re.sub(r"^(## .*)$", r"\1 ##", text, flags=re.M)
    assert check(name, text, upstream) == []


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_a_torn_document_is_complained_of_and_never_breaks_the_check(upstream, data) -> None:
    name = data.draw(st.sampled_from([path.name for path in GOOD]))
    lines = good(name).split("\n")
    cut = data.draw(st.integers(0, len(lines) - 1))
    kept = lines[:cut] + lines[data.draw(st.integers(cut, len(lines))) :]
    junk = data.draw(st.text(st.characters(codec="utf-8"), max_size=30))
    place = data.draw(st.integers(0, len(kept)))
    text = "\n".join([*kept[:place], junk, *kept[place:]])
    if not is_document(text):
        with pytest.raises(CapstoneError, match=re.escape(name)):
            check(name, text, upstream)
        return
    found = check(name, text, upstream)
    last = len(text.split("\n"))
    assert all(0 <= complaint.line <= last for complaint in found)
    gone = [t for t in SECTIONS if name.startswith("plan") and f"## {t}" not in text]
    said = " ".join(c.text for c in found if c.rule == "section-missing")
    assert all(f"## {title}" in said for title in gone)


@settings(deadline=None, max_examples=60)
@given(text=st.text(st.sampled_from("#`-[] \nab:|@/.xPlan0"), max_size=120))
def test_any_text_is_checked_or_refused(upstream, text: str) -> None:
    for name in ("plan.md", "comment.md", "pr.md"):
        if is_document(text):
            assert check(name, text, upstream)
        else:
            with pytest.raises(CapstoneError, match=r"empty|no heading"):
                check(name, text, upstream)


def is_document(text: str) -> bool:
    """Whether a text has a heading that can be read, outside of a fence."""
    try:
        Document(text)
    except CapstoneError:
        return False
    return True


@pytest.mark.parametrize("name", PLANS)
def test_drafts_leave_no_rule_but_marks_to_fill(upstream, name: str) -> None:
    plan = Plan(Document(good(name)))
    comment = Document(draft_comment(plan))
    rules = {c.rule for c in check_comment(comment, upstream, plan)}
    assert rules <= {"placeholder", "comment-length"}, rules
    description = Document(draft_description(plan))
    rules = {c.rule for c in check_description(description, upstream, plan)}
    assert rules == {"placeholder"}


def test_a_fence_hides_headings_and_words() -> None:
    text = textwrap.dedent("""\
        # Plan: one

        ## Size

        ```bash
        ## Size
        echo a b c
        ```
        two words
        """)
    document = Document(text)
    assert [s.title for s in document.sections] == ["Size"]
    assert document.sections[0].words == 2
    assert document.sections[0].blocks()[0].text == "## Size\necho a b c"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("The step is faster with this.", "faster"),
        ("It adds no overhead.", ""),
        ("This does not change the latency.", ""),
        ("No field is added. Throughput rises.", "Throughput"),
        ("`throughput` is a name here.", ""),
    ],
)
def test_a_promise_that_is_taken_back_is_none(text: str, word: str) -> None:
    assert claimed(text) == word
