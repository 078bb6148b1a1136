r"""What does a user of the server see, at this load?

```console
$ python -m mini_vllm.bench serve --base-url http://127.0.0.1:8000 --request-rate 4 \
      --num-prompts 64 --input-len 128 --output-len 64 --goodput ttft:500 tpot:50
```

asks any OpenAI-compatible server, this one or another, and says how long it took, as the client
saw it. {py:mod}`~mini_vllm.bench.arrivals` says when the requests come, and
{py:mod}`~mini_vllm.bench.load_client` how each is timed. Prompts are random token ids below
`--vocab-size`, so no tokenizer is needed and no prefix is shared.

| figure | is |
|---|---|
| TTFT | from sending a request to its first chunk |
| TPOT | from the first chunk to the last, divided by the tokens after the first |
| ITL | between two chunks of a request; all gaps of all requests together |
| E2EL | from sending to the last chunk |
| throughput | what was completed, divided by the time from the first sending to the last chunk |
| goodput | requests a second that were completed *and* kept every limit of `--goodput` |

Goodput is the figure to promise by. Throughput can be raised by making everybody wait; goodput
cannot.

Names and definitions are upstream's ({up}`vllm/benchmarks/serve.py#calculate_metrics`), so that the
two clients may be compared on one server. What differs: a request that fails is a row of the
report, with the server's words, and counts against goodput by its absence; requests that the
client held back are counted; and a run is bounded in count and in time, whatever the server does.
`--repeats` gives further rounds, each with a seed of its own, and the medians over them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mini_vllm.bench.arrivals import Arrival, ArrivalError, random_arrivals, read_trace
from mini_vllm.bench.environment import describe_environment, headline
from mini_vllm.bench.load_client import OddAnswer, Outcome, Refused, Server

PERCENTILES = (50, 90, 95, 99)
#: The limits that `--goodput` knows, each with how to read it from an outcome, in seconds.
LIMITS = ("ttft", "tpot", "e2el")


async def offer(
    server: Server,
    arrivals: Sequence[Arrival],
    body: Mapping[str, Any],
    *,
    vocab_size: int,
    seed: int = 0,
    max_concurrency: int | None = None,
    timeout_s: float = 600,
    duration_s: float = math.inf,
) -> list[Outcome]:
    r"""Send every arrival when it is due, and return what became of each, in their order.

    `body` is what all requests have in common. At most `max_concurrency` are open at once; the
    others are held back. After `duration_s` nothing more is sent and what is open is cut off.
    """
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(4, vocab_size, size=a.input_len).tolist() for a in arrivals]
    seats = asyncio.Semaphore(max_concurrency or len(arrivals))
    begun = time.perf_counter()
    outcomes = [
        Outcome(due=begun + a.at, asked_tokens=a.output_len, prompt_tokens=a.input_len)
        for a in arrivals
    ]

    async def one(arrival: Arrival, prompt: list[int], outcome: Outcome) -> None:
        await asyncio.sleep(max(0.0, outcome.due - time.perf_counter()))
        async with seats:
            asked = {"prompt": prompt, "max_tokens": arrival.output_len, "stream": True}
            stream_options = {"include_usage": True}
            request = {**body, **asked, "stream_options": stream_options}
            await server.complete(request, outcome, timeout_s)

    tasks = [
        asyncio.create_task(one(*parts)) for parts in zip(arrivals, prompts, outcomes, strict=True)
    ]
    limit = None if math.isinf(duration_s) else duration_s
    _, open_still = await asyncio.wait(tasks, timeout=limit)
    for task in open_still:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if outcome.status == "cut":
            outcome.error = "still open" if outcome.sent else "not sent"
            outcome.error += f" when the {duration_s:g} s of the run were over"
    return outcomes


def summarize(outcomes: Sequence[Outcome], limits: Mapping[str, float]) -> dict[str, Any]:
    r"""The figures of one round. `limits` are milliseconds by name, of {py:data}`LIMITS`.

    Latencies are over the completed requests only; how many were not is `failed`, by kind.
    """
    done = [outcome for outcome in outcomes if outcome.ok]
    sent = [outcome for outcome in outcomes if outcome.sent]
    figures: dict[str, Any] = {
        "completed": len(done),
        "failed": len(outcomes) - len(done),
        "outcomes": dict(Counter(outcome.status for outcome in outcomes)),
        "errors": _errors(outcomes),
        "short_answers": sum(o.output_tokens != o.asked_tokens for o in done),
        "tokens_without_usage": sum(not o.usage_reported for o in done),
        "held_back": sum(o.sent - o.due > 0.05 for o in sent),
        "held_back_most_s": max((o.sent - o.due for o in sent), default=0.0),
    }
    if not done:
        return figures
    seconds = max(o.chunk_times[-1] for o in done) - min(o.sent for o in sent)
    good = [o for o in done if _keeps(o, limits)]
    figures |= {
        "duration_s": seconds,
        "request_throughput": len(done) / seconds,
        "output_throughput": sum(o.output_tokens for o in done) / seconds,
        "total_token_throughput": sum(o.output_tokens + o.prompt_tokens for o in done) / seconds,
        "request_goodput": len(good) / seconds if limits else None,
        "ttft_ms": _spread([o.ttft for o in done]),
        "tpot_ms": _spread([o.tpot for o in done if o.tpot is not None]),
        "itl_ms": _spread([gap for o in done for gap in o.itls]),
        "e2el_ms": _spread([o.latency for o in done]),
    }
    return figures


def parse_limits(words: Sequence[str]) -> dict[str, float]:
    """`["ttft:500", "tpot:50"]` to milliseconds by name; refuses what is neither."""
    limits = {}
    for word in words:
        name, _, value = word.partition(":")
        try:
            limits[name] = float(value)
        except ValueError:
            raise ArrivalError(f"--goodput {word}: expected NAME:MILLISECONDS") from None
        if name not in LIMITS or not limits[name] > 0:
            raise ArrivalError(f"--goodput {word}: a name of {', '.join(LIMITS)}, and above 0 ms")
    return limits


def report(rounds: Sequence[Mapping[str, Any]]) -> str:
    """The rounds as Markdown: medians over them, and everything that went wrong."""
    lines = ["| figure | mean | p50 | p90 | p95 | p99 |", "|---|---|---|---|---|---|"]
    for name, label in (("ttft", "TTFT"), ("tpot", "TPOT"), ("itl", "ITL"), ("e2el", "E2EL")):
        spreads = [r[f"{name}_ms"] for r in rounds if r.get(f"{name}_ms")]
        if spreads:
            keys = ("mean", *(f"p{p}" for p in PERCENTILES))
            cells = [f"{median(s[key] for s in spreads):,.2f}" for key in keys]
            lines.append(f"| {label}, ms | {' | '.join(cells)} |")
    lines.append("")
    for key, text in (
        ("request_throughput", "requests a second"),
        ("output_throughput", "output tokens a second"),
        ("total_token_throughput", "tokens a second, prompts included"),
        ("request_goodput", "requests a second that kept every limit"),
    ):
        values = [r[key] for r in rounds if r.get(key) is not None]
        if values:
            lines.append(f"- {text}: {median(values):,.2f}")
    for number, one in enumerate(rounds, 1):
        where = f"round {number}: " if len(rounds) > 1 else ""
        lines.append(f"- {where}{one['completed']} completed, {one['failed']} failed")
        lines += [f"  - {count} x {error}" for error, count in one["errors"].items()]
        if one["short_answers"]:
            lines.append(f"  - {one['short_answers']} answers had other than the tokens asked for")
        if one["tokens_without_usage"]:
            lines.append(f"  - {one['tokens_without_usage']} without usage: chunks were counted")
        if one["held_back"]:
            most = one["held_back_most_s"]
            lines.append(f"  - {one['held_back']} were held back in the client, {most:.2f} s most")
    return "\n".join(lines)


def metrics(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures by name, each with its rounds, for {py:mod}`mini_vllm.bench.compare`."""
    found: dict[str, Any] = {}

    def put(name: str, unit: str, better: str, values: list[Any]) -> None:
        if values and all(value is not None for value in values):
            found[name] = {"unit": unit, "better": better, "runs": values}

    put("output throughput", "tok/s", "higher", [r.get("output_throughput") for r in rounds])
    put("goodput", "req/s", "higher", [r.get("request_goodput") for r in rounds])
    for name in ("ttft", "tpot", "itl", "e2el"):
        for key in ("mean", "p50", "p99"):
            values = [(r.get(f"{name}_ms") or {}).get(key) for r in rounds]
            put(f"{name.upper()} {key}", "ms", "lower", values)
    put("failed requests", "", "lower", [r["failed"] for r in rounds])
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--base-url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", help="the name that the server knows; default: it is asked")
    parser.add_argument("--num-prompts", type=int, default=64)
    parser.add_argument("--input-len", type=int, default=128)
    parser.add_argument("--output-len", type=int, default=64)
    parser.add_argument(
        "--range-ratio", type=float, default=0.0, help="0.5: half to one and a half"
    )
    parser.add_argument("--vocab-size", type=int, default=1000, help="random ids are below it")
    parser.add_argument("--request-rate", type=float, default=math.inf, help="requests a second")
    parser.add_argument("--burstiness", type=float, default=1.0, help="1: Poisson; inf: even")
    parser.add_argument("--max-concurrency", type=int, help="most open requests: a closed loop")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="arrivals, one JSON a line")
    parser.add_argument("--goodput", nargs="+", default=[], metavar="NAME:MS")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--ignore-eos", action="store_true", help="all of --output-len, always")
    parser.add_argument("--num-warmups", type=int, default=1, help="requests before the clock")
    parser.add_argument("--timeout", type=float, default=120, help="seconds a request may take")
    parser.add_argument("--duration", type=float, default=600, help="seconds a round may take")
    parser.add_argument("--repeats", type=int, default=1, help="rounds, each with its own seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw latencies as SVG")


