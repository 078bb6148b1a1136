r"""Lab 06: whole comparisons on a made-up machine; then of the engine's backends on this one."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from labkit import machine
from labkit.neighbour import beside

Machine = beside(__file__, "made_up_machine").Machine
RIGHT = np.array([[0.5, -4.0], [1.0, 0.25]], np.float32)


# ---------------------------------------------------------------- task 5: compare


def given_pieces(impl):
    r"""What `compare` may call, without yours."""

    def disagreement(found, oracle, dtype):
        assert np.array_equal(oracle, RIGHT), "the oracle is in the place of the result"
        return None if np.array_equal(found, oracle) else f"not equal in {dtype}"

    def interleaved(work, rounds, *, warm_up, clock, wait):
        assert work, "nobody is left to take a turn"
        seconds = {name: [] for name in work}
        for _, name in itertools.product(range(warm_up + rounds), work):
            wait()
            started = clock()
            work[name]()
            wait()
            seconds[name].append(clock() - started)
        return {name: found[warm_up:] for name, found in seconds.items()}

    def summarise(seconds, moved=0.1):
        against = "it moved" if max(seconds) > 1.5 * min(seconds) else None
        return impl.Summary(float(np.median(seconds)), min(seconds), max(seconds), against)

    impl.disagreement, impl.interleaved, impl.summarise = disagreement, interleaved, summarise


def compared(impl, *contestants, least=1.0, rounds=9, slower=1.0):
    r"""Each contestant is a name, what `check` gives or raises, and its seconds."""
    made = Machine(slower)

    def entered(name, gives, *seconds):
        def check():
            made.turns.append(f"check {name}")
            if isinstance(gives, Exception):
                raise gives
            return gives

        if isinstance(gives, str):
            return impl.Contestant(name, obstacle=gives)
        return impl.Contestant(name, check, made.work(name, *seconds, asking=0.0))

    everybody = [entered(*contestant) for contestant in contestants]
    settings = {"warm_up": 1, "clock": made.clock, "wait": made.wait}
    rows = impl.compare(everybody, RIGHT, "float32", least, rounds, **settings)
    return {row.name: row for row in rows}, made.turns, [row.name for row in rows]


@pytest.mark.task(5)
def test_a_row_for_everybody_in_the_order_given(impl):
    given_pieces(impl)
    told = [("a", RIGHT, 4.0), ("b", "no device", 1.0), ("c", RIGHT * 2, 1.0), ("d", RIGHT, 2.0)]
    rows, _, order = compared(impl, *told)
    assert order == list("abcd")
    assert rows["a"].summary.median == 4.0
    assert (rows["a"].share, rows["d"].share) == (0.25, 0.5)
    assert rows["a"].remark == rows["d"].remark == ""
    for name, word in (("b", "no device"), ("c", "not equal in float32")):
        assert rows[name].summary is rows[name].share is None
        assert rows[name].remark == word


@pytest.mark.task(5)
def test_whoever_is_wrong_gets_no_turn(impl, truth):
    given_pieces(impl)
    wrong = np.where(RIGHT == 1, np.nan, RIGHT).astype(np.float32)
    rows, order, _ = compared(impl, ("a", RIGHT, 4.0), ("wrong", wrong, 0.4), ("b", RIGHT, 4.0))
    truth("wrong", "no figure" if rows["wrong"].summary is None else "a tenth")
    assert "wrong" not in order
    assert order[:3] == ["check a", "check wrong", "check b"], "all are checked before anybody runs"
    assert (order.count("a"), order.count("b")) == (10, 10)


@pytest.mark.task(5)
def test_whoever_fails_is_told_of_in_its_own_words(impl):
    given_pieces(impl)
    error = RuntimeError("no kernel image is available")
    rows, order, _ = compared(impl, ("a", error, 4.0), ("b", RIGHT, 2.0))
    assert rows["a"].remark == "RuntimeError: no kernel image is available"
    assert rows["b"].summary.median == 2.0
    assert "a" not in order


@pytest.mark.task(5)
def test_a_figure_that_must_not_be_given_is_not(impl):
    given_pieces(impl)
    told = [("moved", RIGHT, 3.0, 9.0), ("impossible", RIGHT, 0.5), ("at the floor", RIGHT, 1.0)]
    told += [("around the floor", RIGHT, 1.1, 0.9, 1.1)]
    rows, _, _ = compared(impl, *told)
    assert rows["moved"] == ("moved", None, None, "it moved")
    assert rows["impossible"].summary is rows["impossible"].share is None
    assert "floor" in rows["impossible"].remark
    assert rows["at the floor"].share == 1.0
    assert rows["around the floor"].share == pytest.approx(1 / 1.1), "it is the median that counts"


@pytest.mark.task(5)
def test_nobody_is_left(impl):
    given_pieces(impl)
    rows, order, _ = compared(impl, ("a", "no device"), ("b", RIGHT * 3, 1.0))
    assert [row.summary for row in rows.values()] == [None, None]
    assert order == ["check b"]


@pytest.mark.task(5)
def test_a_type_without_a_tolerance_is_no_fault_of_a_backend(impl):
    given_pieces(impl)

    def disagreement(found, oracle, dtype):
        raise ValueError("no tolerance")

    impl.disagreement = disagreement
    with pytest.raises(ValueError, match="no tolerance"):
        compared(impl, ("a", RIGHT, 1.0))


# ---------------------------------------------------------------- task 6: say


def row(impl, name, median, spread=0.0, share=0.5):
    return impl.Row(name, impl.Summary(median, median - spread, median + spread), share)


@pytest.mark.task(6)
@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ((1.0, 0.1), (2.0, 0.1), "faster"),
        ((2.0, 0.1), (1.0, 0.1), "slower"),
        ((1.0, 0.3), (1.5, 0.3), "no difference shown"),
        ((1.5, 0.3), (1.0, 0.3), "no difference shown"),
        ((1.0, 0.25), (1.5, 0.25), "no difference shown"),
        ((1.0, 0.0), (1.0, 0.0), "no difference shown"),
        ((1.0, 0.24), (1.5, 0.24), "faster"),
    ],
)
def test_a_difference_is_one_if_the_middle_halves_are_apart(impl, one, other, said):
    assert impl.verdict(row(impl, "one", *one), row(impl, "other", *other)) == said
    silent = impl.Row("silent", remark="drifted")
    assert impl.verdict(silent, row(impl, "other", *other)) == "no figure"
    assert impl.verdict(row(impl, "one", *one), silent) == "no figure"


def read(text):
    r"""A table's facts, its heads and its rows."""
    lines = [line.strip() for line in text.splitlines()]
    facts = dict(line[2:].split(": ", 1) for line in lines if line.startswith("- "))
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]
    assert {line[:1] for line in lines} == {"-", "", "|"}, "facts, an empty line, a table"
    assert set("".join(cells[1])) <= set("-:"), "Markdown has a line of dashes under the heads"
    assert {len(line) for line in cells} == {6}
    return facts, cells[0], {line[0]: line[1:] for line in cells[2:]}


