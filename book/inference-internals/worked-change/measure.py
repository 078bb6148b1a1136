r"""Takes the worked change's measurements, and those of the two candidates that were dropped.

    git worktree add ../before f93ecb1
    mini_vllm bench latency book/model/checkpoint --text --batch-size 64 --repeats 7 \
        --json after.json --beside ../before --beside-json before.json
    PYTHONPATH=../before python book/inference-internals/worked-change/measure.py \
        --profile profile.json
    python book/inference-internals/worked-change/measure.py --before ../before \
        --profiled profile.json before.json after.json

Both sides of every pair take turns, because the machine was shared. Times are of the process,
except those of the scheduler's bench, which has a clock of its own.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import importlib.util
import json
import pstats
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from statistics import median

import mini_vllm.engine.detokenizer as detokenizer_module
from book.measurements import record
from mini_vllm import LLM, SamplingParams
from mini_vllm.bench import scheduler_step
from mini_vllm.core import scheduler as scheduler_module
from mini_vllm.core.engine_core_output import EngineCoreOutput
from mini_vllm.core.engine_core_request import EngineCoreRequest
from mini_vllm.core.prefix_hash import ROOT_HASH, PrefixHasher
from mini_vllm.core.request import FinishReason, Request
from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.engine import output_processor
from mini_vllm.engine.detokenizer import IncrementalDetokenizer
from mini_vllm.engine.tokenizer import load_tokenizer
from mini_vllm.sampling_params import RequestOutputKind

ROOT = Path(__file__).resolve().parents[3]
LIMITS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TURNS = 15


def in_turns(tasks: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, list[float]]:
    """CPU seconds of each task, one call of each a turn, in an order that changes."""
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(turns):
        names = list(tasks) if turn % 2 else list(reversed(tasks))
        for name in names:
            started = time.process_time()
            tasks[name]()
            spent[name].append(time.process_time() - started)
    return spent


def portions() -> dict[str, object]:
    """Microseconds a token of the detokenizer alone, by how many tokens are read at a time."""
    tokenizer = load_tokenizer(ROOT / "book/model/checkpoint")
    text = (ROOT / "mini_vllm/core/scheduler.py").read_text(encoding="utf-8")
    ids = tokenizer.encode(text)[:512]

    def answer(limit: int) -> None:
        detokenizer_module.UNREAD_LIMIT = limit
        for _ in range(8):
            one = IncrementalDetokenizer(tokenizer, SamplingParams())
            for token in ids:
                one.update([token])
            one.get_next_output_text(True, delta=False)

    before = detokenizer_module.UNREAD_LIMIT
    tasks = {str(limit): lambda limit=limit: answer(limit) for limit in LIMITS}
    try:
        spent = in_turns(tasks)
    finally:
        detokenizer_module.UNREAD_LIMIT = before
    per_token = [1e6 * median(spent[str(limit)]) / (8 * len(ids)) for limit in LIMITS]
    return {"limits": LIMITS, "us_a_token": [round(value, 2) for value in per_token]}


#: Row of the page: the functions whose time it is, callees included.
PLACES = {
    "model: the forward pass": [("model_runner.py", "forward")],
    "scheduler: schedule, update_from_output": [
        ("scheduler.py", "schedule"),
        ("scheduler.py", "update_from_output"),
    ],
    "detokenizer: update": [("detokenizer.py", "update")],
    "sampler": [("model_runner.py", "sample_tokens")],
}


def profile() -> dict[str, float]:
    """Shares of a run of 64 short prompts, by cProfile: where to look, not how much there is.

    Of the commit *before* the change: in the one after it, the share is gone.
    """
    llm = LLM(model=str(ROOT / "book/model/checkpoint"), dtype="float32", max_model_len=1024)
    prompts = [f"def schedule_{i}(self, request: Request) -> " for i in range(64)]
    params = SamplingParams(temperature=0.0, max_tokens=128, ignore_eos=True)
    llm.generate(prompts, params)
    profiler = cProfile.Profile()
    profiler.enable()
    llm.generate(prompts, params)
    profiler.disable()
    stats = pstats.Stats(profiler).stats
    total = max(row[3] for row in stats.values())
    shares = {}
    for place, wanted in PLACES.items():
        rows = [
            row[3]
            for (file, _, name), row in stats.items()
            if (Path(file).name, name) in wanted and "mini_vllm" in file
        ]
        shares[place] = round(sum(rows) / total, 4)
    return shares


def front_end(before: Path) -> dict[str, list[float]]:
    """Microseconds a step of the output processor for 64 answers, with either detokenizer.

    No model and no scheduler: news of 64 requests, a token each, for 128 steps. The old class is
    read from the checkout of the commit before, so both run in one process, in turns.
    """
    file = before / "mini_vllm/engine/detokenizer.py"
    found = importlib.util.spec_from_file_location("detokenizer_before", file)
    old = importlib.util.module_from_spec(found)
    found.loader.exec_module(old)
    tokenizer = load_tokenizer(ROOT / "book/model/checkpoint")
    text = (ROOT / "mini_vllm/core/scheduler.py").read_text(encoding="utf-8")
    ids = tokenizer.encode(text)
    params = SamplingParams(max_tokens=128, output_kind=RequestOutputKind.FINAL_ONLY)
    asked = [EngineCoreRequest(str(row), ids[:16], params, 0.0) for row in range(64)]
    said: dict[str, list[str]] = {}

    def answer(name: str, kind: type) -> None:
        output_processor.IncrementalDetokenizer = kind
        processor = output_processor.OutputProcessor(tokenizer)
        for request in asked:
            processor.add_request(request, None)
        for step in range(128):
            end = FinishReason.LENGTH if step == 127 else None
            news = [
                EngineCoreOutput(str(row), [ids[16 + row + step]], finish_reason=end)
                for row in range(64)
            ]
            outputs = processor.process_outputs(news).request_outputs
        said[name] = [output.outputs[0].text for output in outputs]

    kinds = {"before": old.IncrementalDetokenizer, "after": IncrementalDetokenizer}
    try:
        tasks = {name: lambda n=name, k=kind: answer(n, k) for name, kind in kinds.items()}
        in_turns(tasks, 2)
        spent = in_turns(tasks)
    finally:
        output_processor.IncrementalDetokenizer = IncrementalDetokenizer
    if said["before"] != said["after"]:
        raise RuntimeError("the two versions make other texts")
    return {
        name: [round(1e6 * seconds / 128, 1) for seconds in each] for name, each in spent.items()
    }


def sliced_names(tokens: list[int], size: int) -> list[bytes]:
    """The candidate: all tokens packed once, a slice of the bytes for each block."""
    parent, names, width = ROOT_HASH, [], 8 * size
    data = array("q", tokens).tobytes()
    for start in range(0, len(tokens) // size * width, width):
        parent = hashlib.sha256(parent + data[start : start + width]).digest()
        names.append(parent)
    return names


def hashes() -> dict[str, object]:
    """Milliseconds for the names of a long prompt's blocks, as they are made and as tried."""
    tokens = [(7919 * place) % 4096 for place in range(32_768)]
    request = Request("r", tokens, SamplingParams(max_tokens=1))
    hasher = PrefixHasher(16)
    if hasher(request) != sliced_names(tokens, 16):
        raise RuntimeError("the candidate makes other names")
    tasks = {"as it is": lambda: hasher(request), "as tried": lambda: sliced_names(tokens, 16)}
    spent = in_turns(tasks, 31)
    return {name: round(1e3 * median(seconds), 3) for name, seconds in spent.items()}


