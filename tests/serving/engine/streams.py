"""Streams, and what they are compared with: small verbs for the tests of the engine's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from mini_vllm.core.stats import SchedulerStats
from mini_vllm.engine.async_llm import AsyncLLM
from mini_vllm.engine.iteration_stats import IterationStats
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import SamplingParams

#: An answer with no end of its own.
ENDLESS = [3 + i % 97 for i in range(1000)]


class ByteTokenizer:
    """Ids 0 to 255 are bytes, 256 ends an answer: a tokenizer in which characters fall apart."""

    eos_token_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        text = bytes(t for t in token_ids if t < 256).decode(errors="replace")
        special = "" if skip_special_tokens else "<eos>" * sum(t == 256 for t in token_ids)
        return text + special


class Recorder:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[tuple[SchedulerStats | None, IterationStats | None]] = []

    def record(
        self, scheduler_stats: SchedulerStats | None, iteration_stats: IterationStats | None
    ) -> None:
        self.records.append((scheduler_stats, iteration_stats))

    def total(self, name: str) -> Any:
        """The sum, or for a list all of it, of a count of either kind."""
        found = [getattr(one, name) for pair in self.records for one in pair if hasattr(one, name)]
        return joined(found) if found and isinstance(found[0], list) else sum(found)


def say(text: str) -> list[int]:
    """A script that answers with a text, and then ends."""
    return [*text.encode(), 256]


def prompt(*token_ids: int) -> dict[str, list[int]]:
    return {"prompt_token_ids": list(token_ids)}


async def last(stream: AsyncIterator[RequestOutput]) -> RequestOutput:
    """The last output of a stream."""
    return (await collect(stream))[-1]


async def collect(stream: AsyncIterator[RequestOutput]) -> list[RequestOutput]:
    return [output async for output in stream]


def joined(pieces: Iterable[Sequence[Any]]) -> list[Any]:
    return [token for piece in pieces for token in piece]


async def registered(llm: AsyncLLM) -> None:
    """Wait until a request that another task has begun is the engine's: no longer, and no time."""
    while not llm.output_processor.has_unfinished_requests():
        await asyncio.sleep(0)


async def all_free(llm: AsyncLLM) -> bool:
    """Whether the engine holds nothing, once the step under way is over."""
    for _ in range(100):
        stats = await llm.get_stats()
        held = llm.ready.num_gpu_blocks - 1 - stats.num_free_blocks
        if (stats.num_running_reqs, stats.num_waiting_reqs, held) == (0, 0, 0):
            return True
        await asyncio.sleep(0.01)
    return False


def solo(
    script: Sequence[int], prompt: Any, params: SamplingParams, **engine: Any
) -> RequestOutput:
    """What the engine in this process answers, to nobody else."""
    near = LLMEngine.from_scripted(default=script, **engine)
    near.add_request("solo", prompt, params)
    outputs = []
    while near.has_unfinished_requests():
        outputs += near.step()
    return outputs[-1]
