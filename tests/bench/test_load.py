"""The client against a server whose delays are known; the arrivals against their distributions."""

from __future__ import annotations

import asyncio
import json
import math

import numpy as np
import pytest

from mini_vllm.bench import serve
from mini_vllm.bench.__main__ import main
from mini_vllm.bench.arrivals import (
    Arrival,
    ArrivalError,
    arrival_times,
    random_arrivals,
    read_trace,
)
from mini_vllm.bench.load_client import Outcome, Server

# How much later than told a loaded machine may be; never earlier.
SLACK = 0.25


class TestArrivals:
    def rng(self):
        return np.random.default_rng(3)

    def test_all_at_once(self):
        assert arrival_times(4, math.inf, 1.0, self.rng()) == [0.0] * 4

    def test_on_the_beat(self):
        assert arrival_times(4, 2.0, math.inf, self.rng()) == pytest.approx([0.5, 1.0, 1.5, 2.0])

    @pytest.mark.parametrize("burstiness", [0.3, 1.0, 4.0])
    def test_the_gaps_are_gamma(self, burstiness):
        from scipy import stats

        gaps = np.diff(arrival_times(4000, 10.0, burstiness, self.rng()), prepend=0)
        assert gaps.sum() == pytest.approx(400)
        # Their mean over their deviation, squared, is the shape.
        assert (gaps.mean() / gaps.std()) ** 2 == pytest.approx(burstiness, rel=0.12)
        expected = stats.gamma(a=burstiness, scale=1 / (10 * burstiness))
        assert stats.kstest(gaps, expected.cdf).pvalue > 0.01

    def test_one_seed_one_load(self):
        assert random_arrivals(9, 2, 1, 8, 4, 0.5, 7) == random_arrivals(9, 2, 1, 8, 4, 0.5, 7)
        assert random_arrivals(9, 2, 1, 8, 4, 0.5, 7) != random_arrivals(9, 2, 1, 8, 4, 0.5, 8)

    def test_lengths_fill_their_range(self):
        found = random_arrivals(500, math.inf, 1, 10, 4, 0.5, 0)
        assert {a.input_len for a in found} == set(range(5, 16))
        assert {a.output_len for a in found} == set(range(2, 7))
        assert {a.input_len for a in random_arrivals(50, 1, 1, 10, 4, 0, 0)} == {10}

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"request_rate": 0.0}, "rate of 0.0"),
            ({"burstiness": -1.0}, "burstiness -1.0"),
            ({"count": 0}, "0 requests"),
            ({"range_ratio": 1.0}, "range ratio 1.0"),
            ({"input_len": 0}, "lengths 0 and"),
        ],
    )
    def test_a_load_that_cannot_be(self, changes, named):
        plan = {"count": 3, "request_rate": 1.0, "burstiness": 1.0, "input_len": 8}
        plan |= {"output_len": 4, "range_ratio": 0.0, "seed": 0}
        with pytest.raises(ArrivalError, match=named):
            random_arrivals(**(plan | changes))

    def test_a_trace_is_read_and_put_in_order(self, tmp_path):
        file = tmp_path / "t.jsonl"
        file.write_text(
            '{"at": 2, "input_len": 3, "output_len": 1}\n\n{"at":0.5,"input_len":9,"output_len":2}'
        )
        assert read_trace(file) == [Arrival(0.5, 9, 2), Arrival(2.0, 3, 1)]

    @pytest.mark.parametrize(
        "line", ["{", '{"at": 1}', '{"at": -1, "input_len": 1, "output_len": 1}', "[1]"]
    )
    def test_a_line_that_is_none_is_refused_by_its_number(self, tmp_path, line):
        file = tmp_path / "t.jsonl"
        file.write_text('{"at": 2, "input_len": 3, "output_len": 1}\n' + line)
        with pytest.raises(ArrivalError, match=r"t\.jsonl, line 2"):
            read_trace(file)


def offered(serving, script, arrivals, **options):
    """Run a load against a script; returns the outcomes and the server."""

    async def run():
        async with serving(script) as scripted:
            body = {"model": "m"}
            options.setdefault("vocab_size", 50)
            server = Server(scripted.url)
            return await serve.offer(server, arrivals, body, **options), scripted

    return asyncio.run(run())


