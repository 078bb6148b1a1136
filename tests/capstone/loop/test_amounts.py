"""Numbers with units: what is printed can be read back, and what is no number is left alone."""

from __future__ import annotations

import pytest
from capstone.loop.amounts import COUNT, amounts, unit_named
from hypothesis import given
from hypothesis import strategies as st

from book.quantities.units import UNITS, written

SHOWN = [unit for unit in UNITS.values() if unit.symbol]


@pytest.mark.parametrize(
    ("text", "value", "symbol"),
    [
        ("131,072 B", 131072, "B"),
        ("131 072 bytes", 131072, "B"),
        ("131072B", 131072, "B"),
        ("128 KiB a token", 128, "KiB/token"),
        ("128 KiB per token", 128, "KiB/token"),
        ("16.1 GB", 16.1, "GB"),
        ("100 Gbit", 100, "Gbit"),
        ("4e14 FLOP/s", 4e14, "FLOP/s"),
        ("400 TFLOPS", 400, "TFLOP/s"),
        ("2 × 10^9 operations", 2e9, "FLOP"),
        ("10⁹ tokens", 1e9, "token"),
        ("2^30 B", 2**30, "B"),
        ("3.35 TB/s", 3.35, "TB/s"),
        ("2,000 tokens per second", 2000, "tok/s"),
        ("30 requests a second", 30, "req/s"),
        ("16k tokens", 16_000, "token"),
        ("8B parameters", 8e9, "parameter"),
        ("8 billion parameters", 8e9, "parameter"),
        ("12 us", 12, "μs"),
        ("12 µs", 12, "μs"),
        ("1.3x", 1.3, "×"),
        ("292 times", 292, "×"),
        ("a 4-fold gain", 4, "×"),
        ("32 %", 32, "%"),
        ("32 per cent", 32, "%"),
        ("295 FLOP/byte", 295, "FLOP/B"),
        ("8 GPUs", 8, "device"),
        ("a 512-token chunk", 512, "token"),
        ("5 ms a token", 5, "ms"),
        ("7 apples", 7, ""),
    ],
)
def test_a_single_amount(text: str, value: float, symbol: str) -> None:
    (amount,) = amounts(text)
    assert amount.value == pytest.approx(value)
    assert amount.unit.symbol == symbol


@pytest.mark.parametrize("text", ["p99", "Llama-3-8B", "v0.22.1", "fp8", "h100", "issue #123"])
def test_names_are_no_amounts(text: str) -> None:
    assert not list(amounts(text))


def test_a_product_is_its_factors_and_not_ratios() -> None:
    found = list(amounts("2 x 32 layers x 8 x 128 x 2 B = 131,072 B"))
    assert [(a.value, a.unit.symbol) for a in found] == [
        (2, ""),
        (32, "layer"),
        (8, ""),
        (128, ""),
        (2, "B"),
        (131072, "B"),
    ]


def test_a_number_after_a_full_stop_and_a_new_line_is_read() -> None:
    assert [a.text for a in amounts("2 MiB a block.\n73.6 GB less 16.1 GB")] == [
        "2 MiB",
        "73.6 GB",
        "16.1 GB",
    ]


def test_a_range_gives_its_end_the_unit() -> None:
    assert [(a.value, a.unit.symbol) for a in amounts("5-10 ms")] == [(5, ""), (10, "ms")]


@given(st.sampled_from(SHOWN), st.integers(0, 10**9))
def test_a_printed_whole_number_is_read_back_exactly(unit, value) -> None:  # type: ignore[no-untyped-def]
    (amount,) = amounts(written(value, unit))
    assert (amount.value, amount.unit.family, amount.unit.factor) == (
        value,
        unit.family,
        unit.factor,
    )


@given(st.sampled_from(SHOWN), st.floats(1e-3, 1e12, allow_nan=False))
def test_a_printed_number_is_read_back_to_its_digits(unit, value) -> None:  # type: ignore[no-untyped-def]
    (amount,) = amounts(written(value, unit))
    assert amount.base == pytest.approx(value * unit.factor, rel=0.006)


@given(st.floats(1e-9, 1e30), st.sampled_from(SHOWN))
def test_a_number_as_python_writes_it_is_read_back_exactly(value, unit) -> None:  # type: ignore[no-untyped-def]
    (amount,) = amounts(f"{value!r} {unit.symbol}")
    assert amount.value == value
    assert amount.unit.family == unit.family


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    for amount in amounts(text):
        assert amount.text in text
        assert amount.value == amount.value  # never NaN


def test_units_by_name() -> None:
    assert unit_named("devices").symbol == "device"  # type: ignore[union-attr]
    assert unit_named("tok/s") is UNITS["tok/s"]
    assert unit_named("furlongs") is None
    assert COUNT.family == "count"
