"""The parser of questions and exercises, and what the pages make of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from book.questions import COMPETENCIES, TIERS, EntryError, parse_entry, read_text

OPTIONS = {"competency": "3", "minutes": "6", "tier": "core"}
BODY = """Why?

:::{mechanism}
M
:::
:::{arithmetic}
A
:::
:::{consequence}
C
:::
"""


def test_a_question_has_prompt_and_three_layers():
    entry = parse_entry("question", "why-slow", OPTIONS, BODY)
    assert entry.prompt.markdown == "Why?"
    assert {name: part.markdown for name, part in entry.parts.items()} == {
        "mechanism": "M",
        "arithmetic": "A",
        "consequence": "C",
    }


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"competency": "9"}, "competency '9'"),
        ({"competency": ""}, "competency ''"),
        ({"minutes": "0"}, "minutes '0'"),
        ({"tier": "easy"}, "tier 'easy'"),
        ({"colour": "red"}, "unknown options"),
    ],
)
def test_wrong_options_are_refused_by_value(change, complaint):
    with pytest.raises(EntryError, match=complaint):
        parse_entry("question", "q", {**OPTIONS, **change}, BODY)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (BODY.replace(":::{consequence}\nC\n:::\n", ""), "lacks consequence"),
        (BODY.replace("\nC\n", "\n\n"), "consequence is empty"),
        (BODY.replace("Why?", ""), "asks nothing"),
        (BODY + ":::{mechanism}\nM2\n:::\n", "two parts 'mechanism'"),
        (BODY + ":::{answer}\nM2\n:::\n", "no part 'answer'"),
    ],
)
def test_incomplete_questions_are_refused(body, complaint):
    with pytest.raises(EntryError, match=complaint):
        parse_entry("question", "q", OPTIONS, body)


@pytest.mark.parametrize("name", ["Upper", "two words", "", "-dash", "a--b"])
def test_ids_are_plain(name):
    with pytest.raises(EntryError):
        parse_entry("question", name, OPTIONS, BODY)


def test_code_that_shows_a_part_is_not_a_part():
    body = BODY.replace("Why?", "Why?\n\n```text\n:::{mechanism}\nno\n:::\n```")
    entry = parse_entry("question", "q", OPTIONS, body)
    assert entry.parts["mechanism"].markdown == "M"
    assert ":::{mechanism}" in entry.prompt.markdown


def test_entries_of_a_page_come_in_order_with_their_lines():
    text = f"# T\n\n::::{{question}} one\n:competency: 3\n:minutes: 6\n:tier: core\n\n{BODY}::::\n"
    text += "\n::::{exercise} two\n:competency: 1\n:minutes: 2\n:tier: warm-up\n\n"
    text += "How?\n\n:::{answer}\nSo.\n:::\n::::\n"
    entries = list(read_text(text))
    assert [e.id for e in entries] == ["one", "two"]
    for entry in entries:
        for part in entry.parts.values():
            assert text.splitlines()[part.line] == part.markdown.splitlines()[0]


letters = st.characters(categories=["L", "N", "P", "Zs"], exclude_characters=":`~")
words = st.text(letters, min_size=1)


@given(
    prompt=words.filter(str.strip),
    layers=st.tuples(*[words.filter(str.strip)] * 3),
    competency=st.sampled_from(sorted(COMPETENCIES)),
    minutes=st.integers(1, 600),
    tier=st.sampled_from(TIERS),
)
def test_whatever_is_written_comes_back(prompt, layers, competency, minutes, tier):
    names = ("mechanism", "arithmetic", "consequence")
    parts = "".join(f":::{{{n}}}\n{text}\n:::\n" for n, text in zip(names, layers, strict=True))
    text = (
        f"::::{{question}} id\n:competency: {competency}\n:minutes: {minutes}\n:tier: {tier}\n\n"
        f"{prompt}\n\n{parts}::::\n"
    )
    (entry,) = read_text(text)
    assert entry.prompt.markdown.strip() == prompt.strip()
    assert tuple(entry.parts[n].markdown.strip() for n in names) == tuple(x.strip() for x in layers)
    assert (entry.competency, entry.minutes, entry.tier) == (competency, minutes, tier)


def test_pages_fold_the_answer_away_and_export_all(built):
    page = built.page("questions")
    assert page.count("<details") == 2
    assert "<details open" not in page
    assert 'id="question-first"' in page
    assert "Throughput engineering" in page
    data = json.loads((built.html / "questions.json").read_text())
    assert [entry["id"] for entry in data] == ["first", "second"]
    assert set(data[0]["parts"]) == {"mechanism", "arithmetic", "consequence"}
    assert data[0]["docname"] == "questions"


def test_the_same_id_twice_fails_the_build(built):
    text = (built.source / "questions.md").read_text()
    built.write("again.md", "---\norphan: true\n---\n" + text)
    try:
        assert "is already asked on" in built.build(check=False)
    finally:
        (built.source / "again.md").unlink()