class TestClock:
    def test_known_delays_are_measured(self, serving, wire):
        arrivals = [Arrival(0.0, 5, 4), Arrival(0.1, 5, 4)]
        outcomes, _ = offered(serving, lambda k, body: wire.stream(0.1, 0.05, 4), arrivals)
        for outcome in outcomes:
            assert outcome.ok
            assert 0.1 <= outcome.ttft < 0.1 + SLACK
            assert len(outcome.itls) == 3
            # A gap is shorter where its first token was read late; far from nothing all the same.
            assert all(0.02 <= gap < 0.05 + SLACK for gap in outcome.itls)
            assert outcome.latency == pytest.approx(outcome.ttft + sum(outcome.itls))
            assert outcome.tpot == pytest.approx(sum(outcome.itls) / 3)
            assert (outcome.output_tokens, outcome.prompt_tokens) == (4, 5)
        assert 0.05 <= outcomes[1].sent - outcomes[0].sent < 0.1 + SLACK

    def test_the_usage_counts_tokens_and_not_the_chunks(self, serving, wire):
        parts = [wire.HEAD, wire.token("ab"), 0.02, wire.token("cd"), wire.usage(5, 9), wire.END]
        (outcome,), _ = offered(serving, lambda k, body: parts, [Arrival(0.0, 5, 9)])
        assert outcome.output_tokens == 9
        assert outcome.tpot == pytest.approx(sum(outcome.itls) / 8)

    def test_without_usage_chunks_are_counted_and_it_is_said(self, serving, wire):
        parts = [wire.HEAD, wire.token(), wire.token(), wire.END]
        outcomes, _ = offered(serving, lambda k, body: parts, [Arrival(0.0, 5, 2)])
        assert outcomes[0].output_tokens == 2
        summary = serve.summarize(outcomes, {})
        assert summary["tokens_without_usage"] == 1
        assert "without usage" in serve.report([summary])

    def test_a_chunk_cut_anywhere_is_put_together(self, serving, wire):
        whole = b"".join([wire.token("é"), wire.token(), wire.usage(5, 2)])
        inside = [whole[i : i + 7] for i in range(0, len(whole), 7)]
        parts = [wire.HEAD, *[p for one in inside for p in (one, 0.001)], wire.END]
        (outcome,), _ = offered(serving, lambda k, body: parts, [Arrival(0.0, 5, 2)])
        assert (outcome.status, outcome.output_tokens) == ("ok", 2)

    def test_what_is_sent(self, serving, wire):
        arrivals = [Arrival(0.0, 7, 3), Arrival(0.0, 2, 6)]
        _, scripted = offered(serving, lambda k, body: wire.stream(0, 0, 3), arrivals, seed=1)
        by_length = {len(body["prompt"]): body for body in scripted.bodies}
        assert set(by_length) == {7, 2}
        assert by_length[7]["max_tokens"] == 3
        assert by_length[7]["stream_options"] == {"include_usage": True}
        assert all(4 <= t < 50 for t in by_length[7]["prompt"])

    def test_a_closed_loop_never_has_more_open(self, serving, wire):
        arrivals = [Arrival(0.0, 5, 2)] * 12
        outcomes, scripted = offered(
            serving, lambda k, body: wire.stream(0.02, 0.0, 2), arrivals, max_concurrency=3
        )
        assert scripted.most_open == 3
        assert all(o.ok for o in outcomes)
        assert serve.summarize(outcomes, {})["held_back_most_s"] > 0.05


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "said", "make"),
        [
            (
                "refused",
                "429: busy",
                lambda w: [b"HTTP/1.1 429 No\r\nContent-Length: 4\r\n\r\nbusy"],
            ),
            ("odd", "without a token", lambda w: [w.HEAD, w.usage(1, 1), w.END]),
            ("odd", "without [DONE]", lambda w: [w.HEAD, w.token(), b"0\r\n\r\n"]),
            ("odd", "no JSON", lambda w: [w.HEAD, w.piece(b"data: {\n\n"), w.END]),
            ("odd", "no data", lambda w: [w.HEAD, w.piece(b"hello\n\n"), w.END]),
            ("odd", "died", lambda w: [w.HEAD, w.token(), w.event(error={"message": "died"})]),
            ("odd", "no HTTP answer", lambda w: [b"SSH-2.0-nobody\r\n\r\n"]),
            ("odd", "completion_tokens", lambda w: [w.HEAD, w.event(usage={"x": 1}), w.END]),
            ("broken", "IncompleteRead", lambda w: [w.HEAD, w.token(), b"ff\r\ndata: {"]),
            ("broken", "EOFError", lambda w: []),
            ("timeout", "no end after 1 s", lambda w: [w.HEAD, w.token(), 5]),
        ],
    )
    def test_each_has_its_name_and_its_words(self, serving, wire, status, said, make):
        def script(k, body):
            return make(wire) if len(body["prompt"]) == 5 else wire.stream(0.0, 0.0, 2)

        arrivals = [Arrival(0.0, 5, 2), Arrival(0.0, 6, 2)]
        outcomes, _ = offered(serving, script, arrivals, timeout_s=1)
        assert (outcomes[0].status, outcomes[1].status) == (status, "ok")
        assert said in outcomes[0].error
        summary = serve.summarize(outcomes, {"ttft": 1e6})
        assert (summary["completed"], summary["failed"]) == (1, 1)
        assert summary["outcomes"] == {status: 1, "ok": 1}
        assert said in serve.report([summary])

    def test_nobody_there(self):
        async def run():
            return await serve.offer(
                Server("http://127.0.0.1:1"), [Arrival(0.0, 5, 2)], {}, vocab_size=9
            )

        (outcome,) = asyncio.run(run())
        assert outcome.status == "broken"
        assert "completed" in serve.report([serve.summarize([outcome], {})])

    def test_a_run_ends_when_its_time_is_over(self, serving, wire):
        arrivals = [Arrival(0.0, 5, 2), Arrival(0.0, 6, 2), Arrival(60.0, 7, 2)]

        def script(k, body):
            return wire.stream(0.0 if len(body["prompt"]) == 5 else 30.0, 0.0, 2)

        outcomes, _ = offered(serving, script, arrivals, duration_s=1.5)
        assert [o.status for o in outcomes] == ["ok", "cut", "cut"]
        assert outcomes[1].error.startswith("still open")
        assert outcomes[2].error.startswith("not sent")

    def test_a_url_that_is_none(self):
        with pytest.raises(ValueError, match="expected http://host:port"):
            Server("localhost:8000")


