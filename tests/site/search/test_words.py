"""Words, names and paths, cut without a browser and without a book."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book._ext.search.index import DIGITS, build, encoded
from book._ext.search.pages import Entry, Page, asked_as, spelled, upstream_key
from book._ext.search.words import name_key, terms


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FreeBlockQueue", {"freeblockqueue", "free", "block", "queue"}),
        ("max_num_batched_tokens", {"maxnumbatchedtokens", "max", "batch", "token"}),
        ("--max-num-seqs", {"maxnumseqs", "seq"}),
        ("EngineCore.step", {"enginecore.step", "enginecore", "engin", "core", "step"}),
        ("vllm/v1/engine/core.py", {"vllm.v1.engine.core", "core"}),
        ("KVCacheManager", {"kvcachemanager", "kv", "cach", "manag"}),
        ("GPUs", {"gpus"}),
        ("naïve", {"naiv"}),
        ("8,192 tokens", {"8192", "token"}),
        ("vLLM's log", {"vllm", "log"}),
    ],
)
def test_a_text_has_these_terms(text, wanted):
    assert wanted <= set(terms(text))


def test_words_that_every_page_has_are_left_out_except_from_titles():
    assert terms("why is it over?") == []
    assert terms("why is it over?", stop=False) == ["whi", "is", "it", "over"]


@pytest.mark.parametrize(
    "spelling", ["needs_sample", "needs-sample", "NeedsSample", "needssample", "NEEDS_SAMPLE"]
)
def test_a_name_has_one_key(spelling):
    assert name_key(spelling) == "needssample"


def test_an_upstream_anchor_is_found_in_every_form():
    target = 'vllm/v1/engine/core.py#EngineCore.step@"self.scheduler.schedule()"'
    key = upstream_key(target)
    assert key == ("vllm/v1/engine/core.py", "EngineCore.step")
    forms = {name_key(form) for form in spelled(*key)}
    asked = ["EngineCore.step", "step", "vllm/v1/engine/core.py", "vllm.v1.engine.core", "core.py"]
    assert {name_key(one) for one in asked} <= forms | {"core"}
    assert upstream_key("env:VLLM_LOGGING_LEVEL") == ("env", "VLLM_LOGGING_LEVEL")
    assert upstream_key('log:"GPU KV cache size"') == ("log", "GPU KV cache size")


def test_what_means_an_upstream_name_and_nothing_else():
    step = asked_as("vllm/v1/engine/core.py", "EngineCore.step")
    assert {"enginecore.step", "step", "enginecore"} <= {*step}
    assert "core.py" in step  # who types the file's name means all in it
    assert "core" not in step  # and `core` is a word like any other
    assert asked_as("vllm/v1/engine/core.py", "") == ["vllm.v1.engine.core", "core.py"]
    assert asked_as("vllm/v1/core", "") == ["vllm.v1.core"]
    # A heading is one name: neither its words nor an ending stand for it.
    assert not {"checks", "md"} & {*asked_as("AGENTS.md", "Duplicate-work checks")}
    assert "yaml" not in asked_as(".buildkite/test_areas/misc.yaml", "")


@given(st.text())
def test_terms_are_lower_case_and_have_no_space(text):
    for term in terms(text):
        assert term == term.lower()
        assert " " not in term
        assert term


@given(st.dictionaries(st.integers(0, 10**6), st.integers(1, 63), max_size=40))
def test_a_list_can_be_read_back(postings):
    rows = sorted(postings.items())
    text, back, entry, i = encoded(rows), [], 0, 0
    while i < len(text):
        gap = shift = 0
        while (digit := DIGITS.index(text[i])) >= 32:
            gap |= (digit & 31) << shift
            shift, i = shift + 5, i + 1
        entry += gap | digit << shift
        back.append((entry, DIGITS.index(text[i + 1])))
        i += 2
    assert back == rows


def test_the_index_does_not_depend_on_the_order_in_which_pages_were_read():
    pages = {name: Page(name, [Entry("page", "", name)], Counter()) for name in ("b", "a", "c")}
    for name, page in pages.items():
        page.entries[0].count("body", f"{name} two words more")
        page.upstream[("vllm/x.py", "f")] += 2
    turned = dict(reversed(pages.items()))
    assert json.dumps(build(pages)) == json.dumps(build(turned))
    assert build(pages)["pages"][0][0] == "a"
    assert build(pages)["upstream"] == [
        ["vllm/x.py", "f", [0, 2, 1, 2, 2, 2], "vllm.x f vllm.x.f x.py"]
    ]
