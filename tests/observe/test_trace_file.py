"""What was written can be read; what was seen can be drawn; nothing was changed by it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest

from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.observe.__main__ import main
from mini_vllm.observe.perfetto import ENGINE, REQUESTS, STAGES, state, trace_events, tracing
from mini_vllm.observe.probe import Probe, RequestRecord
from mini_vllm.observe.trace_file import (
    TraceFileError,
    from_document,
    read_trace,
    to_document,
    write_trace,
)
from mini_vllm.sampling_params import SamplingParams


def scarce() -> LLMEngine:
    """Four requests: too little memory for all, a budget that passes some over."""
    engine = LLMEngine.from_scripted(
        default=lambda place: 100 + place,
        block_size=2,
        num_gpu_blocks=14,
        max_num_batched_tokens=4,
        max_num_seqs=3,
        enable_prefix_caching=False,
        scheduler_reserve_full_isl=False,
    )
    for name, count in (("a", 3), ("b", 6), ("c", 5), ("d", 2)):
        prompt = {"prompt_token_ids": [ord(name) * 10 + i for i in range(count)]}
        engine.add_request(name, prompt, SamplingParams(max_tokens=8))
    return engine


def drain(engine: LLMEngine) -> list:
    seen = []
    while engine.has_unfinished_requests():
        seen += [(o.request_id, list(o.outputs[0].token_ids)) for o in engine.step()]
    return seen


@pytest.fixture(scope="module")
def records():
    engine = scarce()
    with Probe(engine) as probe:
        drain(engine)
    return probe.records


@pytest.fixture(scope="module")
def events(records):
    return trace_events(records)


class TestTimes:
    def test_the_stages_follow_each_other(self, records):
        before = 0
        for record in records:
            assert list(record.spans) == list(STAGES)
            for began, ended in record.spans.values():
                assert before <= began <= ended
                before = ended
            assert record.seconds["execute"] == pytest.approx(
                (record.spans["execute"][1] - record.spans["execute"][0]) / 1e9
            )

    def test_all_blocks_are_accounted_for(self, records):
        for record in records:
            held = {b for row in record.requests.values() for b in row.block_ids}
            assert record.num_blocks == 13
            assert record.num_free_blocks == 13 - len(held)


class TestFile:
    def test_what_is_written_is_read(self, records, tmp_path):
        write_trace(records, tmp_path / "t.json")
        assert read_trace(tmp_path / "t.json").records == records

    @pytest.mark.parametrize(
        ("damage", "named"),
        [
            (lambda d: d.update(format="x"), "no trace of mini_vllm"),
            (lambda d: d.update(version=2), "trace version 2; this reader knows 1"),
            (lambda d: d["steps"][3].pop("index"), "step 3: index missing"),
            (lambda d: d["steps"][1].update(colour=1), "step 1: colour missing or unknown"),
            (lambda d: d["steps"][0]["requests"]["a"].pop("status"), "request 'a': status"),
        ],
    )
    def test_what_is_none_is_refused(self, records, damage, named):
        document = json.loads(json.dumps(to_document(records)))
        damage(document)
        with pytest.raises(TraceFileError, match=named):
            from_document(document)

    def test_no_json(self, tmp_path):
        (tmp_path / "t.json").write_text("{")
        with pytest.raises(TraceFileError, match=r"t\.json is no JSON"):
            read_trace(tmp_path / "t.json")


class TestPerfetto:
    def slices(self, events, group, track=None):
        return [
            e for e in events if e["ph"] == "X" and e["pid"] == group and track in (None, e["tid"])
        ]

    def test_every_event_is_of_the_format(self, events):
        assert json.loads(json.dumps(events)) == events
        needed = {"X": {"dur", "args"}, "C": {"args"}, "s": {"id", "cat"}, "M": {"args"}}
        needed["f"] = {"id", "cat", "bp"}
        for event in events:
            assert {"name", "ph", "ts", "pid", "tid"} <= set(event)
            assert needed[event["ph"]] <= set(event)
            assert event["ts"] >= 0
            assert event.get("dur", 0) >= 0
            if event["ph"] == "C":
                assert all(value >= 0 for value in event["args"].values())

    def test_slices_of_a_track_nest(self, events):
        tracks = defaultdict(list)
        for event in events:
            if event["ph"] == "X":
                tracks[event["pid"], event["tid"]].append(event)
        for found in tracks.values():
            around: list[float] = []
            for event in found:  # in the order of the file, as a viewer reads them
                while around and around[-1] <= event["ts"] + 1e-6:
                    around.pop()
                end = event["ts"] + event["dur"]
                assert not around or end <= around[-1] + 1e-6
                around.append(end)

    def test_every_step_is_there_with_its_stages(self, events, records):
        found = self.slices(events, ENGINE)
        steps = [e["args"]["step"] for e in found if e["name"].startswith("step ")]
        assert steps == [record.index for record in records]
        for stage in STAGES:
            assert [e["args"]["step"] for e in found if e["name"] == stage] == steps

    def test_every_token_of_every_request_is_there(self, events, records):
        for track, req_id in enumerate("abcd", 1):
            per_step = [
                (e["args"]["step"], int(e["name"].split()[0]))
                for e in self.slices(events, REQUESTS, track)
                if "step" in e["args"]
            ]
            assert per_step == [
                (record.index, record.requests[req_id].num_scheduled_tokens)
                for record in records
                if req_id in record.requests and record.requests[req_id].num_scheduled_tokens
            ]

    def test_the_stretches_are_the_life_of_a_request_without_a_gap(self, events, records):
        assert {state(row) for record in records for row in record.requests.values()} == {
            "waiting",
            "prefill",
            "decode",
            "preempted",
        }
        for track, req_id in enumerate("abcd", 1):
            stretches = [e for e in self.slices(events, REQUESTS, track) if "step" not in e["args"]]
            lived = [r.requests[req_id] for r in records if req_id in r.requests]
            states = [state(row) for row in lived]
            changes = [s for i, s in enumerate(states) if i == 0 or states[i - 1] != s]
            assert [e["name"] for e in stretches] == changes
            for one, other in pairwise(stretches):
                assert one["ts"] + one["dur"] == pytest.approx(other["ts"])
            assert stretches[-1]["args"]["finish_reason"] == "length"

    def test_a_request_that_holds_a_seat_and_got_nothing(self):
        row = RequestRecord("a", "RUNNING", 9, 8, [1], 4)
        assert state(row) == "passed over"
        assert state(replace(row, preempted=True)) == "preempted"
        assert state(replace(row, num_scheduled_tokens=1)) == "decode"
        assert state(replace(row, num_scheduled_tokens=1, admitted=True)) == "prefill"

    def test_arrows_begin_and_end(self, events, records):
        began = {e["id"]: e for e in events if e["ph"] == "s"}
        ended = {e["id"]: e for e in events if e["ph"] == "f"}
        assert set(began) == set(ended)
        decided = sum(row.admitted or row.preempted for r in records for row in r.requests.values())
        assert len(began) == decided > 4
        assert {e["name"] for e in began.values()} == {"admitted", "preempted"}
        assert all(began[i]["ts"] <= ended[i]["ts"] for i in began)

    def test_counters_are_the_records(self, events, records):
        for name, value in (
            ("requests", lambda r: {"running": r.num_running, "waiting": r.num_waiting}),
            ("KV blocks", lambda r: {"used": r.num_blocks - r.num_free_blocks}),
        ):
            found = [e["args"] for e in events if e["ph"] == "C" and e["name"] == name]
            assert found == [value(record) for record in records]
        budget = [e["args"] for e in events if e["ph"] == "C" and e["name"] == "token budget"]
        assert all(b["used"] + b["left"] == 4 for b in budget)

    def test_tracks_have_names(self, events):
        named = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
        assert named == {"steps", *(f"request {name}" for name in "abcd")}

    def test_nothing_seen(self):
        assert {event["ph"] for event in trace_events([])} == {"M"}


class TestTracing:
    def test_outputs_are_those_of_an_unwatched_engine(self, tmp_path):
        watched = scarce()
        with tracing(watched, tmp_path / "run.json"):
            answers = drain(watched)
        assert answers == drain(scarce())
        assert "schedule" not in vars(watched.engine_core.scheduler)
        assert json.loads((tmp_path / "run.json").read_text())["traceEvents"]

    def test_a_run_that_fails_is_written_as_far_as_it_came(self, tmp_path):
        engine = scarce()

        def dies(*arguments):
            raise ZeroDivisionError

        def run():
            with tracing(engine, tmp_path / "run.json"):
                engine.step()
                engine.engine_core.executor.model_runner.sample_tokens = dies
                engine.step()

        with pytest.raises(ZeroDivisionError):
            run()
        events = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
        names = [e["name"] for e in events if e["ph"] == "X" and e["pid"] == ENGINE]
        assert names.count("execute") == 2
        assert names.count("update") == 1

    def test_a_directory_that_is_not_there(self, tmp_path):
        with (
            pytest.raises(FileNotFoundError, match="no directory"),
            tracing(scarce(), tmp_path / "no" / "run.json"),
        ):
            pass


class TestCommand:
    def test_without_torch(self, tmp_path, capsys):
        words = ["scripted", "--prompt", "30", "--prompt", "5", "--max-tokens", "3"]
        words += ["--max-num-batched-tokens", "16", "--max-num-seqs", "4"]
        words += ["--trace", str(tmp_path / "p.json")]
        assert main([*words, "--json", str(tmp_path / "t.json")]) == 0
        assert "chunk" in capsys.readouterr().out
        assert len(read_trace(tmp_path / "t.json")) == 5
        assert json.loads((tmp_path / "p.json").read_text())["displayTimeUnit"] == "ms"

    def test_what_is_refused_is_said(self, capsys):
        assert main(["scripted", "--prompt", "5000"]) == 1
        assert "5000 tokens" in capsys.readouterr().err
        assert main(["scripted", "--prompt", "five"]) == 1
