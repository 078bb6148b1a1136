r"""How does a lab's kernel run on Triton itself, and not on the simulator?

In a process of its own. Triton decides when it is first imported whether it interprets, so one
process can do one of the two; and an address outside of an array ends the process, which must not
be the one that runs the tests.

There are two sides. A lab's tests call {py:func}`ask`, which runs the lab's `on_triton.py` on the
file under judgment. That script says what to compare and what to compile, and leaves the rest to
{py:func}`answer`. Torch and Triton are imported on that side alone, so a lab's tests can import
this module where neither is installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from labkit import machine

if TYPE_CHECKING:
    import torch

SECONDS = 120
#: In the rows of a table, behind a request's own blocks: no cache is that large.
NOT_A_BLOCK = 10**6


def ask(script: Path, impl: ModuleType, device: str) -> dict[str, Any]:
    r"""What a lab's `on_triton.py` prints about the file under judgment.

    `device` is `cpu` for Triton's interpreter, `cuda` for the compiled kernels on a GPU, or
    `compile` for the compiler alone, which needs no device. Skips the test, with the reason, where
    Triton or torch is not installed; fails it with the last words of a process that ends badly.
    """
    if missing := machine.missing(("triton", "torch")):
        pytest.skip(f"Triton's own run needs {', '.join(missing)}: pip install -e '.[triton]'")
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    variables = {
        "LAB_TRITON": "1",
        "TRITON_INTERPRET": "1" if device == "cpu" else "0",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    process = subprocess.run(
        [sys.executable, str(script), str(impl.__file__), device],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if process.returncode != 0:
        raise AssertionError(process.stderr[-2000:])
    return json.loads(process.stdout.splitlines()[-1])


def answer(
    arguments: Sequence[str],
    *,
    compared: Callable[[ModuleType, str], Mapping[str, Any]],
    compiled: Callable[[ModuleType], Mapping[str, Any]],
) -> None:
    r"""The other side: print one line of JSON about the file and the device in `arguments`.

    For `compile` it has what `compiled` says of the implementation. For a device it has the
    device's name, whether the kernels were interpreted, versions, and what `compared` says of
    implementation and device.
    """
    import torch
    import triton

    path, device = arguments
    impl = _load(Path(path).resolve())
    if device == "compile":
        print(json.dumps({"compiled": compiled(impl)}))
        return
    told = {
        "device": platform.machine() if device == "cpu" else torch.cuda.get_device_name(),
        "interpreted": bool(triton.knobs.runtime.interpret),
        "versions": {"triton": triton.__version__, "torch": torch.__version__},
        **compared(impl, device),
    }
    print(json.dumps(told))


def _load(path: Path) -> ModuleType:
    """The implementation under judgment, which finds `LAB_TRITON` in its environment."""
    spec = importlib.util.spec_from_file_location("lab_on_triton", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["lab_on_triton"] = module
    spec.loader.exec_module(module)
    return module


def machine_code(
    kernel: Any, signature: Mapping[str, str], constants: Mapping[str, Any], capability: int
) -> Mapping[str, Any]:
    r"""What Triton's compiler makes of a kernel, stage by stage: `["ptx"]`, `["cubin"]` and others.

    `signature` has a type for each parameter, `constexpr` for those whose values are in
    `constants`; `capability` is the generation of the device, 90 for sm_90. No device is needed.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(kernel, dict(signature), dict(constants))
    return triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm


def block_tables(
    lengths: Sequence[int], block_size: int, draw: torch.Generator
) -> tuple[torch.Tensor, int]:
    r"""Blocks for texts of these lengths, in any order: `[num_requests, max_blocks]`, and how many.

    The cache has two blocks that nobody owns, and each row ends in what is no block.
    """
    import torch

    counts = [-(-length // block_size) for length in lengths]
    order = torch.randperm(sum(counts) + 2, generator=draw)
    tables = torch.full((len(lengths), max(counts) + 1), NOT_A_BLOCK)
    for row, own in enumerate(order[: sum(counts)].split(counts)):
        tables[row, : len(own)] = own
    return tables, len(order)


def largest_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    r"""The largest difference of two tensors, on the CPU; infinite where there is a `NaN`."""
    error = (found.cpu().float() - wanted).abs().max().item()
    return error if error == error else float("inf")
