"""The benchmark measures what it says, and voids what does not agree; no assertion on time."""

from __future__ import annotations

import json

import pytest

from mini_vllm.bench import throughput
from mini_vllm.bench.__main__ import main
from mini_vllm.bench.child import ChildError, run_in_child
from mini_vllm.bench.engines import run
from mini_vllm.bench.environment import describe_environment
from mini_vllm.bench.measurement import Row, Run, RunSpec
from mini_vllm.bench.random_checkpoint import BOOK_SHAPE, write_random_checkpoint
from mini_vllm.bench.workload import Workload

SMALL = Workload(num_prompts=6, min_len=2, max_len=20, num_new_tokens=5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    shape = {**BOOK_SHAPE, "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96}
    return str(write_random_checkpoint(tmp_path_factory.mktemp("bench"), shape, spread=0.2))


def spec(engine="mini_vllm", model="none", dtype="float32", batch_size=4, workload=SMALL):
    return RunSpec(engine, str(model), dtype, batch_size, workload.as_dict())


def made(tokens, wall=2.0, cpu=1.0):
    return Run(wall, cpu, tokens)


class TestWorkload:
    def test_follows_from_its_numbers(self):
        workload = Workload(num_prompts=300, min_len=3, max_len=9, seed=5)
        prompts = workload.prompts(vocab_size=50)
        assert prompts == Workload(num_prompts=300, min_len=3, max_len=9, seed=5).prompts(50)
        assert prompts != Workload(num_prompts=300, min_len=3, max_len=9, seed=6).prompts(50)
        assert {len(p) for p in prompts} == set(range(3, 10))
        assert {t for p in prompts for t in p} == set(range(4, 50))

    def test_output_tokens(self):
        assert Workload().num_output_tokens == 64 * 128


class TestEngines:
    def test_both_make_the_same_tokens(self, checkpoint):
        ours = run(spec(model=checkpoint, batch_size=3))
        padded = run(spec("transformers", checkpoint, batch_size=4))
        one_by_one = run(spec("transformers", checkpoint, batch_size=1))
        assert ours.token_ids == padded.token_ids == one_by_one.token_ids
        assert ours.num_tokens == SMALL.num_output_tokens
        assert ours.detail["attention_backend"] == "cpu_numba"
        assert ours.wall_s > 0
        assert ours.cpu_s > 0

    def test_a_failing_child_says_why(self):
        with pytest.raises(ChildError, match=r"mini_vllm \(batch 4\) ended with status 1"):
            run_in_child(spec(model="/no/such/checkpoint"))


class TestComparison:
    def test_equal_tokens(self):
        row = Row(spec(), [made([[1, 2], [3]])])
        assert throughput.compare([[1, 2], [3]], row) == "2 of 2"

    def test_bfloat16_is_counted_not_judged(self):
        row = Row(spec(dtype="bfloat16"), [made([[1, 2], [3]])])
        assert throughput.compare([[1, 9], [3]], row) == "1 of 2"

    def test_a_difference_that_rounding_cannot_explain_is_void(self, checkpoint):
        workload = Workload(num_prompts=2, min_len=4, max_len=6, num_new_tokens=3)
        theirs = run(spec("transformers", checkpoint, workload=workload))
        row = Row(spec("transformers", checkpoint, workload=workload), [theirs])
        tokens = [list(t) for t in theirs.token_ids]
        assert throughput.compare(tokens, row) == "2 of 2"
        tokens[1][1] += 1
        assert throughput.compare(tokens, row).startswith("VOID: 1 of 2, gap")
        assert throughput.is_void([Row(spec(), [], "VOID: x")])

    def test_a_near_tie_is_counted(self, checkpoint, monkeypatch):
        monkeypatch.setattr(throughput, "EPSILON", float("inf"))
        row = Row(spec("transformers", checkpoint), [made([[1]] * 6)])
        verdict = throughput.compare([[1]] * 5 + [[2]], row)
        assert verdict == "5 of 6, the rest near-ties"

    def test_runs_that_differ_from_each_other_are_void(self):
        plan = throughput.Plan("m", transformers_batches=(), reps=2)
        runs = iter([made([[1]]), made([[2]])])
        (row,) = throughput.measure(plan, run=lambda spec: next(runs))
        assert row.agreement.startswith("VOID")


class TestTable:
    def rows(self):
        plan = throughput.Plan("m", transformers_batches=(1, 8), reps=3)
        walls = {"mini_vllm": [2.0, 1.0, 4.0], "transformers1": [8.0], "transformers8": [5.0]}
        tokens = [[7] * 10]

        def fake(spec):
            key = spec.engine + (str(spec.batch_size) if spec.engine == "transformers" else "")
            return Run(walls[key].pop(0), 1.0, tokens)

        return throughput.measure(plan, run=fake)

    def test_medians_and_ratios(self):
        text = throughput.table(self.rows())
        assert "| mini_vllm (batch 64) | 3 | 5 | 2 to 10 | 10 | all runs alike |  |" in text
        assert "| transformers (batch 1) | 1 | 1 | 1 to 1 | 10 | 1 of 1 | 4.00 x |" in text
        assert "1 of 1 | 2.50 x (its best) |" in text

    def test_noise_is_noticed(self):
        assert throughput.noisy([Row(spec(), [made([[1]], wall=2.0, cpu=1.0)])])
        assert not throughput.noisy([Row(spec(), [made([[1]], wall=1.0, cpu=1.0)])])

    def test_a_record_says_where(self):
        result = throughput.record(throughput.Plan("m"), self.rows())
        json.dumps(result)
        assert result["environment"]["packages"]["torch"]
        assert result["environment"]["processor"]
        assert "token_ids" not in json.dumps(result)
        assert describe_environment()["cores"] >= 1


def test_the_command(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(throughput.measure, "__defaults__", (run, lambda line: None))
    file = tmp_path / "record.json"
    arguments = ["throughput", checkpoint, "--num-prompts", "4", "--min-len", "2"]
    arguments += ["--max-len", "9", "--num-new-tokens", "3", "--batch-size", "4", "--reps", "2"]
    arguments += ["--transformers-batches", "1", "4", "--json", str(file)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| transformers (batch 4) | 1 |" in printed
    assert "4 of 4" in printed
    result = json.loads(file.read_text())
    assert len(result["rows"]) == 3
    assert [len(row["runs"]) for row in result["rows"]] == [2, 1, 1]
