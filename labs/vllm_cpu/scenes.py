r"""Which runs of vLLM does the book show?

Three, of the same three requests on the same checkpoint. They differ in what surrounds
`EngineCore.step`, and in nothing that the scheduler decides by, except where the name says so.
Two more are for a machine with a GPU.

The requests are made to show something. `0` is short and has begun to decode when `1`, which is
longer than the token budget, is still in chunks. `2` begins with the first 32 tokens of `0`, two
whole blocks, so that when it is admitted those are already computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from vllm_cpu.environment import KV_CACHE_GIB

CHECKPOINT = "book/model/checkpoint"

# Our own words, long enough for each of the prompts that are cut from them.
TEXT_0 = '''class StepLog:
    """What one step of the engine did, in the order in which it did it."""

    def __init__(self, path: str, capacity: int = 1024) -> None:
        self.path = path
        self.capacity = capacity
        self.steps: list[dict[str, int]] = []
'''
TEXT_1 = '''import logging
from collections import deque

logger = logging.getLogger(__name__)


def drain(queue: deque, budget: int) -> list[str]:
    """Take requests from the queue for as long as the token budget lasts."""
    taken = []
    while queue and budget > 0:
        request = queue.popleft()
        num_tokens = min(request.num_new_tokens, budget)
        budget -= num_tokens
        taken.append(request.request_id)
        logger.debug("scheduled %s with %d tokens", request.request_id, num_tokens)
    return taken
'''
TEXT_2 = """
    def close(self) -> None:
        self.steps.clear()
"""


@dataclass(frozen=True)
class Scene:
    r"""One run: how vLLM is constructed, and how many tokens each request may generate.

    `engine` are arguments of vLLM's `LLM` in addition to {py:data}`SETTINGS`; `variables` are
    environment variables. `one_process` keeps front-end, engine core and worker in one process.
    A scene whose `device` is `cuda` runs only when it is named.
    """

    name: str
    shows: str
    device: str = "cpu"
    max_tokens: tuple[int, ...] = (8, 6, 4)
    one_process: bool = False
    engine: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "dtype": "float32",
        "max_num_seqs": 8,
        "max_num_batched_tokens": 64,
        "block_size": 16,
        "enforce_eager": True,
        "seed": 0,
        "disable_log_stats": False,
    }
)
DEBUG = {"VLLM_LOGGING_LEVEL": "DEBUG"}
ITERATIONS = {"max_model_len": 1024, "enable_logging_iteration_details": True}
# On a GPU the pool is stated too, or it would be whatever the card has left.
ON_CUDA = {**ITERATIONS, "kv_cache_memory_bytes": KV_CACHE_GIB << 30}

SCENES = {
    scene.name: scene
    for scene in (
        Scene(
            "plain",
            "what the debug level alone prints, from a single process",
            one_process=True,
            engine={"max_model_len": 1000},
            variables=DEBUG,
        ),
        Scene(
            "default",
            "the default layout, three processes, with one line per iteration",
            engine=ITERATIONS,
            variables=DEBUG,
        ),
        Scene(
            "scarce",
            "a pool of 12 blocks, so that requests are preempted",
            max_tokens=(16, 16, 16),
            one_process=True,
            engine={
                **ITERATIONS,
                "max_model_len": 128,
                "num_gpu_blocks_override": 12,
            },
            variables=DEBUG,
        ),
        Scene(
            "gpu-sync",
            "a GPU with asynchronous scheduling off: the loop of the CPU scenes",
            device="cuda",
            engine={**ON_CUDA, "async_scheduling": False},
            variables=DEBUG,
        ),
        Scene(
            "gpu-default",
            "a GPU with the defaults: another loop",
            device="cuda",
            engine=ON_CUDA,
            variables=DEBUG,
        ),
    )
}


def prompts(encode: Callable[[str], Sequence[int]]) -> list[list[int]]:
    r"""The three prompts as token ids: 40, 100 and 41 tokens.

    Raises `ValueError` when a tokenizer makes fewer tokens of a text than its prompt needs.
    """
    first = _cut(encode(TEXT_0), 40)
    return [first, _cut(encode(TEXT_1), 100), first[:32] + _cut(encode(TEXT_2), 9)]


def _cut(tokens: Sequence[int], length: int) -> list[int]:
    if len(tokens) < length:
        raise ValueError(f"the text has {len(tokens)} tokens, the prompt needs {length}")
    return list(tokens[:length])