def main(args: argparse.Namespace) -> int:
    """Offer the load and report; 1 when a request failed, 2 when the load cannot be made."""
    try:
        limits = parse_limits(args.goodput)
        plans = [_plan(args, args.seed + number) for number in range(args.repeats)]
        server = Server(args.base_url)
        rounds, outcomes = asyncio.run(_rounds(args, server, plans, limits))
    except (ValueError, OSError, OddAnswer, Refused) as error:
        print(f"bench serve: {error}")
        return 2
    environment = describe_environment()
    print(f"{headline(environment)} (of the client)\n")
    print(report(rounds))
    if args.json:
        settings = {key: _plain(value) for key, value in vars(args).items() if key not in _PATHS}
        record = {
            "benchmark": "serve",
            "command": "python -m mini_vllm.bench serve",
            "environment": environment,
            "settings": settings,
            "metrics": metrics(rounds),
            "rounds": rounds,
        }
        args.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if args.plot:
        from mini_vllm.bench.plots import draw_load

        print(draw_load(outcomes, args.plot))
    return 1 if any(one["failed"] for one in rounds) else 0


_PATHS = {"json", "plot", "trace", "base_url", "command"}


async def _rounds(
    args: argparse.Namespace,
    server: Server,
    plans: Sequence[Sequence[Arrival]],
    limits: Mapping[str, float],
) -> tuple[list[dict[str, Any]], list[Outcome]]:
    body: dict[str, Any] = {"temperature": args.temperature}
    if args.model:
        body["model"] = args.model
    else:
        body["model"] = await server.first_model()
    if args.ignore_eos:
        body["ignore_eos"] = True
    rounds, outcomes = [], []
    for number, arrivals in enumerate(plans):
        options = {"vocab_size": args.vocab_size, "timeout_s": args.timeout}
        if args.num_warmups:
            warm = [Arrival(0.0, a.input_len, a.output_len) for a in arrivals[: args.num_warmups]]
            await offer(server, warm, body, seed=args.seed + len(plans), **options)
        outcomes = await offer(
            server,
            arrivals,
            body,
            seed=args.seed + number,
            max_concurrency=args.max_concurrency,
            duration_s=args.duration,
            **options,
        )
        rounds.append(summarize(outcomes, limits))
    return rounds, outcomes


def _plan(args: argparse.Namespace, seed: int) -> list[Arrival]:
    if args.trace:
        return read_trace(args.trace)
    return random_arrivals(
        args.num_prompts,
        args.request_rate,
        args.burstiness,
        args.input_len,
        args.output_len,
        args.range_ratio,
        seed,
    )


def _keeps(outcome: Outcome, limits: Mapping[str, float]) -> bool:
    # As upstream: a single token has no time per token, and so keeps any limit on it.
    taken = {"ttft": outcome.ttft, "tpot": outcome.tpot or 0.0, "e2el": outcome.latency}
    return all(taken[name] * 1e3 <= limit for name, limit in limits.items())


def _spread(seconds: Sequence[float]) -> dict[str, float] | None:
    if not seconds:
        return None
    values = np.asarray(seconds) * 1e3
    percentiles = {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
    return {"mean": float(values.mean()), "std": float(values.std()), **percentiles}


def _errors(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """What went wrong, in the server's words, with how often; most frequent first."""
    counted = Counter(f"{o.status}: {o.error}" for o in outcomes if not o.ok)
    return dict(counted.most_common())


def _plain(value: Any) -> Any:
    """Infinity is no JSON."""
    return str(value) if isinstance(value, float) and math.isinf(value) else value
