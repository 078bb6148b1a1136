r"""How is each engine run, so that neither can complain?

Each loads the checkpoint, warms up on a few prompts of the workload, and is then timed once over
all of it. The clock starts with token ids in hand and stops with token ids in hand; loading,
tokenizing and text are not in it.

transformers is given its prompts in static batches, in the order of the workload, padded on the
left to the longest of each batch: that is what `generate` offers. It finishes a batch before it
begins the next.
"""

from __future__ import annotations

import time
from typing import Any

from mini_vllm.bench.measurement import Run, RunSpec
from mini_vllm.bench.workload import Workload

_WARM_UP_PROMPTS = 4
_WARM_UP_TOKENS = 4


def run(spec: RunSpec) -> Run:
    """Measure what `spec` says, in this process."""
    import torch

    torch.set_num_threads(spec.threads)
    engines = {"mini_vllm": _run_mini_vllm, "transformers": _run_transformers}
    return engines[spec.engine](spec, Workload(**spec.workload))


def _run_mini_vllm(spec: RunSpec, workload: Workload) -> Run:
    from mini_vllm import LLM, SamplingParams

    started = time.perf_counter()
    options = {
        "max_num_seqs": spec.batch_size,
        "max_model_len": workload.max_len + workload.num_new_tokens,
        "enable_prefix_caching": False,
        **spec.options,
    }
    llm = LLM(spec.model, dtype=spec.dtype, skip_tokenizer_init=True, **options)
    start_s = time.perf_counter() - started
    vocab_size = llm.llm_engine.config.model_config.vocab_size
    prompts = [{"prompt_token_ids": ids} for ids in workload.prompts(vocab_size)]

    def params(num_tokens: int) -> SamplingParams:
        return SamplingParams(
            temperature=0.0, max_tokens=num_tokens, ignore_eos=True, detokenize=False
        )

    llm.generate(prompts[:_WARM_UP_PROMPTS], params(_WARM_UP_TOKENS))
    wall, cpu = time.perf_counter(), time.process_time()
    outputs = llm.generate(prompts, params(workload.num_new_tokens))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    runner: Any = llm.llm_engine.engine_core.executor.model_runner
    detail = {
        "start_s": round(start_s, 3),
        "attention_backend": runner.attention_choice.backend.name,
        "kernels": runner.kernel_choice.kernels.name,
    }
    return Run(wall, cpu, [list(output.outputs[0].token_ids) for output in outputs], detail)


def _run_transformers(spec: RunSpec, workload: Workload) -> Run:
    import torch

    started = time.perf_counter()
    model = _transformers_model(spec)
    start_s = time.perf_counter() - started
    prompts = workload.prompts(model.config.vocab_size)

    def generate(batch: list[list[int]], num_tokens: int) -> list[list[int]]:
        longest = max(map(len, batch))
        padded = torch.tensor([[0] * (longest - len(p)) + p for p in batch])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in batch])
        out = model.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        return out[:, longest:].tolist()

    with torch.inference_mode():
        generate(prompts[:_WARM_UP_PROMPTS], _WARM_UP_TOKENS)
        token_ids: list[list[int]] = []
        wall, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(prompts), spec.batch_size):
            batch = prompts[start : start + spec.batch_size]
            token_ids += generate(batch, workload.num_new_tokens)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Run(wall, cpu, token_ids, {"start_s": round(start_s, 3)})


def gap_after(spec: RunSpec, tokens: list[int]) -> float:
    """How far transformers' best token is ahead of its second after `tokens`."""
    import torch

    with torch.inference_mode():
        logits = _transformers_model(spec)(torch.tensor([tokens])).logits[0, -1].float()
    best, second = logits.topk(2).values.tolist()
    return best - second


def _transformers_model(spec: RunSpec) -> Any:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        spec.model, dtype=getattr(torch, spec.dtype)
    )
    return model.eval()
