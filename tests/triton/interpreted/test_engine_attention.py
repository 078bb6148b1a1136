"""The whole engine over the Triton backend: token for token what it gives over the oracle."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")

from mini_vllm import LLM, SamplingParams  # noqa: E402
from mini_vllm.attention.triton_attention import (  # noqa: E402
    TritonAttentionBackend,
    TritonMetadataBuilder,
)
from mini_vllm.errors import InvariantError  # noqa: E402
from mini_vllm.observe.audit import Audit  # noqa: E402

NAME = "engine_model_checkpoints"
if NAME not in sys.modules:
    path = Path(__file__).parents[2] / "engine_model" / "checkpoints.py"
    spec = importlib.util.spec_from_file_location(NAME, path)
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
checkpoints = sys.modules[NAME]
PROMPTS = [[5, 9, 2, 7, 3, 11, 4, 8, 6, 10, 12, 13, 1, 14], [3, 3, 7], [2]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny model in which some layers have a window."""
    folder = tmp_path_factory.mktemp("windows")
    checkpoints.write_checkpoint(folder, *checkpoints.ARCHITECTURES["qwen2-windows"], seed=0)
    return str(folder)


def answers(checkpoint: str, backend: str, **settings) -> list[list[int]]:
    llm = LLM(
        model=checkpoint,
        skip_tokenizer_init=True,
        dtype="float32",
        device="cpu",
        max_model_len=64,
        attention_backend=backend,
        num_gpu_blocks_override=64,
        **settings,
    )
    runner = llm.llm_engine.engine_core.executor.model_runner
    assert runner.attention_choice.backend.name == backend
    params = SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True, detokenize=False)
    requests = [{"prompt_token_ids": ids} for ids in PROMPTS]
    with Audit(llm.llm_engine):  # its arrays and its plans, before a kernel believes them
        outputs = llm.generate(requests, params, use_tqdm=False)
    return [out.outputs[0].token_ids for out in outputs]


def test_the_same_tokens_in_chunks_and_mixed_steps(checkpoint, monkeypatch):
    calls = []
    forward = TritonAttentionBackend.forward

    def counted(self, layer, query, *rest):
        calls.append((layer.sliding_window, query.shape[0]))
        return forward(self, layer, query, *rest)

    monkeypatch.setattr(TritonAttentionBackend, "forward", counted)
    settings = {"block_size": 4, "max_num_batched_tokens": 8, "max_num_seqs": 4}
    expected = answers(checkpoint, "torch_reference", **settings)
    assert answers(checkpoint, "triton", **settings) == expected
    assert len({window for window, _ in calls}) == 2
    # Runs of tokens, and steps in which each request has one.
    assert {count for _, count in calls} >= {8, 3}


def test_a_plan_that_misses_a_query_is_stopped_before_its_launch(checkpoint, monkeypatch):
    plan = TritonMetadataBuilder.plan

    def too_few_blocks(self, common, window):
        whole = plan(self, common, window)
        return replace(whole, num_query_blocks=whole.num_query_blocks - 1 - common.num_reqs)

    monkeypatch.setattr(TritonMetadataBuilder, "plan", too_few_blocks)
    with pytest.raises(InvariantError, match="plan-reaches-every-query"):
        answers(checkpoint, "triton")
