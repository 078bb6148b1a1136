"""Units, the registry, the numbers it starts with, and the lint for typed ones."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from book.quantities import lint, registry
from book.quantities.llama import LLAMA3_8B
from book.quantities.units import UNITS, UnitError, number, unit, written

NARROW = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (131072, "131,072"),
        (0.005, "0.005"),
        (4.789, "4.79"),
        (0.65731, "0.657"),
        (1234.5, "1,234"),
        (1e-7, "0.0000001"),
        (2.0, "2"),
    ],
)
def test_numbers_are_exact_or_have_three_digits(value, text):
    assert number(value) == text


def test_units_convert_within_their_family_and_nowhere_else():
    assert written(131072, unit("B"), unit("KiB")) == f"128{NARROW}KiB"
    assert written(0.0048, unit("s"), unit("ms"), 1) == f"4.8{NARROW}ms"
    assert written(0.25, unit("×"), unit("%")) == "25%"
    assert written(1, unit("token")) == f"1{NARROW}token"
    assert written(2, unit("token")) == f"2{NARROW}tokens"
    with pytest.raises(UnitError, match="measures time"):
        written(1, unit("B"), unit("ms"))
    with pytest.raises(UnitError, match="unknown unit 'parsec'"):
        unit("parsec")


@given(st.floats(1e-9, 1e14), st.sampled_from(sorted(UNITS)))
@example(1.0309338e-09, "s")
def test_what_is_printed_is_within_half_a_percent(value, symbol):
    text = written(value, UNITS[symbol])
    digits = text.split(NARROW)[0].rstrip("×%").replace(",", "")
    assert float(digits) == pytest.approx(value, rel=0.0051)


def test_every_quantity_computes_and_names_its_source():
    entries = list(registry.all_quantities())
    assert len(entries) >= 10
    for entry in entries:
        assert entry.text()
        assert entry.source.strip()
        assert entry.description


def test_the_numbers_that_everybody_quotes():
    assert registry.get("llama3-8b-kv-bytes-per-token").value() == 131072
    # the count of the published checkpoint's safetensors index
    assert LLAMA3_8B.parameters() == 8_030_261_248
    assert registry.printed("llama3-8b-kv-bytes-per-token in KiB") == f"128{NARROW}KiB"


def test_a_quantity_that_cannot_be_printed_says_why(monkeypatch):
    monkeypatch.setattr(registry, "_QUANTITIES", dict(registry._QUANTITIES))
    with pytest.raises(registry.QuantityError, match="nearest: llama3-8b-kv-bytes-per-token"):
        registry.get("llama3-8b-kv-bytes-per-tokens")
    with pytest.raises(registry.QuantityError, match="has no source"):
        registry.quantity("x", unit="B", source=" ")
    with pytest.raises(registry.QuantityError, match="no docstring"):
        registry.quantity("x-y", unit="B", source="s")(lambda: 1)

    def broken() -> float:
        """Fails."""
        return 1 / 0

    registry.quantity("is-broken", unit="B", source="s")(broken)
    with pytest.raises(registry.QuantityError, match="ZeroDivisionError"):
        registry.get("is-broken").value()


TYPED = [
    "A token takes 131,072 bytes.",
    "It takes about 0.6 s, that is 600 ms.",
    "Throughput rises by 30 %.",
    "It is 4x faster, or 2.5× as fast.",
    "That is 3.35 TB/s.",
    "::: {note}\n:::\n\n:::{tip}\nUse 16 tokens.\n:::",
    "| a | b |\n|---|---|\n| step | 12 ms |",
    "- a list with 7 blocks",
    "## A heading with 64 tokens",
]
FINE = [
    "One token adds {qty}`llama3-8b-kv-bytes-per-token`.",
    "A prompt of {given}`500 tokens` arrives.",
    "Orca {cite}`orca` reports 36.9× at the same latency.",
    "```python\nx = '5 tokens'\n```",
    "```console\n120 tok/s\n```",
    "The flag `--block-size 16 tokens` and $16$ tokens.",
    "In step 4, request 2 of 3 runs; see phase 02, lab 03 and version 0.22.1.",
    "Python 3.11 to 3.13, on 2 cores.",
    "---\ntitle: 5 tokens\n---\n\nText.",
    "Every request passes prompt + output − 1 tokens.",
    "{up}`vllm/envs.py` says 5 seconds.",
]


@pytest.mark.parametrize("text", TYPED)
def test_a_typed_number_is_found(text):
    assert list(lint.lint_text(text))


@pytest.mark.parametrize("text", FINE)
def test_what_is_computed_given_cited_or_shown_is_left_alone(text):
    assert list(lint.lint_text(text)) == []


def test_an_answer_may_repeat_the_givens_and_add_none():
    text = """::::{question} q
:competency: 3
:minutes: 6
:tier: core

The budget is 2,048. Why 90 ms?

:::{mechanism}
With 2,048 tokens it takes 90 ms.
:::
:::{arithmetic}
So 12 ms are left.
:::
:::{consequence}
Nothing.
:::
::::
"""
    assert [(line, claim) for line, claim in lint.lint_text(text)] == [(12, "12 ms")]


def test_lines_are_those_of_the_file(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# T\n\nFine.\n\nText\nwith 5 tokens.\n")
    module = tmp_path / "module.py"
    module.write_text('x = 1\n\n\ndef f():\n    r"""Text.\n\n    It has 7 blocks.\n    """\n')
    assert [(f.line, f.text) for f in lint.lint([page])] == [(6, "5 tokens")]
    assert [(f.line, f.text) for f in lint.lint([module])] == [(7, "7 blocks")]


def test_the_command_tells_findings_and_refuses_a_missing_path(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("It takes 5 ms.\n")
    assert lint.main([str(page)]) == 1
    assert "'5 ms' is typed" in capsys.readouterr().out
    page.write_text("It takes {qty}`llama3-8b-decode-step`.\n")
    assert lint.main([str(page)]) == 0
    assert lint.main([str(tmp_path / "none.md")]) == 2
