"""Is the engine on a GPU the engine that it is on a CPU?

The CPU is the oracle. Marked `gpu`: `nox -s labs_gpu` runs these where there is a CUDA device, and
names them where there is none.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from mini_vllm import LLM, SamplingParams  # noqa: E402

CHECKPOINT = str(Path(__file__).parents[2] / "book" / "model" / "checkpoint")
PROMPTS = [
    "def schedule(self",
    "class BlockPool:\n    def __init__(",
    "import torch\nfrom torch import nn\n",
    "        return self.",
    "# The block table of a request",
    "    @property\n    def num_tokens(self)",
]
NUM_TOKENS = 32
#: Between the two best log-probabilities of the oracle: nearer ones may change places, since a
#: device rounds its products in its own way.
EPSILON = 1e-3
#: Scores against the oracle's in the same type, by type: rounding of the inputs to the products
#: (8 bits of fraction in bfloat16, 11 in float16) over a few layers, with a factor of four in hand.
TOLERANCE = {"float32": 2e-3, "float16": 6e-2, "bfloat16": 4e-1}
SETTINGS = {
    "plain": {},
    "chunks of 5": {"max_num_batched_tokens": 8, "max_num_seqs": 8},
    "no prefix cache": {"enable_prefix_caching": False},
    "a pool that runs dry": {"num_gpu_blocks_override": 12, "block_size": 4, "max_model_len": 44},
    "blocks of 64": {"block_size": 64},
}

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: nox -s labs_gpu on a machine that has one")


def engine(device: str, **settings: Any) -> LLM:
    settings = {"dtype": "float32", "max_model_len": 256, "device": device} | settings
    settings.setdefault("num_gpu_blocks_override", 256)
    return LLM(model=CHECKPOINT, **settings)


def answers(llm: LLM, **params: Any) -> list[Any]:
    params = {"temperature": 0, "max_tokens": NUM_TOKENS, "ignore_eos": True} | params
    return [out.outputs[0] for out in llm.generate(PROMPTS, SamplingParams(**params))]


@pytest.fixture(scope="module")
def oracle() -> list[Any]:
    return answers(engine("cpu", attention_backend="torch_reference"), logprobs=2)


def assert_same_text(ours: Any, oracle: Any, where: str) -> None:
    """Token for token, or up to a near tie of the oracle."""
    for place, (a, b) in enumerate(zip(ours.token_ids, oracle.token_ids, strict=True)):
        if a != b:
            best, second = sorted(e.logprob for e in oracle.logprobs[place].values())[-2:][::-1]
            assert best - second < EPSILON, f"{where}, token {place}: {a} instead of {b}"
            return


def test_auto_means_the_device() -> None:
    runner = engine("auto").llm_engine.engine_core.executor.model_runner
    assert runner.device.type == "cuda"
    assert runner.kv_caches[0].device.type == "cuda"
    # The loops for the processor must not have been chosen, and the choice says why.
    assert runner.attention_choice.backend.name != "cpu_numba"
    assert runner.attention_choice.reason


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_tokens(name: str, oracle: list[Any]) -> None:
    settings = dict(SETTINGS[name])
    short = settings.get("max_model_len") == 44
    found = answers(engine("cuda", **settings), max_tokens=16 if short else NUM_TOKENS)
    for prompt, ours, theirs in zip(PROMPTS, found, oracle, strict=True):
        if short:
            theirs.token_ids = list(theirs.token_ids)
            assert list(ours.token_ids) == theirs.token_ids[:16], (name, prompt)
        else:
            assert_same_text(ours, theirs, f"{name}, {prompt!r}")


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_scores_of_the_first_token(dtype: str) -> None:
    if dtype == "bfloat16" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("bfloat16 needs compute capability 8.0")
    rows = {}
    for device in ("cpu", "cuda"):
        llm = engine(device, dtype=dtype, attention_backend="torch_reference", max_logprobs=-1)
        rows[device] = [
            torch.tensor([entry[i].logprob for i in sorted(entry)])
            for entry in (out.logprobs[0] for out in answers(llm, max_tokens=1, logprobs=-1))
        ]
    for here, there in zip(rows["cpu"], rows["cuda"], strict=True):
        likely = here > here.max() - 12
        assert (here - there)[likely].abs().max() < TOLERANCE[dtype]


def test_a_seed_is_a_seed_whoever_shares_the_batch() -> None:
    llm = engine("cuda")
    params = {"temperature": 0.8, "top_p": 0.9, "seed": 7}
    together = answers(llm, **params)
    alone = [
        llm.generate([prompt], SamplingParams(max_tokens=NUM_TOKENS, ignore_eos=True, **params))
        for prompt in PROMPTS
    ]
    same = sum(
        list(a.token_ids) == list(b[0].outputs[0].token_ids) for a, b in zip(together, alone)
    )
    # A batch of another size rounds differently, and a draw may fall on the other side of an edge.
    assert same >= len(PROMPTS) - 1


def test_memory_is_asked_of_the_device() -> None:
    llm = LLM(model=CHECKPOINT, dtype="float16", max_model_len=256, max_num_seqs=4, device="cuda")
    pool = llm.llm_engine.engine_core.scheduler.kv_cache_manager.block_pool
    # As many as all requests together could fill, and the null block.
    assert pool.num_gpu_blocks == 4 * 16 + 1


def test_every_combination_of_switches(oracle: list[Any]) -> None:
    for caching, budget, block_size in itertools.product((True, False), (16, 2048), (1, 16)):
        llm = engine(
            "cuda",
            enable_prefix_caching=caching,
            max_num_batched_tokens=budget,
            max_num_seqs=8,
            block_size=block_size,
            num_gpu_blocks_override=1024,
        )
        for prompt, ours, theirs in zip(PROMPTS, answers(llm), oracle, strict=True):
            assert_same_text(ours, theirs, f"{caching} {budget} {block_size} {prompt!r}")
