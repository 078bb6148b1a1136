r"""Hold a load: many streams at once against a real server, for minutes.

    python tests/serving/load/hold.py --streams 200 --seconds 120 --record FILE

Every prompt is first answered alone. Then so many clients ask for them at once, each the next as
soon as it has its last, and some hang up in the middle. At the end:

- every stream that was not cut is complete, and equal to the answer that was made alone. Matrix
  products round differently in another batch, so a differing token passes if the two best were
  nearer than `EPSILON` when it was drawn alone; those are counted, and capped at one in 10,000;
- no block is in use, nobody runs, nobody waits;
- memory of both processes is flat: the line through the samples after the first quarter rises by
  less than `MAX_GROWTH` in the whole time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE.parent / "http")]

from http_servers import CHECKPOINT, Server, end, start  # noqa: E402

#: Between the log-probabilities of the two best tokens: nearer ones may change places.
EPSILON = 1e-3
#: Of differing tokens that are near ties, at most this share of all.
MAX_NEAR_TIES = 1e-4
#: How much more memory a process may have at the end of the line than at its beginning, in bytes.
MAX_GROWTH = 24 * 2**20
NUM_PROMPTS = 48
NUM_BLOCKS = 1024
SERVER_FLAGS = ("--dtype", "float32", "--max-model-len", "1024")
SERVER_FLAGS += ("--num-gpu-blocks-override", str(NUM_BLOCKS))


@dataclass
class Alone:
    """What a prompt is answered with when nobody else is there."""

    body: dict[str, Any]
    token_ids: list[int]
    text: str
    gaps: list[float]


@dataclass
class Held:
    """What the clients saw."""

    streams: int = 0
    left: int = 0
    tokens: int = 0
    near_ties: int = 0
    problems: list[str] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)


def prompts(seed: int) -> list[dict[str, Any]]:
    """Pieces of this project's own source, some with a beginning that others share."""
    rng = random.Random(seed)
    sources = sorted((ROOT / "mini_vllm" / "core").glob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in sources]
    texts = [text for text in texts if len(text) > 3000]
    made = []
    for index in range(NUM_PROMPTS):
        text = texts[index % len(texts)]
        begin = 0 if index % 3 == 0 else rng.randrange(len(text) - 1500)
        prompt = text[begin : begin + rng.randrange(40, 1200)]
        made.append({"prompt": prompt, "max_tokens": rng.randrange(16, 97), "ignore_eos": True})
    return made