def facts_of(impl):
    return {name: f"some {name}" for name in impl.FACTS}


@pytest.mark.task(6)
def test_a_stranger_finds_everything_in_the_table(impl):
    rows = [
        row(impl, "base", 4e-3, 1e-4, 0.25),
        row(impl, "quick", 1e-3, 1e-4, 0.999),
        row(impl, "alike", 4.1e-3, 2e-4),
        row(impl, "slow", 8e-3, 5e-4, 0.125),
        impl.Row("wrong", remark="off by 1"),
    ]
    facts, heads, told = read(impl.table(rows, "base", facts_of(impl)))
    assert facts == facts_of(impl)
    columns = ["backend", "median (ms)", "middle half (ms)", "share of floor", "against base"]
    assert heads == [*columns, "remark"]
    assert list(told) == ["base", "quick", "alike", "slow", "wrong"]
    assert told["base"] == ["4.000", "3.900 to 4.100", "25%", "-", "-"]
    assert told["quick"] == ["1.000", "0.900 to 1.100", "100%", "faster (4.00 x)", "-"]
    assert told["alike"][3:] == ["no difference shown (0.98 x)", "-"]
    assert told["slow"][3] == "slower (0.50 x)"
    assert told["wrong"] == ["-", "-", "-", "no figure", "off by 1"]


