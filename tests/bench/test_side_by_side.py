"""The rows and their goals from made-up runs; the file that the book reads. Nothing on time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from book.measurements import Measurement
from mini_vllm.bench import rows, side_by_side
from mini_vllm.bench.__main__ import main
from mini_vllm.bench.agreement import agree
from mini_vllm.bench.child import ChildError, call_in_child
from mini_vllm.bench.contest import NO_VLLM, Setting, contest
from mini_vllm.bench.growth import STAGES, growth, watching
from mini_vllm.bench.random_checkpoint import BOOK_SHAPE, write_random_checkpoint
from mini_vllm.bench.rivals import VARIABLE, RivalError, find_vllm, vllm_variables
from mini_vllm.bench.step_rows import medians, steepest_rise

TOKENS = 64 * 128
WALL = {"mini_vllm": 2.0, "vllm": 4.0, "vllm-compiled": 3.2, "transformers": 12.0}
ALONE = {"mini_vllm": 0.001, "vllm": 0.003, "vllm-compiled": 0.0021, "transformers": 0.004}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    shape = {**BOOK_SHAPE, "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96}
    return str(write_random_checkpoint(tmp_path_factory.mktemp("side"), shape, spread=0.2))


class Calls:
    """Stands in for the child processes: made-up times, and what was asked."""

    def __init__(self, **changes):
        self.asked = []
        self.wall = {**WALL, **changes.pop("wall", {})}
        self.tokens = changes.pop("tokens", {})
        self.fails = changes.pop("fails", ())
        self.gap = changes.pop("gap", 1.0)

    def __call__(self, task, arguments, **options):
        engine = arguments.get("engine") or arguments.get("spec", {}).get("engine", "")
        self.asked.append((task, engine, options))
        if engine in self.fails:
            raise ChildError(f"{engine} is not well")
        tokens = self.tokens.get(engine, [[1] * 128] * 64)
        run = {"wall_s": self.wall.get(engine), "cpu_s": 1.0, "token_ids": tokens}
        return {
            "throughput": run,
            "book": {
                **run,
                "single": {"mean_s": ALONE.get(engine)},
                "bare_forward_s": 0.0009,
            },
            "gap": {"gap": self.gap},
            "first-token": {"spawned_s": self.wall.get(engine)},
            "device": {"cuda": None},
            "versions": {"vllm": "9.9"},
        }[task]


def setting(checkpoint, tmp_path, calls, **options):
    said = []
    made = Setting(checkpoint, tmp_path, vllm_python="python", tell=said.append, call=calls)
    return replace(made, **options), said


class TestContest:
    def test_rounds_are_interleaved(self, checkpoint, tmp_path):
        calls = Calls()
        there, _ = setting(checkpoint, tmp_path, calls, engines=("mini_vllm", "vllm"))
        contest(there, "x", "first-token", lambda e: {"engine": e}, lambda r: "")
        assert [e for _, e, _ in calls.asked] == ["mini_vllm", "vllm"] * 3

    def test_only_vllm_gets_its_interpreter_and_variables(self, checkpoint, tmp_path):
        calls = Calls()
        there, _ = setting(checkpoint, tmp_path, calls, repeats=1)
        contest(there, "x", "first-token", lambda e: {"engine": e}, lambda r: "")
        options = {engine: o for _, engine, o in calls.asked}
        assert "python" not in options["mini_vllm"]
        assert options["vllm"]["python"] == "python"
        assert options["vllm"]["variables"]["TORCH_COMPILE_DISABLE"] == "1"
        assert "TORCH_COMPILE_DISABLE" not in options["vllm-compiled"]["variables"]
        assert options["vllm"]["variables"]["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"

    def test_who_fails_is_out_and_it_is_said(self, checkpoint, tmp_path):
        calls = Calls(fails=("vllm",))
        there, said = setting(checkpoint, tmp_path, calls)
        standings = contest(there, "x", "first-token", lambda e: {"engine": e}, lambda r: "")
        assert standings["vllm"].status == "failed: vllm is not well"
        assert not standings["vllm"].ran
        assert len(standings["mini_vllm"].results) == 3
        assert [e for _, e, _ in calls.asked].count("vllm") == 1
        assert any("vllm is not well" in line for line in said)

    def test_without_vllm_its_rows_say_so(self, checkpoint, tmp_path):
        there, said = setting(checkpoint, tmp_path, Calls(), vllm_python=None, repeats=1)
        (row,) = rows.start(there)
        assert row["engines"]["vllm"] == {"status": NO_VLLM}
        assert "not run" in side_by_side.table([row])
        assert any("vllm not run" in line for line in said)


class TestBook:
    def test_figures_and_goals(self, checkpoint, tmp_path):
        there, _ = setting(checkpoint, tmp_path, Calls())
        batch, alone = rows.book(there, "float32")
        assert batch["engines"]["mini_vllm"]["median"] == TOKENS / 2
        assert batch["must"]["reached"] is True
        assert batch["aim"]["reached"] is False
        assert set(batch["agreement"].values()) == {"64 of 64", "all runs alike"}
        assert alone["engines"]["vllm"]["median"] == pytest.approx(3.0)
        assert alone["must"]["reached"] is True
        assert alone["aim"]["reached"] is True
        text = side_by_side.table([batch, alone])
        assert "1.60 x vLLM" in text
        assert "0.48 x vLLM" in text

    @pytest.mark.parametrize(
        ("wall", "reached"),
        [
            ({"mini_vllm": 3.3}, False),
            ({"transformers": 6.7}, False),
            ({"vllm-compiled": 1.9}, False),
        ],
    )
    def test_a_goal_that_is_missed(self, checkpoint, tmp_path, wall, reached):
        there, _ = setting(checkpoint, tmp_path, Calls(wall=wall))
        batch, _ = rows.book(there, "float32")
        assert batch["must"]["reached"] is reached

    def test_other_tokens_void_the_row(self, checkpoint, tmp_path):
        other = [[1] * 128] * 63 + [[1] * 5 + [2] * 123]
        there, _ = setting(checkpoint, tmp_path, Calls(tokens={"vllm": other}))
        batch, _ = rows.book(there, "float32")
        assert batch["agreement"]["vllm"].startswith("VOID: 63 of 64, gap")
        assert batch["must"]["reached"] is False
        assert "VOID" in side_by_side.table([batch])
        kept = []
        assert not side_by_side.measure(there, ["book-fp32"], kept.append)
        assert kept

    def test_a_near_tie_does_not(self, checkpoint, tmp_path):
        other = [[1] * 128] * 63 + [[1] * 5 + [2] * 123]
        there, _ = setting(checkpoint, tmp_path, Calls(tokens={"vllm": other}, gap=1e-6))
        batch, _ = rows.book(there, "float32")
        assert batch["agreement"]["vllm"] == "63 of 64, the rest near-ties"
        assert batch["must"]["reached"] is True

    def test_without_vllm_nothing_is_judged(self, checkpoint, tmp_path):
        there, _ = setting(checkpoint, tmp_path, Calls(), vllm_python=None)
        batch, alone = rows.book(there, "float32")
        assert batch["must"]["reached"] is None
        assert alone["must"]["reached"] is None


class TestAgreement:
    def test_lengths_and_counts(self):
        assert str(agree([[1]], [[1, 2]], [[1, 2]], None)) == "1 of 1"
        assert str(agree([[1]], [[1, 2]], [[1]], lambda t: 0.0)).startswith("VOID")
        assert str(agree([[1], [2]], [[1], [2]], [[1]], None)).startswith("VOID")

    def test_the_gap_is_asked_for_the_text_up_to_the_difference(self):
        asked = []
        agree([[7, 8]], [[1, 2, 3]], [[1, 5, 3]], lambda t: asked.append(t) or 0.0)
        assert asked == [[7, 8, 1]]


class TestRecord:
    def kept(self, checkpoint, tmp_path, **options):
        there, _ = setting(checkpoint, tmp_path, Calls(), **options)
        file = tmp_path / "side-by-side.json"
        record = side_by_side.Record(file, there, "command", "cpu")
        return there, record, file

    def test_the_book_can_read_it(self, checkpoint, tmp_path):
        there, record, file = self.kept(checkpoint, tmp_path)
        record.keep(rows.book(there, "float32"))
        made = Measurement(name="x", **json.loads(file.read_text()))
        assert made.runs == 3
        assert [row["id"] for row in made.values["rows"]] == [
            "throughput-float32",
            "single-float32",
        ]
        assert "token_ids" not in file.read_text()

    def test_rows_of_another_device_are_not_mixed_in(self, checkpoint, tmp_path):
        there, record, file = self.kept(checkpoint, tmp_path)
        record.keep(rows.start(there))
        assert json.loads(file.read_text())["versions"]["vllm"] == "9.9"
        with pytest.raises(side_by_side.RecordError, match="has rows of cpu, not a GPU"):
            side_by_side.Record(file, there, "command", "a GPU")

    def test_rows_of_an_earlier_run_stay(self, checkpoint, tmp_path):
        there, record, file = self.kept(checkpoint, tmp_path)
        record.keep(rows.book(there, "float32"))
        there, record, file = self.kept(checkpoint, tmp_path, repeats=5)
        record.keep(rows.start(there))
        document = json.loads(file.read_text())
        runs = {row["id"]: row["runs"] for row in document["values"]["rows"]}
        assert runs == {"throughput-float32": 3, "single-float32": 3, "start": 5}
        assert document["runs"] == 3


def test_growth_on_a_real_engine(checkpoint):
    found = growth(checkpoint, "float32", [1, 3], 20, [40], 2, steps=4)
    assert [(p["requests"], p["context"]) for p in found["running"]] == [(1, 20), (3, 20)]
    (point,) = found["context"]
    assert (point["requests"], point["context"], point["steps"]) == (2, 40, 4)
    assert point["step_s"] >= max(point[f"{stage}_s"] for stage in STAGES) > 0


def test_a_rise_is_a_power():
    series = [{"requests": n, "step_s": s} for n, s in ((1, 1.0), (2, 2.0), (4, 8.0))]
    assert steepest_rise(series, "requests") == pytest.approx(2)
    assert steepest_rise(series[:2], "requests") == pytest.approx(1)
    merged = medians([[{"requests": 4, "step_s": s}] for s in (3.0, 1.0, 2.0)])
    assert merged == [{"requests": 4, "step_s": 2.0}]


def test_watching_on_a_real_engine(checkpoint):
    found = watching(checkpoint, "float32", 2, 20, rounds=1)
    assert min(found.values()) > 0


def test_a_child_has_a_limit_and_says_what_went_wrong():
    with pytest.raises(ChildError, match=r"device took longer than 0 s"):
        call_in_child("device", {}, timeout_s=0.01)
    with pytest.raises(ChildError, match=r"(?s)x ended with status 1.*unexpected keyword"):
        call_in_child("device", {"nothing": 1}, label="x")


class TestRivals:
    def test_one_that_is_named_must_be_there(self, monkeypatch):
        with pytest.raises(RivalError, match="/no/python"):
            find_vllm("/no/python")
        monkeypatch.setenv(VARIABLE, "/not/here")
        with pytest.raises(RivalError, match="/not/here"):
            find_vllm()

    def test_a_named_one_is_taken(self, tmp_path):
        file = tmp_path / "python"
        file.touch()
        assert find_vllm(str(file)) == str(file)

    def test_a_gpu_gets_no_cpu_variables(self, tmp_path):
        assert "VLLM_CPU_KVCACHE_SPACE" not in vllm_variables(
            tmp_path, compiled=True, device="cuda"
        )


class TestCommand:
    def test_no_device_is_one_line(self, checkpoint, capsys, monkeypatch):
        monkeypatch.setattr(side_by_side, "probe_device", lambda setting: None)
        assert main(["side-by-side", checkpoint, "--rows", "start", "--device", "cuda"]) == 3
        out = capsys.readouterr().out
        assert out.strip() == "bench: no CUDA device on this machine; not run: start"

    def test_an_interpreter_that_is_not_there(self, checkpoint, capsys):
        assert main(["side-by-side", checkpoint, "--vllm-python", "/no/python"]) == 2
        assert "no interpreter '/no/python'" in capsys.readouterr().out

    def test_two_runs_are_no_measurement(self, checkpoint, capsys, tmp_path):
        words = ["side-by-side", checkpoint, "--repeats", "2", "--out", str(tmp_path / "x.json")]
        assert main(words) == 2
        assert "3 runs or more" in capsys.readouterr().out
