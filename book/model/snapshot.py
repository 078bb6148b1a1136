r"""What does a run need to go on after an interruption?

The weights, the optimizers' memory and the number of steps taken. Nothing else: the batches are
addressed by step and the schedule by tokens, so the run that resumes is the run that was cut. All
of it are tensors, so the file is safetensors too; a snapshot that executes code when it is loaded
(which a pickle does) is not needed even here.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from book.model.optimizer import Optimizer


@dataclass(frozen=True)
class Past:
    r"""What lies behind a run: steps taken, and the seconds that they cost."""

    step: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0


def save(path: Path, model: nn.Module, optimizer: Optimizer, past: Past) -> None:
    r"""Write a snapshot beside `path`, then rename it: a cut never leaves half a file there."""
    tensors = {f"model/{name}": value.detach() for name, value in model.named_parameters()}
    tensors |= {f"optimizer/{name}": value for name, value in optimizer.state().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    save_file(tensors, partial, metadata={key: str(value) for key, value in asdict(past).items()})
    os.replace(partial, path)


def load(path: Path, model: nn.Module, optimizer: Optimizer) -> Past:
    r"""Put a snapshot back into the model and the optimizer; returns what it says of the past."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model/{name}"])
    prefix = "optimizer/"
    optimizer.load_state(
        {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    )
    return Past(int(metadata["step"]), float(metadata["wall_s"]), float(metadata["cpu_s"]))
