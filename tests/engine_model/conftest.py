"""Shared parts of the tests of floors 2 and 3: tiny random checkpoints, and an engine to run them.

The oracle of the whole folder is transformers, greedy and in fp32, one unpadded prompt at a time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# A test machine's cores are shared; two threads on one core measure the neighbour.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from mini_vllm.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig  # noqa: E402
from mini_vllm.core.engine_core_request import EngineCoreRequest  # noqa: E402
from mini_vllm.engine.core import EngineCore  # noqa: E402
from mini_vllm.engine.executor import Executor  # noqa: E402
from mini_vllm.sampling_params import SamplingParams  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

#: Below this gap between the oracle's two best logits, rounding may decide. A product of fp32
#: matrices of this size is off by a few 1e-6; logits here span several units.
EPSILON = 1e-4

_SMALL = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    # Wide enough that a random model does not say one token for ever.
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


def _rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


#: name -> (config class, changes to the small shape)
ARCHITECTURES = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "llama-tied-wide-heads": ("LlamaConfig", {"tie_word_embeddings": True, "head_dim": 48}),
    "llama-one-kv-head": ("LlamaConfig", {"num_key_value_heads": 1, "num_hidden_layers": 3}),
    "llama-biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "llama-rope-linear": ("LlamaConfig", _rope("linear", factor=4.0)),
    "llama-rope-dynamic": ("LlamaConfig", _rope("dynamic", factor=2.0)),
    "llama-rope-llama3": (
        "LlamaConfig",
        _rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
    ),
    "llama-rope-yarn": (
        "LlamaConfig",
        _rope("yarn", factor=4.0, original_max_position_embeddings=64),
    ),
    "qwen2": ("Qwen2Config", {}),
    "qwen2-windows": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 32, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"sliding_window": 11}),
    "mistral-no-window": ("MistralConfig", {"sliding_window": None, "head_dim": 16}),
}


@pytest.fixture(autouse=True)
def _inference():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    """Write a tiny random checkpoint once a session: `make_checkpoint("qwen3") -> Path`."""
    made: dict[str, Path] = {}

    def make(name: str, *, shard_size: str | None = None, seed: int = 0) -> Path:
        key = f"{name}-{shard_size}-{seed}"
        if key not in made:
            class_name, changes = ARCHITECTURES[name]
            config = getattr(transformers, class_name)(**{**_SMALL, **changes})
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for parameter_name, parameter in model.named_parameters():
                    # Norm weights and biases start as constants; a test needs them to differ.
                    if parameter.dim() == 1:
                        center = 0.0 if parameter_name.endswith("bias") else 1.0
                        parameter.copy_(center + 0.3 * torch.randn_like(parameter))
            directory = tmp_path_factory.mktemp(key)
            limit = {"max_shard_size": shard_size} if shard_size else {}
            model.eval().save_pretrained(directory, **limit)
            made[key] = directory
        return made[key]

    return make


@dataclass
class Oracle:
    """transformers on one checkpoint: greedy continuations, and logits."""

    model: object
    _answers: dict[tuple, list[int]] = field(default_factory=dict)

    def generate(self, prompt: list[int], num_tokens: int) -> list[int]:
        key = (tuple(prompt), num_tokens)
        if key not in self._answers:
            with torch.no_grad():
                out = self.model.generate(
                    torch.tensor([prompt]),
                    attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                    max_new_tokens=num_tokens,
                    min_new_tokens=num_tokens,
                    do_sample=False,
                    eos_token_id=None,
                    pad_token_id=0,
                )
            self._answers[key] = out[0, len(prompt) :].tolist()
        return self._answers[key]

    def logits(self, tokens: list[int]):
        """Scores after each position of one sequence, `[len(tokens), vocab_size]`."""
        with torch.no_grad():
            return self.model(torch.tensor([tokens])).logits[0].float()

    def gap(self, tokens: list[int]) -> float:
        """How far the best token is ahead of the second after `tokens`."""
        best, second = self.logits(tokens)[-1].topk(2).values.tolist()
        return best - second


@pytest.fixture(scope="session")
def oracle(make_checkpoint):
    """The oracle of a checkpoint by name, loaded once: `oracle("qwen3").generate(...)`."""
    loaded: dict[str, Oracle] = {}

    def load(name: str) -> Oracle:
        if name not in loaded:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                make_checkpoint(name), dtype=torch.float32, attn_implementation="eager"
            )
            loaded[name] = Oracle(model.eval())
        return loaded[name]

    return load


def engine_config(checkpoint: Path, **settings) -> EngineConfig:
    """A config from flat settings, with the defaults of a small test."""
    model = ModelConfig.from_checkpoint(
        checkpoint,
        dtype=settings.pop("dtype", "float32"),
        max_model_len=settings.pop("max_model_len", None),
        seed=settings.pop("seed", 0),
    )
    cache = CacheConfig(
        block_size=settings.pop("block_size", 16),
        num_gpu_blocks=settings.pop("num_gpu_blocks", 400),
        enable_prefix_caching=settings.pop("enable_prefix_caching", True),
    )
    backend = settings.pop("attention_backend", "auto")
    scheduler = SchedulerConfig(max_model_len=model.max_model_len, **settings)
    return EngineConfig(
        model_config=model,
        scheduler_config=scheduler,
        cache_config=cache,
        device="cpu",
        attention_backend=backend,
    )


@dataclass
class Run:
    """What an engine did with some prompts."""

    token_ids: list[list[int]]
    logprobs: list[list]
    num_steps: int = 0
    num_preemptions: int = 0
    num_hit_tokens: int = 0
    num_resumed_hits: int = 0


def run_engine(checkpoint: Path, prompts, params: SamplingParams | list, **settings) -> Run:
    """Give all prompts to a new engine at once, and step it until it is empty."""
    config = engine_config(checkpoint, **settings)
    core = EngineCore(config, Executor(config))
    if isinstance(params, SamplingParams):
        params = [params] * len(prompts)
    for i, (prompt, one) in enumerate(zip(prompts, params, strict=True)):
        core.add_request(EngineCoreRequest(str(i), list(prompt), one.clone(), float(i)))
    run = Run([[] for _ in prompts], [[] for _ in prompts])
    schedule = core.scheduler.schedule

    def watched():
        orders = schedule()
        run.num_preemptions += len(orders.preempted_req_ids)
        cached = orders.scheduled_cached_reqs
        run.num_resumed_hits += sum(
            computed > 0 and req_id in cached.resumed_req_ids
            for req_id, computed in zip(cached.req_ids, cached.num_computed_tokens)
        )
        run.num_hit_tokens += sum(new.num_computed_tokens for new in orders.scheduled_new_reqs)
        return orders

    core.scheduler.schedule = watched
    while core.scheduler.has_requests():
        run.num_steps += 1
        for news in core.step():
            run.token_ids[int(news.request_id)].extend(news.new_token_ids)
            run.logprobs[int(news.request_id)].extend(news.new_logprobs or ())
    return run


def greedy(num_tokens: int, **more) -> SamplingParams:
    """Exactly `num_tokens` tokens, the best one each time."""
    return SamplingParams(temperature=0.0, max_tokens=num_tokens, ignore_eos=True, **more)


class Parity:
    """Compares tokens with the oracle's, and counts the near-ties that it lets pass."""

    def __init__(self) -> None:
        self.compared = 0
        self.near_ties: list[str] = []

    def check(self, oracle: Oracle, prompts, answers, label: str) -> None:
        for prompt, answer in zip(prompts, answers, strict=True):
            expected = oracle.generate(list(prompt), len(answer))
            self.compared += len(answer)
            if answer == expected:
                continue
            place = next(i for i, (a, b) in enumerate(zip(answer, expected)) if a != b)
            gap = oracle.gap([*prompt, *expected[:place]])
            message = (
                f"{label}: prompt of {len(prompt)}, token {place}: {answer[place]} instead of "
                f"{expected[place]}, oracle's gap {gap:.2e}"
            )
            assert gap < EPSILON, message
            self.near_ties.append(message)

    @property
    def allowed(self) -> int:
        return self.compared // 10_000


_PARITY = Parity()


@pytest.fixture(scope="session")
def parity():
    """One counter for the session; more than 1 near-tie in 10,000 tokens fails the session."""
    yield _PARITY
    assert len(_PARITY.near_ties) <= _PARITY.allowed, _PARITY.near_ties


@pytest.fixture
def tools():
    """The functions of this file, for test modules (which cannot import a conftest)."""
    from types import SimpleNamespace

    return SimpleNamespace(
        run=run_engine, config=engine_config, greedy=greedy, architectures=ARCHITECTURES
    )


def pytest_terminal_summary(terminalreporter):
    if _PARITY.compared:
        terminalreporter.write_line(
            f"parity with transformers: {_PARITY.compared} tokens compared, "
            f"{len(_PARITY.near_ties)} near-ties (gap below {EPSILON:g}), "
            f"{_PARITY.allowed} allowed"
        )
        for line in _PARITY.near_ties:
            terminalreporter.write_line("  " + line)
