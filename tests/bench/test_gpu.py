"""The arithmetic of the GPU's figures, with clocks and devices that were made up for the test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mini_vllm.bench.__main__ import main
from mini_vllm.bench.gpu import engines, kernels, record, run
from mini_vllm.bench.gpu.limits import limits
from mini_vllm.bench.gpu.shares import (
    HeadShape,
    Measured,
    attention_work,
    product_work,
    times_as_fast,
)
from mini_vllm.bench.gpu.timer import middle, writes_ahead
from mini_vllm.bench.workload import Workload
from mini_vllm.kernels.cost import Device, KernelCost

DEVICE = Device("made up", bandwidth=1e12, rate=1e14, source="this test")


class FakeTimer:
    """Runs the work once, and says what it was told to say."""

    def __init__(self, **seconds: list[float]) -> None:
        self.seconds = seconds

    def __call__(self, work, repeats):
        return self.seconds[work()]


class TestWork:
    def test_decode_attention_by_hand(self) -> None:
        heads = HeadShape(num_heads=4, num_kv_heads=2, head_size=8)
        cost = attention_work([1, 1], [10, 6], heads, itemsize=2)
        # two queries of 4 heads, and 16 positions of 2 heads, keys and values
        assert cost.bytes_read == 2 * (2 * 4 * 8 + 2 * 16 * 2 * 8)
        assert cost.bytes_written == 2 * 2 * 4 * 8
        assert cost.operations == 4 * 16 * 4 * 8

    def test_a_causal_prompt_sees_half_of_the_square_and_the_diagonal(self) -> None:
        heads = HeadShape(1, 1, 1)
        assert attention_work([4], [4], heads).operations == 4 * (1 + 2 + 3 + 4)
        # a chunk of two after three: each sees those three, itself and who came before
        assert attention_work([2], [5], heads).operations == 4 * (4 + 5)

    def test_products_by_hand(self) -> None:
        assert product_work(2, 3, 5, itemsize=4) == KernelCost(4 * (10 + 15), 4 * 6, 60)


class TestShares:
    def test_a_share_is_the_floor_over_the_median(self) -> None:
        row = Measured(
            "x", "y", "z", KernelCost(9 * 10**11, 10**11, 5), [4.0, 2.0, 1.5, 9.0, 2.5]
        ).as_row(DEVICE)
        assert (row["floor_s"], row["median_s"], row["share"]) == (1.0, 2.5, 0.4)
        assert row["bound_by"] == "memory"

    def test_a_median_needs_turns_and_a_clock_that_runs(self) -> None:
        with pytest.raises(ValueError, match="2 turns"):
            middle([1.0, 1.0])
        with pytest.raises(ValueError, match="broken"):
            middle([1.0, 0.0, 1.0])

    def test_the_device_is_kept_busy_for_as_long_as_the_host_asks(self) -> None:
        assert writes_ahead(100e-6, 50e-6) == 4
        assert writes_ahead(1e-6, 50e-6) == 1
        with pytest.raises(ValueError, match="above 0"):
            writes_ahead(0.0, 1.0)

    def test_times(self) -> None:
        assert times_as_fast(6.0, 2.0) == 3.0
        with pytest.raises(ValueError, match="above 0"):
            times_as_fast(1.0, 0.0)

    def test_limits_are_the_best_turns(self) -> None:
        timer = FakeTimer(copy=[0.5, 0.25, 1.0], product=[2.0, 4.0, 3.0])
        device = limits("d", lambda: "copy", lambda: "product", timer, copied=100, side=10)
        assert (device.bandwidth, device.rate) == (800.0, 1000.0)
        assert "same run" in device.source


class TestEngines:
    def test_steps_take_turns_and_compare_medians(self) -> None:
        asked = []

        def call(task, arguments, label):
            asked.append((task, label))
            eager = arguments["spec"]["options"] == {"enforce_eager": True}
            turn = len(asked)
            one = (0.009 if eager else 0.003) + (1.0 if turn in (1, 2) else 0.0)
            return {"batches": {str(size): {"median_s": one} for size in engines.BATCHES}}

        rows = engines.steps("folder", "0.6B", call)
        assert [label for _, label in asked] == ["0.6B, eager steps", "0.6B, graph steps"] * 3
        assert [row["batch"] for row in rows] == list(engines.BATCHES)
        assert rows[0]["times"] == pytest.approx(3.0)

    def test_throughput_counts_tokens_and_compares_medians(self) -> None:
        workload = Workload(num_prompts=2, num_new_tokens=5)

        def call(task, arguments, label):
            ours = arguments["spec"]["engine"] == "mini_vllm"
            return {"token_ids": [[1] * 5] * 2, "wall_s": 1.0 if ours else 4.0}

        row = engines.throughput("folder", "8B", call, workload)
        assert row["tokens_per_s"] == {"mini_vllm": 10.0, "transformers": 2.5}
        assert row["times"] == 4.0
        assert len(row["runs"]["mini_vllm"]) == engines.RUNS

    def test_who_made_fewer_tokens_is_not_compared(self) -> None:
        with pytest.raises(ValueError, match="mini_vllm made 3 tokens of 10"):
            engines.throughput(
                "folder",
                "8B",
                lambda *a, **k: {"token_ids": [[1, 2, 3]], "wall_s": 1.0},
                Workload(num_prompts=2, num_new_tokens=5),
            )

    def test_the_other_engine_gives_its_answers_in_the_order_of_the_prompts(self) -> None:
        pytest.importorskip("transformers")
        from mini_vllm.bench.engines import TransformersContinuous

        made = {
            "b": SimpleNamespace(prompt_ids=[7, 8], generated_tokens=[9], error=None),
            "a": SimpleNamespace(prompt_ids=[5], generated_tokens=[6], error=None),
            "c": SimpleNamespace(prompt_ids=[5], generated_tokens=[6], error=None),
        }
        contestant = TransformersContinuous.__new__(TransformersContinuous)
        contestant.model = SimpleNamespace(generate_batch=lambda **settings: made)
        assert contestant.generate([[5], [7, 8], [5]], 1).token_ids == [[6], [9], [6]]
        made["a"].error = "out of blocks"
        with pytest.raises(RuntimeError, match="out of blocks"):
            contestant.generate([[5], [7, 8], [5]], 1)


def whole_record() -> dict:
    return {
        "device": {
            "name": "made up",
            "compute_capability": "9.0",
            "driver": "1.2",
            "cuda": "13.0",
            "memory_bytes": 1,
        },
        "command": "c",
        "commit": "d",
        "code_hash": "e",
        "taken": "2026-01-02",
        "versions": {"torch": "2.13"},
        "limits": {"bytes_per_s": 1.0},
        "kernels": [{"name": "decode-attention", "share": 0.85}],
        "steps": [{"shape": "0.6B", "times": 2.0}, {"shape": "0.6B", "times": 2.5}],
    }


class TestRecord:
    def test_it_is_written_whole_and_read_again_newest_first(self, tmp_path: Path) -> None:
        old, new = whole_record(), whole_record() | {"taken": "2026-03-04"}
        record.write(old, tmp_path / "gpu" / "a.json")
        record.write(new, tmp_path / "gpu" / "b.json")
        assert record.records(tmp_path / "gpu") == [new, old]
        assert record.records(tmp_path / "nothing") == []

    @pytest.mark.parametrize("name", sorted(record.NEEDED))
    def test_one_without_provenance_is_neither_written_nor_read(self, name, tmp_path) -> None:
        lacking = whole_record()
        del lacking[name]
        with pytest.raises(record.RecordError, match=name):
            record.write(lacking, tmp_path / "a.json")
        (tmp_path / "a.json").write_text(json.dumps(lacking))
        with pytest.raises(record.RecordError, match=name):
            record.records(tmp_path)

    def test_one_without_limits_or_figures_is_refused(self) -> None:
        for lacking in ({"limits": {}}, {"kernels": [], "steps": []}):
            with pytest.raises(record.RecordError, match=r"limits|no figure"):
                record.check(whole_record() | lacking)
        record.check_provenance(whole_record() | {"limits": {}, "kernels": [], "steps": []})

    @pytest.mark.parametrize("name", record.NEEDED_OF_A_DEVICE)
    def test_a_device_without_its_driver_and_the_rest_is_refused(self, name) -> None:
        lacking = whole_record()
        lacking["device"][name] = ""
        with pytest.raises(record.RecordError, match=f"device's {name}"):
            record.check(lacking)

    def test_one_without_a_figure_is_refused(self) -> None:
        with pytest.raises(record.RecordError, match="no figure"):
            record.check(whole_record() | {"kernels": [], "steps": []})

    def test_verdicts(self) -> None:
        told = record.verdicts(whole_record())
        assert [(one["found"], one["reached"]) for one in told] == [
            (0.85, True),
            (2.5, False),
            (None, None),
            (None, None),
        ]

    def test_the_hash_is_of_names_and_contents(self, tmp_path: Path) -> None:
        (tmp_path / "a.py").write_text("x = 1\n")
        one = record.code_hash(tmp_path)
        (tmp_path / "a.py").write_text("x = 2\n")
        two = record.code_hash(tmp_path)
        (tmp_path / "a.py").rename(tmp_path / "b.py")
        assert len({one, two, record.code_hash(tmp_path)}) == 3

    def test_committed_records_can_be_read(self) -> None:
        record.records()

    def test_tests_are_counted_from_their_report(self, tmp_path: Path) -> None:
        report = tmp_path / "tests.xml"
        report.write_text(
            '<testsuites><testsuite><testcase classname="m" name="a"/>'
            '<testcase classname="m" name="b"><skipped/></testcase>'
            '<testcase classname="m" name="c"><failure/></testcase></testsuite></testsuites>'
        )
        assert run.test_counts(report) == [
            {
                "name": "GPU tests",
                "passed": 1,
                "failed": 1,
                "skipped": 1,
                "not_passed": ["skipped: m::b", "failed: m::c"],
            }
        ]


def test_attention_is_called_as_the_engine_calls_it() -> None:
    """On the CPU, by the reference, against attention over the same cache without pages."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    heads = HeadShape(4, 2, 16)
    call = kernels.attention_call(
        [1, 3], [20, 35], heads, "torch_reference", torch.device("cpu"), "float32"
    )
    out = call()
    assert out.shape == (4, 4, 16)
    assert torch.isfinite(out).all()
    assert torch.equal(out, call()), "each turn does the same work"


