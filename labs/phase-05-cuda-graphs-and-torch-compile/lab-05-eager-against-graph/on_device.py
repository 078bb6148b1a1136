r"""Eager against graph on a CUDA device, measured with this lab's own code.

    python on_device.py solution.py cuda > capture.json
    python on_device.py solution.py cpu        # no graphs there: eager against eager, as a control

The model is a stack of layers as a decoder has them, without attention, in two bytes a number; its
weights are random. Prints one JSON object: where it ran, and for each size the report, or why there
is none. Every size is measured twice: eager against eager, where the truth is 1, and eager against
graph. Without a CUDA device `cuda` ends with one line, and measures nothing.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

# Layers, hidden size, rows; the last one has kernels long enough to hide their launches.
SIZES = {"cuda": [(28, 1024, 16), (28, 2048, 16), (8, 8192, 256)], "cpu": [(2, 64, 4)]}


def load(path: Path) -> ModuleType:
    r"""The implementation under judgment."""
    spec = importlib.util.spec_from_file_location("lab_on_device", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def stack(layers: int, hidden: int, rows: int, device: str) -> tuple[Callable[[], None], Tensor]:
    r"""A call that runs the layers on a fixed input, and the tensor that it writes to."""
    draw = torch.Generator(device).manual_seed(0)
    dtype = torch.bfloat16

    def matrix(height: int, width: int) -> Tensor:
        made = torch.randn(height, width, generator=draw, device=device) * height**-0.5
        return made.to(dtype)

    weights = [
        (matrix(hidden, hidden), matrix(hidden, 6 * hidden), matrix(3 * hidden, hidden))
        for _ in range(layers)
    ]
    inputs = torch.randn(rows, hidden, generator=draw, device=device).to(dtype)
    output = torch.empty_like(inputs)

    def run() -> None:
        x = inputs
        for mix, up, down in weights:
            x = x + rms_norm(x, (hidden,)) @ mix
            gate, value = (rms_norm(x, (hidden,)) @ up).chunk(2, dim=-1)
            x = x + (silu(gate) * value) @ down
        output.copy_(x)

    return run, output


def captured(run: Callable[[], None]) -> Callable[[], None]:
    r"""The same call as one graph; run before, on a side stream, as a capture needs it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


class OnDevice:
    r"""The device, as the lab's measurement sees it."""

    def __init__(self, device: str) -> None:
        self.device = device

    def synchronize(self) -> None:
        r"""Wait for it; a CPU has done everything when a call returns."""
        if self.device == "cuda":
            torch.cuda.synchronize()


def where(device: str) -> dict[str, str]:
    r"""What ran this: device, driver, versions, commit, command."""

    def said(*command: str) -> str:
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
        return found.stdout.strip().splitlines()[0]

    told = {"command": " ".join(sys.argv), "commit": said("git", "rev-parse", "HEAD")}
    told |= {"python": platform.python_version(), "torch": torch.__version__}
    if device == "cuda":
        query = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        told |= {"device": torch.cuda.get_device_name(), "driver": said(*query)}
        told |= {"cuda": str(torch.version.cuda)}
    else:
        told["device"] = platform.machine()
    return told


def compared(
    impl: ModuleType, calls: dict, output: Tensor, plan: tuple, device: OnDevice
) -> dict[str, object]:
    r"""The report on two calls, or why there is none."""
    parts = {
        "spoil": lambda: output.fill_(float("nan")),
        "read": lambda: output.flatten().tolist(),
        "clock": time.perf_counter,
    }
    try:
        found = impl.report(calls, **parts, device=device, plan=plan, limits=impl.Limits())
    except impl.Refused as refusal:
        return {"refused": str(refusal)}
    return found._asdict()


def main(file: str, device: str) -> None:
    r"""Measure every size, and print all that there is to say."""
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no CUDA device; NOTHING was measured")
    impl = load(Path(file).resolve())
    torch.set_grad_enabled(False)
    plan = impl.Plan() if device == "cuda" else impl.Plan(rounds=12, times=3, warmup=3)
    results = []
    for layers, hidden, rows in SIZES[device]:
        run, output = stack(layers, hidden, rows, device)
        pairs = {"again": run} | ({"graph": captured(run)} if device == "cuda" else {})
        for name, call in pairs.items():
            told = {"layers": layers, "hidden": hidden, "rows": rows, "against": name}
            calls = {"eager": run, name: call}
            results.append(told | compared(impl, calls, output, plan, OnDevice(device)))
    print(json.dumps({"where": where(device), "plan": plan._asdict(), "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:])
