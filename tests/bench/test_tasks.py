"""What a measured process does, on a tiny model; what a command makes of it. Nothing on time."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from mini_vllm.bench import engines, latency, tasks
from mini_vllm.bench.__main__ import COMMANDS, main
from mini_vllm.bench.bandwidth import bandwidth, products
from mini_vllm.bench.child import ChildError
from mini_vllm.bench.compare import read
from mini_vllm.bench.measurement import RunSpec
from mini_vllm.bench.random_checkpoint import BOOK_SHAPE, write_random_checkpoint
from mini_vllm.bench.workload import Workload

BOOK = Path(__file__).parents[2] / "book/model/checkpoint"
WORK = Workload(num_prompts=3, min_len=4, max_len=8, num_new_tokens=6)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    shape = {**BOOK_SHAPE, "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96}
    return str(write_random_checkpoint(tmp_path_factory.mktemp("tasks"), shape, spread=0.2))


def spec(checkpoint, engine="mini_vllm", batch_size=3):
    return RunSpec(engine, checkpoint, "float32", batch_size, WORK.as_dict()).as_dict()


class TestEngines:
    @pytest.mark.parametrize("engine", ["mini_vllm", "transformers"])
    def test_steps_are_counted_from_outside(self, checkpoint, engine):
        contestant = engines.build(RunSpec(**spec(checkpoint, engine)))
        prompts = WORK.prompts(contestant.vocab_size)
        made = contestant.generate(prompts, 6)
        assert [len(tokens) for tokens in made.token_ids] == [6] * 3
        # One step with the prompts, five that decode; an engine may take one more to tidy up.
        assert len(made.returned_at) in (6, 7)
        assert len(made.intervals()) == len(made.returned_at) - 2
        assert made.returned_at == sorted(made.returned_at)
        assert made.seconds_per_step()["mean_s"] > 0

    def test_text_is_made_where_the_spec_asks_for_it(self):
        book = {"model": str(BOOK), "text": True}
        contestant = engines.build(RunSpec(**{**spec("", batch_size=1), **book}))
        assert contestant.llm.generate("def ")[0].outputs[0].text
        silent = engines.build(RunSpec(**{**spec("", batch_size=1), **book, "text": False}))
        assert silent.llm.llm_engine.tokenizer is None

    def test_the_clock_is_gone_afterwards(self, checkpoint):
        contestant = engines.build(RunSpec(**spec(checkpoint)))
        contestant.generate([[5, 6]], 2)
        assert "step" not in vars(contestant.llm.llm_engine)

    def test_the_forward_pass_alone_is_of_the_same_model(self, checkpoint):
        contestant = engines.build(RunSpec(**spec(checkpoint)))
        model = contestant.runner.model
        assert contestant.bare_forward_s([[5, 6, 7]], 4, times=2) > 0
        assert contestant.runner.model is model

    def test_too_few_steps(self):
        with pytest.raises(ValueError, match="2 steps: too few"):
            engines.Generation([[1]], 1.0, 1.0, [0.0, 1.0]).seconds_per_step()


class TestTasks:
    def test_the_book_task(self, checkpoint):
        single = {"prompt_len": 4, "num_new_tokens": 6}
        ours = tasks.book(spec(checkpoint), single)
        theirs = tasks.book(spec(checkpoint, "transformers"), single)
        assert ours["token_ids"] == theirs["token_ids"]
        assert ours["bare_forward_s"] > 0
        assert "bare_forward_s" not in theirs
        json.dumps(ours)

    def test_decoding_at_each_batch(self, checkpoint):
        found = tasks.decode(spec(checkpoint), [1, 3], 4, 6)
        assert set(found["batches"]) == {"1", "3"}
        three = found["batches"]["3"]
        assert three["tokens_per_s"] == pytest.approx(3 / three["mean_s"])

    def test_the_gap_is_of_the_two_best(self, checkpoint):
        assert tasks.gap(spec(checkpoint), [5, 6, 7])["gap"] >= 0

    def test_the_machine(self):
        assert bandwidth(mebibytes=1, passes=2)["bytes_per_s"] > 0
        assert set(products(size=32, passes=2)) == {"float32", "bfloat16"}


class TestLatency:
    def run(self, tmp_path, call):
        parser = argparse.ArgumentParser()
        latency.add_arguments(parser)
        args = parser.parse_args(["m", "--repeats", "3", "--json", str(tmp_path / "l.json")])
        return latency.main(args, call)

    def test_percentiles_over_all_and_a_median_for_each_process(self, tmp_path, capsys):
        runs = iter([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0], [3.0, 4.0, 5.0]])

        def call(task, arguments, **options):
            assert (task, arguments["batch_size"], arguments["iters"]) == ("latency", 8, 5)
            return {"latencies_s": next(runs), "cpu_s": [1.0], "detail": {}}

        assert self.run(tmp_path, call) == 0
        out = capsys.readouterr().out
        assert "mean 3.0000 s over 9 batches" in out
        assert " p50 3.0000 s" in out
        metrics = read(tmp_path / "l.json")["metrics"]
        assert metrics["latency"] == {"unit": "s", "better": "lower", "runs": [2.0, 3.0, 4.0]}

    def test_two_checkouts_take_turns_and_get_a_record_each(self, tmp_path, capsys):
        other = tmp_path / "before"
        (other / "mini_vllm").mkdir(parents=True)
        asked = []

        def call(task, arguments, *, checkout=None, **options):
            asked.append("before" if checkout == other else checkout)
            second = 3.0 if checkout else 2.0
            return {"latencies_s": [second], "cpu_s": [1.0], "detail": {}}

        parser = argparse.ArgumentParser()
        latency.add_arguments(parser)
        files = tmp_path / "after.json", tmp_path / "before.json"
        words = ["m", "--repeats", "3", "--json", str(files[0]), "--beside", str(other)]
        args = parser.parse_args([*words, "--beside-json", str(files[1])])
        assert latency.main(args, call) == 0
        assert asked == ["before", None, None, "before", "before", None]
        after, before = (read(file) for file in files)
        assert before["metrics"]["latency"]["runs"] == [3.0] * 3
        assert after["metrics"]["latency"]["runs"] == [2.0] * 3
        assert before["settings"] == after["settings"]

    def test_a_folder_without_an_engine_is_no_checkout(self, tmp_path, capsys):
        parser = argparse.ArgumentParser()
        latency.add_arguments(parser)
        args = parser.parse_args(["m", "--beside", str(tmp_path)])
        assert latency.main(args, lambda *a, **k: pytest.fail("measured")) == 1
        assert f"{tmp_path} is no checkout" in capsys.readouterr().err

    def test_a_process_that_fails(self, tmp_path, capsys):
        def call(*arguments, **options):
            raise ChildError("it fell over")

        assert self.run(tmp_path, call) == 1
        assert "it fell over" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"bench {command}" in capsys.readouterr().out