def outcome(ttft, gaps, *, output_tokens=None, prompt=10, sent=100.0):
    times = [sent + ttft]
    for gap in gaps:
        times.append(times[-1] + gap)
    count = len(times) if output_tokens is None else output_tokens
    return Outcome(sent, sent, "ok", "", times, prompt, count, count, True)


class TestSummary:
    def test_in_numbers(self):
        done = [outcome(0.1, [0.01, 0.03]), outcome(0.3, [0.02, 0.02], sent=100.5)]
        summary = serve.summarize(done, {"ttft": 200})
        assert summary["duration_s"] == pytest.approx(0.84)
        assert summary["output_throughput"] == pytest.approx(6 / 0.84)
        assert summary["total_token_throughput"] == pytest.approx(26 / 0.84)
        assert summary["request_goodput"] == pytest.approx(1 / 0.84)
        assert summary["ttft_ms"]["mean"] == pytest.approx(200)
        assert summary["tpot_ms"]["p50"] == pytest.approx(20)
        assert summary["itl_ms"]["p99"] == pytest.approx(np.percentile([10, 30, 20, 20], 99))
        assert summary["e2el_ms"]["p50"] == pytest.approx(240)

    @pytest.mark.parametrize(
        ("limits", "good"),
        [
            ({"ttft": 100.001}, 1),
            ({"ttft": 99.9}, 0),
            ({"tpot": 20.001}, 2),
            ({"tpot": 19.9}, 0),
            ({"e2el": 140.001}, 1),
            ({"ttft": 500, "tpot": 50, "e2el": 500}, 2),
            ({"ttft": 500, "tpot": 50, "e2el": 1}, 0),
        ],
    )
    def test_goodput_needs_every_limit(self, limits, good):
        done = [outcome(0.1, [0.01, 0.03]), outcome(0.3, [0.02, 0.02])]
        summary = serve.summarize(done, limits)
        assert summary["request_goodput"] * summary["duration_s"] == pytest.approx(good)

    def test_a_single_token_has_no_time_per_token_and_keeps_its_limit(self):
        summary = serve.summarize([outcome(0.1, [])], {"tpot": 0.001})
        assert summary["tpot_ms"] is None
        assert summary["request_goodput"] > 0

    def test_a_short_answer_is_said(self):
        short = outcome(0.1, [0.1])
        short.asked_tokens = 9
        assert "other than the tokens asked for" in serve.report([serve.summarize([short], {})])

    def test_limits_are_read(self):
        assert serve.parse_limits(["ttft:500", "tpot:50.5"]) == {"ttft": 500, "tpot": 50.5}
        for word in ("ttft", "ttft:x", "itl:5", "ttft:-1"):
            with pytest.raises(ArrivalError, match=f"--goodput {word}"):
                serve.parse_limits([word])


def test_the_command(serving, wire, tmp_path, capsys):
    """Whole, in a thread beside the server: rounds, record, plot, and what the server was asked."""
    file, plot = tmp_path / "r.json", tmp_path / "p.svg"

    async def run():
        async with serving(lambda k, body: wire.stream(0.01, 0.001, 3)) as scripted:
            words = ["serve", "--base-url", scripted.url, "--num-prompts", "5", "--input-len", "4"]
            words += ["--output-len", "3", "--request-rate", "100", "--repeats", "3"]
            words += ["--ignore-eos", "--goodput", "ttft:2000", "--json", str(file)]
            words += ["--plot", str(plot)]
            return await asyncio.to_thread(main, words), scripted

    status, scripted = asyncio.run(run())
    assert status == 0
    assert len(scripted.bodies) == 3 * (5 + 1)
    assert {body["model"] for body in scripted.bodies} == {"scripted"}
    assert all(body["ignore_eos"] for body in scripted.bodies)
    record = json.loads(file.read_text())
    assert [one["completed"] for one in record["rounds"]] == [5, 5, 5]
    assert len(record["metrics"]["TTFT p50"]["runs"]) == 3
    assert record["environment"]["commit"]
    assert "base_url" not in record["settings"]
    assert plot.read_text().lstrip().startswith("<?xml")
    assert "| TTFT, ms |" in capsys.readouterr().out


def test_the_command_says_what_it_cannot_do(capsys):
    assert main(["serve", "--request-rate", "-1"]) == 2
    assert "rate of -1.0" in capsys.readouterr().out
    assert main(["serve", "--base-url", "http://127.0.0.1:1", "--num-prompts", "1"]) == 2
    assert "Connect call failed ('127.0.0.1', 1)" in capsys.readouterr().out