class Comprehended(scheduler_module.Scheduler):
    """The candidate: the orders' lists made by comprehensions, for steps without a resumption."""

    def _make_output(self, plan: object) -> SchedulerOutput:
        if plan.resumed:
            return super()._make_output(plan)
        get_block_ids = self.kv_cache_manager.get_block_ids
        new = [NewRequestData.from_request(r, get_block_ids(r.request_id)) for r in plan.new]
        cached = CachedRequestData()
        running = plan.running
        cached.req_ids = [request.request_id for request in running]
        cached.new_token_ids = [[] for _ in running]
        cached.new_block_ids = [
            [block.block_id for block in blocks] if blocks else None
            for blocks in map(plan.new_blocks.get, cached.req_ids)
        ]
        cached.num_computed_tokens = [request.num_computed_tokens for request in running]
        cached.num_output_tokens = [request.num_output_tokens for request in running]
        return SchedulerOutput(
            scheduled_new_reqs=new,
            scheduled_cached_reqs=cached,
            num_scheduled_tokens=plan.num_scheduled_tokens,
            total_num_scheduled_tokens=self.max_num_scheduled_tokens - plan.token_budget,
            finished_req_ids=self.finished_req_ids,
            preempted_req_ids={request.request_id for request in plan.preempted},
        )


class Tried(scheduler_step.MiniVllmDriver):
    """The scheduler's bench, on the candidate."""

    name = "as tried"

    def build(self, shape: scheduler_step.Shape, num_steps: int) -> scheduler_module.Scheduler:
        """The same scheduler, of the other class."""
        made = super().build(shape, num_steps)
        made.__class__ = Comprehended
        return made


def orders() -> dict[str, object]:
    """Microseconds of a step with 256 requests: medians of seven rounds, both in turns."""
    rounds = [
        scheduler_step.measure_shape(
            scheduler_step.Shape(256, 256),
            [scheduler_step.MiniVllmDriver(), Tried()][:: 1 if turn % 2 else -1],
            150,
        )
        for turn in range(7)
    ]
    ours, tried = ([one[name].step_us for one in rounds] for name in ("mini_vllm", "as tried"))
    return {"as it is": median(ours), "as tried": median(tried), "rounds": [ours, tried]}


def main() -> None:
    """Read two records, take the rest, write the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", type=Path, help="only the profile, into this file")
    parser.add_argument("--before", type=Path, help="a checkout of the commit before")
    parser.add_argument("--profiled", type=Path, help="the profile of the commit before")
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD")
    options = parser.parse_args()
    if options.profile:
        options.profile.write_text(json.dumps(profile()), encoding="utf-8")
        return
    kept = ("benchmark", "environment", "settings", "metrics")
    sides = [json.loads(file.read_text(encoding="utf-8")) for file in options.records]
    records = {
        side: {key: one[key] for key in kept}
        for side, one in zip(("before", "after"), sides, strict=True)
    }
    record(
        "worked-change",
        what="Answers with text before and after the detokenizer waits for a reader, both versions "
        "in turns, a fresh process each; and what else was tried.",
        command="python book/inference-internals/worked-change/measure.py",
        values={
            "records": records,
            "profile": json.loads(options.profiled.read_text(encoding="utf-8")),
            "front_end": front_end(options.before),
            "portions": portions(),
            "hashes": hashes(),
            "orders": orders(),
        },
        runs=len(records["after"]["metrics"]["latency"]["runs"]),
        machine="AMD EPYC, 2 cores",
    )


if __name__ == "__main__":
    main()