@pytest.mark.task(6)
def test_a_baseline_without_a_figure_compares_with_nobody(impl):
    rows = [impl.Row("base", remark="drifted"), row(impl, "quick", 1e-3)]
    _, _, told = read(impl.table(rows, "base", facts_of(impl)))
    assert told["base"] == ["-", "-", "-", "-", "drifted"]
    assert told["quick"][3] == "no figure"


@pytest.mark.task(6)
@pytest.mark.parametrize("missing", ["device", "commit", "rounds"])
def test_a_table_that_nobody_can_repeat_is_none(impl, missing):
    facts = facts_of(impl)
    for wanting in ({**facts, missing: ""}, {n: f for n, f in facts.items() if n != missing}):
        with pytest.raises(ValueError, match=missing):
            impl.table([row(impl, "base", 1.0)], "base", wanting)
    with pytest.raises(ValueError, match="nobody"):
        impl.table([row(impl, "base", 1.0)], "nobody", facts)


# ---------------------------------------------------------------- all together


@pytest.mark.task(1, 2, 3, 5, 6)
def test_a_whole_comparison(impl):
    told = [("base", RIGHT, 4.0), ("quick", RIGHT * (1 + 1e-6), 2.0), ("wrong", -RIGHT, 1.5)]
    told += [("restless", RIGHT, 3.0, 3.0, 6.0), ("absent", "no device")]
    rows, order, _ = compared(impl, *told, rounds=12, slower=1.0005)
    _, _, cells = read(impl.table(list(rows.values()), "base", facts_of(impl)))
    assert cells["quick"][3] == "faster (2.00 x)"
    assert cells["absent"][-1] == "no device"
    assert cells["restless"][0] == cells["wrong"][0] == "-"
    assert "scattered" in cells["restless"][-1]
    assert "wrong" not in order


def on_real_backends(impl, which):
    script = Path(__file__).with_name("on_real_backends.py")
    if missing := machine.missing(("torch", "numba", "mini_vllm")):
        pytest.skip(f"the engine's backends need {', '.join(missing)}: pip install -e '.[engine]'")
    words = [sys.executable, str(script), impl.__file__, which]
    run = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr[-2000:]
    tables = run.stdout.strip().split("\n\n- device")
    assert len(tables) == 2
    return [read(text if text[:1] == "-" else f"- device{text}")[2] for text in tables]


@pytest.mark.model
@pytest.mark.task(1, 2, 3, 4, 5, 6)
def test_the_engine_s_backends_agree_on_this_machine(impl):
    r"""Times are this machine's affair; that the results agree, and who is absent, is not."""
    for rows in on_real_backends(impl, "small"):
        for name in ("torch_reference", "cpu_numba"):
            refused = rows[name][-1].split(" ")[0]
            assert refused in ("-", "scattered:", "drifted:", "faster"), rows[name]
        assert "cuda" in rows["triton"][-1] or "not installed" in rows["triton"][-1]
        assert rows["flash_attention"][0] == "-"


@pytest.mark.gpu
@pytest.mark.task(1, 2, 3, 4, 5, 6)
def test_the_backends_of_a_gpu(impl):
    for rows in on_real_backends(impl, "cuda"):
        refused = rows["triton"][-1].split(" ")[0]
        assert refused in ("-", "scattered:", "drifted:"), rows["triton"]
