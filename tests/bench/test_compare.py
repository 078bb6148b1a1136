"""A verdict only outside the noise, and every difference that is not the one in question, said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mini_vllm.bench.__main__ import main
from mini_vllm.bench.compare import RecordError, by_chance, read, table, verdict


def record(runs=(1.0, 1.1, 0.9), *, better="lower", commit="a1", benchmark="latency", **settings):
    return {
        "benchmark": benchmark,
        "environment": {"commit": commit, "processor": "P", "python": "3.11"},
        "settings": settings,
        "metrics": {"latency": {"unit": "s", "better": better, "runs": list(runs)}},
    }


@pytest.mark.parametrize(
    ("better", "before", "after", "said"),
    [
        ("lower", [1.0, 1.1, 1.2], [0.7, 0.8, 0.9], "better"),
        ("lower", [1.0, 1.1, 1.2], [1.3, 1.4, 1.5], "worse"),
        ("higher", [1.0, 1.1, 1.2], [1.3, 1.4, 1.5], "better"),
        ("higher", [1.0, 1.1, 1.2], [0.7, 0.8, 0.9], "worse"),
        ("lower", [1.0, 1.1, 1.2], [0.7, 0.8, 1.0], "within noise"),
        ("lower", [1.0, 1.1, 1.2], [0.7, 0.8, 1.05], "within noise"),
        ("lower", [1.0, 1.1], [0.7, 0.8, 0.9], "not judged: 2 run(s)"),
    ],
)
def test_a_verdict_needs_spreads_that_do_not_touch(better, before, after, said) -> None:
    assert verdict(better, before, after) == said


def test_the_stated_error_is_the_true_one() -> None:
    rng = np.random.default_rng(0)
    runs = rng.exponential(size=(20_000, 7))
    apart = [verdict("lower", r[:3], r[3:]) != "within noise" for r in runs.tolist()]
    assert by_chance(3, 4) == pytest.approx(2 / 35)
    assert np.mean(apart) == pytest.approx(by_chance(3, 4), abs=0.006)


def test_the_table() -> None:
    text = table(record(commit="a1"), record([0.5, 0.4, 0.6], commit="b2"))
    assert "Before: `a1`. After: `b2`." in text
    assert "| latency, s | 1 (0.9 to 1.1) | 0.5 (0.4 to 0.6) | 0.500 x | better |" in text
    assert "in 10.0% of comparisons" in text
    assert "Not the same" not in text


def test_what_else_differs_is_said() -> None:
    other = record(threads=2)
    other["environment"]["processor"] = "Q"
    text = table(record(threads=1), other)
    assert "**Not the same processor**: P and Q." in text
    assert "**Not the same threads**: 1 and 2." in text


def test_a_figure_of_one_side_is_shown() -> None:
    other = record()
    other["metrics"]["CPU time"] = other["metrics"]["latency"]
    assert "| CPU time | | | only in one | |" in table(record(), other)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(RecordError, match="latency cannot be compared with serve"):
        table(record(), record(benchmark="serve"))
    with pytest.raises(RecordError, match="no figure in common"):
        table(record(), {**record(), "metrics": {}})


def test_a_measurement_of_the_book_is_a_record(tmp_path) -> None:
    row = {"id": "x", "work": "w", "unit": "tok/s", "better": "higher", "commit": "c"}
    ran = {"status": "ran", "median": 2.0, "runs": [1.0, 2.0, 3.0]}
    rows = [
        {**row, "engines": {"mini_vllm": ran}},
        {**row, "work": "v", "engines": {"mini_vllm": {"status": "failed: x"}}},
    ]
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"machine": "M", "values": {"rows": rows}}))
    assert read(file)["metrics"] == {
        "w": {"unit": "tok/s", "better": "higher", "runs": [1.0, 2.0, 3.0]}
    }


def test_the_command(tmp_path, capsys) -> None:
    one, two = tmp_path / "a.json", tmp_path / "b.json"
    one.write_text(json.dumps(record()))
    two.write_text(json.dumps(record([2.0, 2.1, 2.2])))
    assert main(["compare", str(one), str(two)]) == 0
    assert "| worse |" in capsys.readouterr().out
    for text in ("{", "[]", "{}"):
        two.write_text(text)
        assert main(["compare", str(one), str(two)]) == 2
        assert "b.json" in capsys.readouterr().out
