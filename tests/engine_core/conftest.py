"""What the tests of the torch-free floors share: small builders, and a tokenizer of bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mini_vllm.config import CacheConfig, SchedulerConfig
from mini_vllm.core.model_runner_output import ModelRunnerOutput
from mini_vllm.core.request import Request
from mini_vllm.core.scheduler import Scheduler
from mini_vllm.core.scheduler_output import SchedulerOutput
from mini_vllm.engine.llm_engine import LLMEngine
from mini_vllm.invariants import check
from mini_vllm.observe.audit import Audit
from mini_vllm.outputs import RequestOutput
from mini_vllm.sampling_params import SamplingParams

# What several of these tests share is imported from this folder: `pinned_scheduler`, the checks.
if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))


class ByteTokenizer:
    """Ids 0 to 255 are bytes, 256 ends an answer: a tokenizer in which characters fall apart."""

    eos_token_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        text = bytes(t for t in token_ids if t < 256).decode(errors="replace")
        special = "" if skip_special_tokens else "<eos>" * sum(t == 256 for t in token_ids)
        return text + special


class HandDrivenScheduler(Scheduler):
    """A scheduler whose model answers token 7 and whose every state is checked."""

    def plan(self) -> SchedulerOutput:
        output = self.schedule()
        self.check()
        return output

    def update(self, output: SchedulerOutput, token: int = 7) -> list[str]:
        """Answer the orders as a model runner would; return the ids that finished."""
        ids = list(output.num_scheduled_tokens)
        sampled = [
            [token]
            if req_id in self.requests and not self.requests[req_id].is_prefill_chunk
            else []
            for req_id in ids
        ]
        result = ModelRunnerOutput(ids, {r: i for i, r in enumerate(ids)}, sampled)
        news = self.update_from_output(output, result)
        self.check()
        return [one.request_id for one in news if one.finished]

    def step(self) -> SchedulerOutput:
        output = self.plan()
        self.update(output)
        return output

    def check(self) -> None:
        check(self.kv_cache_manager.block_pool, self.kv_cache_manager, self)

    def add(
        self,
        req_id: str,
        prompt: int | Sequence[int],
        max_tokens: int = 16,
        priority: int = 0,
        arrival_time: float = 0.0,
        **params: object,
    ) -> Request:
        """Add a request; a number stands for that many tokens that nobody else has."""
        if isinstance(prompt, int):
            base = 1000 * (1 + len(self.requests)) + hash(req_id) % 997 * 100_000
            prompt = range(base, base + prompt)
        request = Request(
            req_id,
            list(prompt),
            SamplingParams(max_tokens=max_tokens, **params),
            arrival_time,
            priority,
        )
        self.add_request(request)
        return request


@pytest.fixture
def make_scheduler() -> Callable[..., HandDrivenScheduler]:
    def make(
        num_gpu_blocks: int = 100,
        block_size: int = 4,
        enable_prefix_caching: bool = True,
        max_model_len: int = 256,
        **scheduler: object,
    ) -> HandDrivenScheduler:
        return HandDrivenScheduler(
            SchedulerConfig(max_model_len=max_model_len, **scheduler),
            CacheConfig(block_size=block_size, enable_prefix_caching=enable_prefix_caching),
            num_gpu_blocks,
        )

    return make


@pytest.fixture
def make_engine() -> Callable[..., LLMEngine]:
    return LLMEngine.from_scripted


@pytest.fixture(scope="session")
def byte_tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture
def run() -> Callable[..., dict[str, RequestOutput]]:
    """Step an engine to its end under audit; return the last output of each request."""

    def run(engine: LLMEngine, max_steps: int = 2000) -> dict[str, RequestOutput]:
        ends: dict[str, RequestOutput] = {}
        with Audit(engine):
            for _ in range(max_steps):
                if not engine.has_unfinished_requests():
                    # The last, empty step tells the runner who has ended.
                    engine.step()
                    return ends
                for output in engine.step():
                    if output.finished:
                        ends[output.request_id] = output
        raise AssertionError(f"not finished after {max_steps} steps")

    return run