def touch_every_block(server: Server) -> None:
    """Write to the whole cache once: memory is given when it is first written to."""
    rng = random.Random(0)
    for _ in range(NUM_BLOCKS * 16 // 1000 + 1):
        body = {"prompt": [rng.randrange(4096) for _ in range(1000)], "max_tokens": 1}
        assert server.post("/v1/completions", json=body).status_code == 200


def answer_alone(server: Server, body: dict[str, Any]) -> Alone:
    asked = {**body, "temperature": 0, "return_token_ids": True}
    (choice,) = server.post("/v1/completions", json={**asked, "logprobs": 2}).json()["choices"]
    gaps = []
    for top in choice["logprobs"]["top_logprobs"]:
        best = sorted(top.values(), reverse=True)
        gaps.append(best[0] - best[1] if len(best) > 1 else 0.0)
    return Alone({**asked, "stream": True}, choice["token_ids"], choice["text"], gaps)


async def one_stream(port: int, alone: Alone, held: Held, leave_after: int | None) -> None:
    """Ask once, read to the end (or leave), compare."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    content = json.dumps(alone.body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\n"
    began = last = time.perf_counter()
    token_ids: list[int] = []
    texts: list[str] = []
    finish_reason, done = None, False
    try:
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        status = await reader.readline()
        if b" 200 " not in status:
            held.problems.append(f"status {status!r}")
            return
        async for line in reader:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                done = True
                break
            now = time.perf_counter()
            (held.between if token_ids else held.first_token).append(
                now - (last if token_ids else began)
            )
            last = now
            event = json.loads(line[6:])
            if "error" in event:
                held.problems.append(f"an error within a stream: {event}")
                return
            (choice,) = event["choices"]
            token_ids += choice["token_ids"]
            texts.append(choice["text"])
            finish_reason = choice["finish_reason"]
            if leave_after is not None and len(token_ids) >= leave_after:
                held.left += 1
                return
    finally:
        writer.close()
    held.streams += 1
    held.tokens += len(token_ids)
    if not done or finish_reason != "length" or len(token_ids) != len(alone.token_ids):
        held.problems.append(f"not complete: {len(token_ids)} tokens, {finish_reason}, {done}")
    elif token_ids != alone.token_ids:
        pairs = zip(token_ids, alone.token_ids, strict=True)
        place = next(i for i, (one, other) in enumerate(pairs) if one != other)
        held.near_ties += 1
        if alone.gaps[place] > EPSILON:
            held.problems.append(f"token {place} differs, and the gap was {alone.gaps[place]:.4f}")
    elif "".join(texts) != alone.text:
        held.problems.append("the tokens agree and the text does not")


async def load(server: Server, answers: list[Alone], streams: int, seconds: float) -> Held:
    """So many clients, each asking again and again until the time is over."""
    held, port = Held(), int(server.url.rpartition(":")[2])
    deadline = time.monotonic() + seconds

    async def client(number: int) -> None:
        rng = random.Random(number)
        while time.monotonic() < deadline:
            leave_after = rng.randrange(1, 12) if rng.random() < 0.05 else None
            await one_stream(port, rng.choice(answers), held, leave_after)

    await asyncio.gather(*(client(number) for number in range(streams)))
    return held


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


class Memory:
    """Samples of two processes' memory, one a second."""

    def __init__(self, server: Server) -> None:
        front = server.process.pid
        children = Path(f"/proc/{front}/task/{front}/children").read_text().split()
        self.pids = {"front": front, "core": int(children[0])}
        self.samples: dict[str, list[tuple[float, int]]] = {name: [] for name in self.pids}

    async def watch(self) -> None:
        while True:
            for name, pid in self.pids.items():
                self.samples[name].append((time.monotonic(), resident(pid)))
            await asyncio.sleep(1.0)

    def growth(self, name: str) -> float:
        """How far the line through the later three quarters of the samples rises, in bytes."""
        later = self.samples[name][len(self.samples[name]) // 4 :]
        times, sizes = zip(*later, strict=True)
        slope, _ = statistics.linear_regression(times, sizes)
        return slope * (times[-1] - times[0])


def percentile(values: list[float], share: float) -> float:
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def run(streams: int, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Start a server, hold the load, say what happened; without `problems`, all went well."""
    command = ["-m", "mini_vllm.entrypoints.cli", "serve", CHECKPOINT, "--port", "0"]
    server = start([*command, *SERVER_FLAGS, "--disable-uvicorn-access-log"])
    try:
        touch_every_block(server)
        answers = [answer_alone(server, body) for body in prompts(seed)]
        memory = Memory(server)

        async def both() -> Held:
            watcher = asyncio.ensure_future(memory.watch())
            # The first seconds fill caches and allocators; they are load, and not yet the measure.
            await load(server, answers, streams, min(5.0, seconds / 4))
            for samples in memory.samples.values():
                samples.clear()
            began = time.monotonic()
            held = await load(server, answers, streams, seconds)
            result["seconds"] = round(time.monotonic() - began, 1)
            watcher.cancel()
            return held

        result: dict[str, Any] = {}
        held = asyncio.run(both())
        problems = held.problems
        try:
            server.wait_until_idle(10)
        except AssertionError as error:
            problems.append(f"not idle after the load: {error}")
        growth = {name: memory.growth(name) for name in memory.pids}
        problems += [
            f"{name} grew by {size / 2**20:.1f} MiB"
            for name, size in growth.items()
            if size > MAX_GROWTH
        ]
        if held.near_ties > max(1, held.tokens * MAX_NEAR_TIES):
            problems.append(f"{held.near_ties} near ties in {held.tokens} tokens")
        return result | {
            "streams_at_once": streams,
            "streams_complete": held.streams,
            "streams_left_by_the_client": held.left,
            "tokens": held.tokens,
            "tokens_per_second": round(held.tokens / result["seconds"]),
            "streams_that_differ_at_a_near_tie": held.near_ties,
            "time_to_first_token_ms": {
                "median": round(1e3 * statistics.median(held.first_token), 1),
                "p99": round(1e3 * percentile(held.first_token, 0.99), 1),
            },
            "inter_token_latency_ms": {
                "median": round(1e3 * statistics.median(held.between), 1),
                "p99": round(1e3 * percentile(held.between, 0.99), 1),
            },
            "memory_mib": {
                name: {
                    "first": round(samples[0][1] / 2**20, 1),
                    "last": round(samples[-1][1] / 2**20, 1),
                    "growth_of_the_line": round(growth[name] / 2**20, 2),
                    "samples": [
                        round(size / 2**20, 1) for _, size in samples[:: max(1, len(samples) // 24)]
                    ],
                }
                for name, samples in memory.samples.items()
            },
            "kv_cache_usage_at_the_end": server.metric("vllm:kv_cache_usage_perc"),
            "preemptions": server.metric("vllm:num_preemptions_total"),
            "problems": problems[:20],
        }
    finally:
        end(server)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the result there")
    args = parser.parse_args()
    from book.measurements import date, machine_name, versions

    result = run(args.streams, args.seconds)
    command = (
        f"python tests/serving/load/hold.py --streams {args.streams} --seconds {args.seconds:g}"
    )
    flags = f"mini_vllm serve {CHECKPOINT.relative_to(ROOT)} {' '.join(SERVER_FLAGS)}"
    record = {
        "what": "streams held at once, each compared with its answer alone; clients on the machine",
        "command": command,
        "server": flags,
        "machine": machine_name(),
        "versions": versions(),
        "taken": date.today().isoformat(),
        **result,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    print(text)
    if args.record:
        args.record.write_text(text + "\n", encoding="utf-8")
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
