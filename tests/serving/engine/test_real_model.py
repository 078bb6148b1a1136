"""The book's own model behind the border: what it says is what it says in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mini_vllm.engine.async_llm import AsyncLLM  # noqa: E402
from mini_vllm.engine.engine_args import EngineArgs  # noqa: E402
from mini_vllm.engine.llm_engine import LLMEngine  # noqa: E402
from mini_vllm.sampling_params import RequestOutputKind, SamplingParams  # noqa: E402
from tests.serving.engine.streams import all_free, collect  # noqa: E402

CHECKPOINT = Path(__file__).parents[3] / "book" / "model" / "checkpoint"
SHAPE: dict[str, Any] = {"dtype": "float32", "num_gpu_blocks_override": 40, "max_model_len": 256}
PROMPTS = ["def add(a, b):", "import os\n", "class Stack:\n    def push(self", "for i in range("]


def params(**changes: Any) -> SamplingParams:
    return SamplingParams(**{"max_tokens": 24, "temperature": 0.0, "logprobs": 2, **changes})


VARIANTS = [
    params(output_kind=RequestOutputKind.DELTA),
    params(stop=["\n\n", "return"], output_kind=RequestOutputKind.DELTA),
    params(temperature=0.8, seed=11, n=3, output_kind=RequestOutputKind.DELTA),
]


def test_the_model_says_the_same_far_and_near() -> None:
    """Greedy, with stop strings, and several seeded answers; all at once, each as if alone."""
    near = LLMEngine.from_keywords(str(CHECKPOINT), **SHAPE)
    threads = torch.get_num_threads()
    expected = []
    for i, prompt in enumerate(PROMPTS):
        for j, one in enumerate(VARIANTS):
            final = one.clone()
            final.output_kind = RequestOutputKind.FINAL_ONLY
            near.add_request(f"{i}-{j}", prompt, final)
            outputs = []
            while near.has_unfinished_requests():
                outputs += near.step()
            expected.append({a.index: (a.text, list(a.token_ids)) for a in outputs[-1].outputs})

    async def one_stream(llm: AsyncLLM, name: str, prompt: str, one: SamplingParams) -> dict:
        found: dict[int, tuple[str, list[int]]] = {}
        for output in await collect(llm.generate(prompt, one, name)):
            for a in output.outputs:
                text, tokens = found.get(a.index, ("", []))
                found[a.index] = (text + a.text, [*tokens, *a.token_ids])
        return found

    async def main(llm: AsyncLLM) -> tuple[list[dict], bool]:
        streams = [
            one_stream(llm, f"{i}-{j}", prompt, one)
            for i, prompt in enumerate(PROMPTS)
            for j, one in enumerate(VARIANTS)
        ]
        return await asyncio.gather(*streams), await all_free(llm)

    args = EngineArgs(model=str(CHECKPOINT), **SHAPE)
    with AsyncLLM.from_engine_args(args, check_invariants=True) as llm:
        assert llm.client.core_process.setup.num_threads == threads
        answers, free = asyncio.run(main(llm))
    assert answers == expected
    assert any(len({text for text, _ in one.values()}) > 1 for one in answers), "seeds differ"
    assert free
