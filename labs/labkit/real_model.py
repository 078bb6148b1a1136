r"""Does it still hold when the answers come from a real model?

Everything that a lab says about scheduling, counters and stopping is true of any model, and the
scripted one is enough to grade it. But a claim about an engine deserves a model. Tests marked
`model` build one here: the book's own checkpoint where the repository has it, else a small Llama
with random weights, which decides nothing that these tests look at.

Importing this module imports no torch; calling its functions does.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.engine.llm_engine import LLMEngine

BOOKS_MODEL = Path(__file__).parents[2] / "book" / "model" / "checkpoint"


@functools.cache
def checkpoint() -> str:
    r"""The folder of a checkpoint that any machine with the engine's extra can load in a second."""
    if (BOOKS_MODEL / "model.safetensors").exists():
        return str(BOOKS_MODEL)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # Wide enough that a random model does not say one token for ever.
        initializer_range=0.2,
    )
    folder = tempfile.mkdtemp(prefix="random-llama-")
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def real_engine(
    *, budget: int = 64, seats: int | None = None, blocks: int = 65, block_size: int = 4
) -> LLMEngine:
    r"""An engine on a real model in float32, of the same sizes as a scripted one.

    It takes token ids, and no tokenizer is loaded. Prompts of ids below 500 fit every checkpoint.
    """
    return LLMEngine(
        EngineConfig(
            model_config=ModelConfig.from_checkpoint(
                checkpoint(), dtype="float32", max_model_len=128, skip_tokenizer_init=True
            ),
            scheduler_config=SchedulerConfig(
                max_model_len=128,
                max_num_batched_tokens=budget,
                max_num_seqs=min(8, budget) if seats is None else seats,
            ),
            cache_config=CacheConfig(block_size=block_size, num_gpu_blocks=blocks),
            device="cpu",
            # The oracle: it needs no compiler, and these tests do not measure.
            attention_backend="torch_reference",
        )
    )


class Row(NamedTuple):
    r"""A request's row of scores; it knows whose it is, so that rows can be handed about."""

    req_id: str
    scores: Any


class Forward(NamedTuple):
    r"""A forward pass as the scripted runner returns it: one row for every request that ran."""

    req_ids: list[str]
    logits: list[Row]


class Organs:
    r"""A real model runner, taken apart as the scripted one is: `forward`, `sampler`, and memory.

    The sampler takes a list of rows and returns a token for each.
    """

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.record_sampled_tokens = runner.record_sampled_tokens

    def forward(self, orders: SchedulerOutput) -> Forward:
        r"""Run the model on a step's orders."""
        output = self.runner.forward(orders)
        rows = [Row(req_id, scores) for req_id, scores in zip(output.req_ids, output.logits)]
        return Forward(output.req_ids, rows)

    def sampler(self, rows: Sequence[Row]) -> list[int]:
        r"""Draw a token from each row, by the parameters of the request whose row it is."""
        import torch

        metadata = self.runner.sampling_metadata([row.req_id for row in rows])
        drawn = self.runner.sampler(torch.stack([row.scores for row in rows]), metadata)
        return drawn.token_ids.tolist()
