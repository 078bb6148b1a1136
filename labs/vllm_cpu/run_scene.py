r"""One scene, in a process that does nothing else: `python -m vllm_cpu.run_scene NAME RESULT`.

What vLLM prints goes to the standard streams and is the log. What the run generated goes to the
file `RESULT`, so that no line of the log is ours.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from vllm_cpu import step_recorder
from vllm_cpu.scenes import CHECKPOINT, SCENES, SETTINGS, prompts

# At import, because the processes that vLLM spawns import this module and do not call `main`.
step_recorder.install()


def main(name: str, result: Path) -> None:
    r"""Construct vLLM as the scene says, generate once, and write what came out."""
    scene = SCENES[name]
    started = time.perf_counter()
    from vllm import LLM, SamplingParams

    imported = time.perf_counter()
    settings = {**SETTINGS, **scene.engine}
    if scene.one_process:
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        # The class: the platform hook of CPUs turns the string "uni" into "mp".
        settings["distributed_executor_backend"] = UniProcExecutor
    llm = LLM(model=CHECKPOINT, **settings)
    constructed = time.perf_counter()

    tokens = prompts(lambda text: llm.get_tokenizer().encode(text, add_special_tokens=False))
    outputs = llm.generate(
        [{"prompt_token_ids": prompt} for prompt in tokens],
        [SamplingParams(temperature=0.0, max_tokens=limit) for limit in scene.max_tokens],
        use_tqdm=False,
    )
    generated = time.perf_counter()
    document = {
        "device": _device(scene.device),
        "seconds": {
            "import": round(imported - started, 2),
            "construct": round(constructed - imported, 2),
            "generate": round(generated - constructed, 3),
        },
        "requests": {
            output.request_id.partition("-")[0]: {
                "prompt_token_ids": list(output.prompt_token_ids),
                "max_tokens": limit,
                "token_ids": list(output.outputs[0].token_ids),
                "text": output.outputs[0].text,
                "finish_reason": output.outputs[0].finish_reason,
                "num_cached_tokens": output.num_cached_tokens,
            }
            for output, limit in zip(outputs, scene.max_tokens, strict=True)
        },
    }
    result.write_text(json.dumps(document), encoding="utf-8")


def _device(kind: str) -> str:
    """What vLLM ran on. Asked after the run, so that asking leaves no trace in it."""
    if kind == "cpu":
        return kind
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