def test_a_product_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(kernels, "HIDDEN", 16)
    monkeypatch.setattr(kernels, "INTERMEDIATE", 48)
    seen = []

    def timer(work, repeats):
        seen.append(work().shape)
        return [1.0] * repeats

    row = kernels.measure_product(2, "vendor", timer, torch.device("cpu"), repeats=3)
    assert seen == [(2, 48)]
    assert row.cost == product_work(2, 48, 16)


def test_without_a_device_nothing_is_measured_and_it_fails(capsys, tmp_path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("is about a machine without CUDA")
    assert main(["gpu", "--out", str(tmp_path / "record.json")]) == 2
    assert "NOTHING was measured" in capsys.readouterr().err
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize("named", [False, True])
def test_a_commit_that_nobody_can_tell_is_missed_before_anything_is_measured(
    named, monkeypatch, tmp_path, capsys
) -> None:
    """A machine may have the tree and no git: then `--commit` says what was measured."""
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(record, "describe_device", lambda: whole_record()["device"])
    monkeypatch.setattr(
        record, "describe_environment", lambda: {"commit": None, "python": "3", "packages": {}}
    )

    class Measured(Exception):
        pass

    def timer():
        raise Measured

    monkeypatch.setattr(run, "CudaTimer", timer)
    asked = ["gpu", "--out", str(tmp_path / "r.json"), "--parts", "kernels"]
    if named:
        with pytest.raises(Measured):
            main([*asked, "--commit", "0123abc"])
    else:
        assert main(asked) == 2
        assert "its commit; --commit says it" in capsys.readouterr().err


def test_importing_it_loads_no_torch() -> None:
    program = (
        "import sys, mini_vllm.bench.gpu.run; sys.exit(len({'torch', 'triton'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
