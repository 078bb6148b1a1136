r"""The request that never ends, on real vLLM: how `capture.json` beside this file was made.

    PYTHONPATH=labs python labs/phase-01-…/lab-06-…/on_real_vllm.py     # in vLLM's environment

Builds vLLM in one process on a small Llama with weights that mean nothing (what the model says does
not matter, since no end may be drawn below `min_tokens`), takes a fixed number of steps, and notes
after each what the scheduler planned and where the request stands. Then it aborts the request, as
nothing else ends it. `labs/vllm_cpu/README.md` says how to get the environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from vllm_cpu.environment import environment

NUM_PROMPT_TOKENS, MAX_MODEL_LEN, MIN_TOKENS, STEPS = 20, 32, 50, 40
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
CAPTURE = Path(__file__).with_name("capture.json")


def steps(folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    r"""What each step planned, and where the request stood after it; and how it ended, aborted."""
    from vllm import LLM, SamplingParams
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    (folder / "config.json").write_text(json.dumps(MODEL), encoding="utf-8")
    llm = LLM(
        model=str(folder),
        load_format="dummy",
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=MAX_MODEL_LEN,
        max_num_seqs=8,
        block_size=16,
        enforce_eager=True,
        distributed_executor_backend=UniProcExecutor,
    )
    engine = llm.llm_engine
    params = SamplingParams(
        temperature=0.0, min_tokens=MIN_TOKENS, max_tokens=MIN_TOKENS, detokenize=False
    )
    engine.add_request("r", {"prompt_token_ids": list(range(3, 3 + NUM_PROMPT_TOKENS))}, params)
    scheduler = engine.engine_core.engine_core.scheduler
    [request] = scheduler.requests.values()
    planned, plan = [], scheduler.schedule

    def watched():
        orders = plan()
        planned.append(orders.total_num_scheduled_tokens)
        return orders

    scheduler.schedule = watched
    taken = []
    for step in range(1, STEPS + 1):
        engine.step()
        blocks = scheduler.kv_cache_manager.get_block_ids(request.request_id)[0]
        taken.append(
            {
                "step": step,
                "scheduled": planned[-1],
                "status": request.status.name,
                "computed": request.num_computed_tokens,
                "tokens": request.num_tokens,
                "blocks": len(blocks),
            }
        )
    engine.abort_request(["r"])
    engine.step()
    return taken, request.status.name


def main() -> None:
    r"""Take the steps under the variables of `vllm_cpu.environment`, and write the capture."""
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") != "0":
        with tempfile.TemporaryDirectory() as cache:
            variables = environment(Path(cache), VLLM_ENABLE_V1_MULTIPROCESSING="0")
            subprocess.run([sys.executable, __file__], env=variables, check=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        taken, ended = steps(Path(folder))
    capture = {
        "command": "PYTHONPATH=labs python labs/phase-01-architecture-and-request-lifecycle/"
        "lab-06-the-request-that-never-ends/on_real_vllm.py",
        "versions": {name: importlib.metadata.version(name) for name in ("vllm-cpu", "torch")},
        "machine": f"{platform.machine()}, Python {platform.python_version()}, no GPU",
        "request": {
            "num_prompt_tokens": NUM_PROMPT_TOKENS,
            "min_tokens": MIN_TOKENS,
            "max_model_len": MAX_MODEL_LEN,
        },
        "after the abort": ended,
        "steps": taken,
    }
    lines = [f"  {json.dumps(step)}" for step in capture.pop("steps")]
    head = json.dumps(capture, indent=1)[:-2]
    text = f'{head},\n "steps": [\n' + ",\n".join(lines) + "\n ]\n}\n"
    CAPTURE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
