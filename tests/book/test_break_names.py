"""A long name in a table breaks where a hand would break it, and is copied as it was."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book._ext.break_names import MAY_BREAK, _complete, in_cells, in_text, with_places


@pytest.mark.parametrize(
    "broken",
    [
        "GPU|Model|Runner.|execute_|model",
        "Single|Type|KV|Cache|Manager.|remove_|skipped_|blocks",
        "VLLM_|USE_|V2_|MODEL_|RUNNER",
        "vllm/v1/|core/|sched/|scheduler.py",
        "Scheduler.|_select_|waiting_|queue_|for_|scheduling",
        "0decac0d96c42b49|572498019f0a0e36",
        "--max-num-batched-tokens",  # a browser breaks at hyphens by itself
        "penalise_x",  # short enough for any column
    ],
)
def test_a_name_breaks_between_its_words(broken):
    assert with_places(broken.replace("|", "")).replace(MAY_BREAK, "|") == broken


@given(st.text(alphabet="abcXYZ019._/(=-", min_size=13))  # a shorter one stays as it is
def test_nothing_but_places_is_added(name):
    assert with_places(name).replace(MAY_BREAK, "") == name


def test_only_names_in_cells_of_tables_get_places():
    name = '<code><span class="pre">scheduler_config</span></code>'
    placed = f'<code><span class="pre">scheduler_{MAY_BREAK}config</span></code>'
    plain = "<p>scheduler_config</p>"
    table = f"<table><tr><td>{{}}{plain}</td></tr></table>"
    assert in_cells(name + table.format(name)) == name + table.format(placed)
    link = '<span class="up">{}</span>'
    assert in_cells(table.format(link.format("RMSNormQuantFusionPass"))) == table.format(
        link.format("RMS|Norm|Quant|Fusion|Pass".replace("|", MAY_BREAK))
    )
    column = '<div class="pair-theirs">{}</div>'
    assert in_cells(column.format(name)) == column.format(placed)


def test_in_running_text_only_names_longer_than_a_line_get_places():
    short, long = "Scheduler.schedule", "MLACommonImpl._compute_prefill_context"
    text = '<p><code><span class="pre">{}</span></code></p>'
    assert in_text(text.format(short)) == text.format(short)
    broken = "MLA|Common|Impl.|_compute_|prefill_|context".replace("|", MAY_BREAK)
    assert in_text(text.format(long)) == text.format(broken)
    assert in_text(text.format(broken)) == text.format(broken)  # a cell's are there already


def test_a_signature_may_break_in_front_of_its_parameters():
    opened, closed = '<span class="sig-paren">(</span>', '<span class="sig-paren">)</span>'
    parameter = '<em class="sig-param"><span class="pre">num_gpu_blocks</span></em>'
    assert in_text(opened + parameter + closed) == opened + MAY_BREAK + parameter + closed
    assert in_text(opened + closed) == opened + closed


def test_where_an_excerpt_begins_is_a_name_as_well():
    where = '<a class="up-link up-quiet reference internal" href="x">{} · forward · 7–9</a>'
    path = "vllm/|model_|executor/|layers/|attention/|attention.py"
    whole = where.format(path.replace("|", ""))
    assert in_text(whole) == where.format(path.replace("|", MAY_BREAK))


@pytest.mark.parametrize(
    ("flag", "kept"),
    [
        ("--block-size", '<span class="keep">--block</span>-size'),
        ("-O3", '<span class="keep">-O3</span>'),
        ("-cc.mode=none", '<span class="keep">-cc</span>.mode=none'),
        ("--seed", '<span class="keep">--seed</span>'),
        ("a-b", "a-b"),
    ],
)
def test_the_dashes_of_a_flag_stay_with_its_first_word(flag, kept):
    text = '<code><span class="pre">{}</span></code>'
    assert in_text(text.format(flag)) == text.format(kept)


def test_the_epub_can_read_them():
    """Its pages are XML, in which nothing stays open."""
    table = '<table><tr><td><span class="pre">EngineCoreProc.run_busy_loop</span></td></tr></table>'
    assert "".join(ElementTree.fromstring(in_cells(table)).itertext()).endswith("busy_loop")


def test_the_entries_of_both_indexes_are_names_too():
    """Their templates escape what they are given: markup has to come as markup."""
    links = [("", "page.html#it")]
    context = {
        "genindexentries": [
            (
                "C",
                [("ChatChoice (class in a.chat_completion)", (links, [("<x> & y", links)], None))],
            )
        ]
    }
    _complete(None, "genindex", "genindex.html", context)
    [(letter, [(name, (there, [(below, _)], _))])] = context["genindexentries"]
    assert (letter, there) == ("C", links)
    assert name.__html__() == f"ChatChoice (class in a.{MAY_BREAK}chat_{MAY_BREAK}completion)"
    assert below.__html__() == "&lt;x&gt; &amp; y"
    context = {
        "indextitle": "Modules",
        "content": [("m", [("mini_vllm.core.scheduler", 2, "page", "it", "", "", "")])],
    }
    _complete(None, "py-modindex", "domainindex.html", context)
    [(_, [(name, *rest)])] = context["content"]
    assert rest == [2, "page", "it", "", "", ""]
    assert str(name) == f"mini_{MAY_BREAK}vllm.{MAY_BREAK}core.{MAY_BREAK}scheduler"
