"""Shared parts of the tests of floors 2 and 3: tiny random checkpoints, and an engine to run them.

`PARITY_CASES=N` draws that many random engines and workloads in `test_parity_sweep.py` (a handful
without it), `PARITY_SEED` says from where (`fresh`: from the clock), and `PARITY_RECORD=FILE`
writes what was compared.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

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
from mini_vllm.kernels.selector import select_kernels  # noqa: E402
from mini_vllm.sampling_params import SamplingParams  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

HERE = Path(__file__).parent


def load(name: str) -> ModuleType:
    """A module that lies beside the tests, which are no package."""
    qualified = f"engine_model_{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, HERE / f"{name}.py")
        module = sys.modules[qualified] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[qualified]


checkpoints, oracles, grid = load("checkpoints"), load("oracle"), load("parity_grid")


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
            made[key] = tmp_path_factory.mktemp(key)
            checkpoints.write_checkpoint(
                made[key], *checkpoints.ARCHITECTURES[name], seed=seed, shard_size=shard_size
            )
        return made[key]

    return make


@pytest.fixture(scope="session")
def oracle(make_checkpoint):
    """The oracle of a checkpoint by name, loaded once: `oracle("qwen3").generate(...)`."""
    loaded = {}

    def load(name: str):
        if name not in loaded:
            loaded[name] = oracles.Oracle.load(make_checkpoint(name))
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


def kernels_by_name(name: str):
    """A context in which the runner takes this set of kernels."""
    choose = partial(select_kernels, requested=name)
    return patch("mini_vllm.worker.model_runner.select_kernels", choose)


@dataclass
class Run:
    """What an engine did with some prompts."""

    token_ids: list[list[int]]
    logprobs: list[list]
    num_steps: int = 0
    num_preemptions: int = 0
    num_chunks: int = 0
    num_hit_tokens: int = 0
    num_resumed_hits: int = 0


def run_engine(checkpoint: Path, prompts, params: SamplingParams | list, **settings) -> Run:
    """Give all prompts to a new engine at once, and step it until it is empty."""
    with kernels_by_name(settings.pop("kernels", "auto")):
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
        run.num_chunks += sum(
            core.scheduler.requests[req_id].is_prefill_chunk
            for req_id in orders.num_scheduled_tokens
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


_PARITY = oracles.Parity()


@pytest.fixture(scope="session")
def parity():
    """One counter for the session; more than 1 near-tie in 10,000 tokens fails the session."""
    yield _PARITY
    assert len(_PARITY.near_ties) <= _PARITY.allowed, _PARITY.near_ties


@pytest.fixture
def tools():
    """The functions of this file, for test modules (which cannot import a conftest)."""
    return SimpleNamespace(
        run=run_engine,
        config=engine_config,
        kernels_by_name=kernels_by_name,
        greedy=greedy,
        load=load,
        architectures=checkpoints.ARCHITECTURES,
    )


def pytest_terminal_summary(terminalreporter):
    if _PARITY.total:
        terminalreporter.write_line(_PARITY.summary())
        sweep = load("parity_sweep").RECORD
        if sweep["cases"]:
            last = sweep["first_seed"] + sweep["cases"] - 1
            terminalreporter.write_line(
                f"random engines: seeds {sweep['first_seed']} to {last}, "
                f"{sweep['kept_seeds']} kept ones before them"
            )
        for line in _PARITY.near_ties:
            terminalreporter.write_line("  " + line)


def pytest_sessionfinish(session, exitstatus):
    path = os.environ.get("PARITY_RECORD")
    if path and _PARITY.total and exitstatus == 0:
        _PARITY.write(Path(path), grid=grid.describe(), sweep=load("parity_sweep").RECORD)
