"""Verdicts on the values of an answer: right, bare, of another dimension, wrong, missing."""

from __future__ import annotations

import pytest
from capstone.errors import CapstoneError
from capstone.loop.checks import Demand, Verdict, check, demand, literal, value_of
from hypothesis import given
from hypothesis import strategies as st

from book.quantities import registry

KV = "llama3-8b-kv-bytes-per-token"  # 131,072 B


def verdict(answer: str, tolerance: float = 0.01) -> Verdict:
    (finding,) = check(Demand((value_of(KV, tolerance),), 1), answer)
    return finding.verdict


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("131,072 B a token", Verdict.MET),
        ("128 KiB", Verdict.MET),
        ("131 kB per token", Verdict.MET),
        ("0.125 MiB", Verdict.MET),
        ("128", Verdict.MISSING),
        ("131072", Verdict.NO_UNIT),
        ("131,072 tokens", Verdict.OTHER_DIMENSION),
        ("131072 ms", Verdict.OTHER_DIMENSION),
        ("128 kB", Verdict.PREFIX),
        ("524 kB", Verdict.WRONG),
        ("many", Verdict.MISSING),
        ("7 ms", Verdict.MISSING),
        ("", Verdict.MISSING),
    ],
)
def test_each_verdict(answer: str, expected: Verdict) -> None:
    assert verdict(answer) is expected


def test_a_wrong_number_says_how_far_off_and_which_is_right() -> None:
    (finding,) = check(Demand((value_of(KV),), 1), "1 B, no, 512 KiB")
    assert "512 KiB" in finding.sentence
    assert "4 times too much" in finding.sentence
    assert "131,072" in finding.sentence


def test_a_ratio_may_be_said_as_a_bare_number() -> None:
    values = (literal("gain", 1.5, "×"), literal("share", 30, "%"))
    found = check(Demand(values, 2), "1.5, that is 0.3")
    assert [f.verdict for f in found] == [Verdict.MET, Verdict.MET]


def test_things_counted_answer_for_a_bare_count_and_not_the_other_way_round() -> None:
    seats = (literal("seats", 53, ""), literal("requests", 53, "requests"))
    found = check(Demand(seats, 2), "53 requests")
    assert [f.verdict for f in found] == [Verdict.MET, Verdict.MET]
    found = check(Demand(seats, 2), "53")
    assert [f.verdict for f in found] == [Verdict.MET, Verdict.NO_UNIT]


def test_zero_is_met_by_zero_alone() -> None:
    zero = literal("hits", 0, "tokens")
    assert check(Demand((zero,), 1), "0 tokens")[0].verdict is Verdict.MET
    assert check(Demand((zero,), 1), "1 token")[0].verdict is Verdict.WRONG


def test_without_a_check_line_half_of_the_quantities_are_needed() -> None:
    wanted = demand(f"{{qty}}`{KV}` and {{qty}}`llama3-8b-weight-bytes in GB to 1`, {{qty}}`{KV}`")
    assert [value.name for value in wanted.values] == [KV, "llama3-8b-weight-bytes"]
    assert wanted.needed == 1


def test_a_check_line_names_what_is_needed() -> None:
    wanted = demand(f"{{qty}}`llama3-8b-weight-bytes`\n\n% check: {KV} in KiB within 2 %\n")
    (value,) = wanted.values
    assert (value.name, value.tolerance, wanted.needed) == (KV, 0.02, 1)
    assert value.shown.startswith("128")
    assert demand(f"{{qty}}`{KV}`\n% check: none\n") == Demand()


@pytest.mark.parametrize(
    "line", ["% check: no-such-quantity", f"% check: {KV} in ms", f"% check: {KV} about 3"]
)
def test_a_check_that_cannot_be_made_is_refused(line: str) -> None:
    with pytest.raises(CapstoneError):
        demand(line)


@given(
    st.sampled_from(sorted(q.name for q in registry.all_quantities(2))), st.floats(-0.045, 0.045)
)
def test_every_quantity_is_met_by_what_is_printed_and_by_what_is_near(name, off) -> None:  # type: ignore[no-untyped-def]
    value = value_of(name)
    wanted = Demand((value,), 1)
    assert check(wanted, value.shown)[0].verdict is Verdict.MET
    near = repr(value.base / value.unit.factor * (1 + off))
    assert check(wanted, f"{near} {value.unit.symbol}")[0].verdict is Verdict.MET


@given(st.floats(1.06, 1000), st.booleans())
def test_what_is_farther_off_than_the_tolerance_is_not_met(factor: float, below: bool) -> None:
    value = value_of(KV)
    number = value.base / factor if below else value.base * factor
    (finding,) = check(Demand((value,), 1), f"{number!r} B")
    assert finding.verdict is not Verdict.MET
