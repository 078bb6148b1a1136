"""A victim that had been given tokens in its last step leaves no name on a block it did not write.

Under priorities a victim may stand before the request that needs its block, with tokens granted in
this very step. The blocks that those tokens were to fill are findable already. Nobody will write
them. At the pin the names stay; `ScriptedModelRunner` notices whoever reads such a block, because
it keeps what was really written.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_vllm import LLMEngine, SamplingParams
from mini_vllm.core.kv_cache_manager import KVCacheManager
from mini_vllm.errors import InvariantError


def run(policy: str = "priority", threshold: int = 8, low: int = 38, high: int = 7) -> LLMEngine:
    engine = LLMEngine.from_scripted(
        default=lambda place: 1000 + place,
        block_size=4,
        num_gpu_blocks=11,
        max_model_len=64,
        max_num_batched_tokens=20,
        max_num_seqs=3,
        long_prefill_token_threshold=threshold,
        policy=policy,
    )

    def add(name: str, prompt: range, answer: int, priority: int, arrival: float) -> None:
        params = SamplingParams(temperature=0, max_tokens=answer)
        ids = {"prompt_token_ids": list(prompt)}
        engine.add_request(name, ids, params, arrival, priority if policy == "priority" else 0)

    add("low", range(100, 100 + low), 2, 9, 0.0)
    engine.step()
    add("high", range(200, 200 + high), 4, 0, 1.0)
    while engine.has_unfinished_requests():
        engine.step()
    return engine


def test_the_victim_does_not_find_what_it_never_wrote() -> None:
    run()


def test_without_the_line_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KVCacheManager, "forget_uncomputed", lambda self, request: None)
    with pytest.raises(InvariantError, match="holds something else"):
        run()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 12),
    st.integers(1, 38),
    st.integers(1, 12),
    st.sampled_from(["priority", "fcfs"]),
)
def test_nobody_ever_reads_what_was_not_written(
    threshold: int, low: int, high: int, policy: str
) -> None:
    run(policy, threshold, low, high)
