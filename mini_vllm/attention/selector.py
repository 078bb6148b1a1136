r"""Which attention ran, and why not the other one?

The question is asked whenever two machines disagree on speed, so the answer is kept: the choice
carries its reason, and each backend that was passed over carries all that stood against it. Print
it, and it explains itself. The start-up does:

```console
$ mini_vllm generate book/model/checkpoint --prompt "def schedule(self" --max-tokens 4
[Using cpu_numba attention backend: the first of cpu_numba, torch_reference that fits]
```

`mini_vllm serve` says the same, from the process of its engine.

The rule is the one that {up}`vllm/platforms/cuda.py#CudaPlatformBase.get_attn_backend_cls`
applies. A backend asked for by name must fit, or the start fails with all reasons. Otherwise the
platform has an order, and the first that fits wins.

## The order on a GPU

At the pin, a device of compute capability 10.x (data-centre Blackwell) tries FlashInfer first and
any other tries FlashAttention first; Triton comes third in both
({up}`vllm/platforms/cuda.py#_get_backend_priorities`). {py:func}`priorities` follows that. Two
things differ by nature. Upstream ships its own build of FlashAttention, while here a backend that
lives in a package of its own is used where that package happens to be installed. And behind Triton
stands the oracle, where upstream's list goes on with FlexAttention and TurboQuant.

On a CPU the compiled loops come first. Triton is not in that list. Its interpreter runs there, and
may be asked for by name in a process that was started with `TRITON_INTERPRET=1`, which is what the
tests do.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field

from mini_vllm.attention.backend import AttentionBackend, AttentionSelectorConfig
from mini_vllm.errors import ConfigError

#: Where each backend lives. A module is imported when its backend is considered, not before.
BACKENDS: dict[str, str] = {
    "cpu_numba": "mini_vllm.attention.cpu_numba:CpuNumbaBackend",
    "flash_attention": "mini_vllm.attention.flash_attention:FlashAttentionBackend",
    "flashinfer": "mini_vllm.attention.flashinfer:FlashInferBackend",
    "torch_static": "mini_vllm.attention.torch_static:TorchStaticBackend",
    "torch_reference": "mini_vllm.attention.torch_reference:TorchReferenceBackend",
    "triton": "mini_vllm.attention.triton_attention:TritonAttentionBackend",
}


def priorities(device_type: str, capability: tuple[int, int] | None = None) -> tuple[str, ...]:
    r"""Names of backends in the order in which "auto" tries them on such a device.

    `capability` is a CUDA device's compute capability; where it is not known, the order is that of
    most devices.
    """
    if device_type != "cuda":
        return ("cpu_numba", "torch_reference")
    if capability is not None and capability[0] == 10:
        return ("flashinfer", "flash_attention", "triton", "torch_reference")
    return ("flash_attention", "flashinfer", "triton", "torch_reference")


@dataclass(frozen=True)
class AttentionChoice:
    """The backend that was chosen, why, and all that stood against each one tried before it."""

    backend: AttentionBackend
    reason: str
    passed_over: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return "; ".join(self.lines())

    def lines(self) -> list[str]:
        r"""What a start-up says: one line for each backend passed over, and who is used, and why.

        Upstream's line for the last,
        {up}`log:"attention backend out of potential backends"`, names those that would have fitted
        as well, and hides what stood against the others at debug level.
        """
        lines = [f"Not {name}: {', '.join(why)}" for name, why in self.passed_over.items()]
        return [*lines, f"Using {self.backend.name} attention backend: {self.reason}"]


def backend_class(name: str) -> type[AttentionBackend]:
    r"""The class of the backend called `name`.

    Raises {py:class}`~mini_vllm.errors.ConfigError` for a name that is not in {py:data}`BACKENDS`,
    and `ModuleNotFoundError` where its module needs a package that is missing.
    """
    if name not in BACKENDS:
        raise ConfigError(
            f"unknown attention backend {name!r}: choose auto, {', '.join(sorted(BACKENDS))}"
        )
    module, _, symbol = BACKENDS[name].partition(":")
    return getattr(importlib.import_module(module), symbol)


def obstacles_to(name: str, config: AttentionSelectorConfig) -> list[str]:
    """Every reason against the backend called `name`; empty if it fits."""
    try:
        return backend_class(name).validate_configuration(config)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("mini_vllm"):
            raise
        return [f"{error.name} is not installed"]


def select_attention_backend(
    config: AttentionSelectorConfig, requested: str = "auto"
) -> AttentionChoice:
    r"""The backend for a model of this `config`.

    `requested` is `"auto"` or a name of {py:data}`BACKENDS`; an unknown name, or a known one that
    does not fit, is a {py:class}`~mini_vllm.errors.ConfigError` that says why.
    """
    if requested not in ("auto", *BACKENDS):
        backend_class(requested)
    if requested != "auto":
        reasons = obstacles_to(requested, config)
        if reasons:
            raise ConfigError(
                f"attention backend {requested!r} cannot be used: {', '.join(reasons)}"
            )
        return AttentionChoice(backend_class(requested)(), "asked for by name")
    order = priorities(config.device.type, config.compute_capability)
    passed_over: dict[str, list[str]] = {}
    for name in order:
        passed_over[name] = obstacles_to(name, config)
        if not passed_over[name]:
            del passed_over[name]
            why = f"the first of {', '.join(order)} that fits"
            return AttentionChoice(backend_class(name)(), why, passed_over)
    against = "; ".join(f"{name}: {', '.join(why)}" for name, why in passed_over.items())
    raise ConfigError(f"no attention backend fits: {against}")
