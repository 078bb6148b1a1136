r"""How can a model of 4 million parameters show what a model of 100 million costs?

A small model is ruled by overheads. Its weights fit into a cache and its matrix products are over
before the call that started them has paid for itself, so little that it shows about batching or
speculation carries over to a model that has to fetch its weights at every step. A large model with
random weights has the right cost and no sense: no draft can guess it.

Widening gives both. A feed-forward layer computes

$$y = W_\text{down}\,\bigl(\operatorname{silu}(W_\text{gate}\,x) \odot W_\text{up}\,x\bigr),$$

a sum over intermediate channels, each of which contributes one column of $W_\text{down}$. Add
channels whose column is zero, and $y$ stays what it was, whatever their rows of $W_\text{gate}$ and
$W_\text{up}$ hold. Those rows are drawn like the trained ones, so that no kernel can profit from
zeros; every one of them is read and multiplied at each step.

The new terms are exact zeros. What can still differ is rounding: a longer sum may be taken in
another order. So the outputs agree to float32's precision rather than to the bit, and
`tests/model/test_widen.py` states by how much.

    python -m book.model.widen book/model/checkpoint _build/model/wide
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig

INTERMEDIATE_SIZE = 32_000  # 100M parameters on the book's model
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def widen_tensors(
    tensors: dict[str, Tensor], intermediate_size: int, seed: int = 0
) -> dict[str, Tensor]:
    r"""The same function with `intermediate_size` channels in each feed-forward layer.

    `gate_proj` and `up_proj` are `[intermediate, hidden]` and get random rows; `down_proj` is
    `[hidden, intermediate]` and gets zero columns. All other tensors are passed on as they are,
    and none of the given ones is written to. Raises `ValueError` where the layers are already
    wider.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _widen(name, tensor, intermediate_size, generator)
        for name, tensor in sorted(tensors.items())
    }


def _widen(name: str, tensor: Tensor, size: int, generator: torch.Generator) -> Tensor:
    if name.endswith(("gate_proj.weight", "up_proj.weight")):
        extra = _extra(name, size, tensor.shape[0])
        spread = tensor.float().std()
        rows = torch.randn(extra, tensor.shape[1], generator=generator) * spread
        return torch.cat([tensor, rows.to(tensor.dtype)])
    if name.endswith("down_proj.weight"):
        extra = _extra(name, size, tensor.shape[1])
        return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], extra)], dim=1)
    return tensor


def _extra(name: str, size: int, present: int) -> int:
    if size < present:
        raise ValueError(f"{name} has {present} channels; it cannot be widened to {size}")
    return size - present


def widen(
    source: Path, destination: Path, intermediate_size: int = INTERMEDIATE_SIZE, seed: int = 0
) -> int:
    r"""Write the widened copy of the checkpoint at `source`; returns its number of parameters."""
    config = AutoConfig.from_pretrained(source)
    tensors = widen_tensors(load_file(source / "model.safetensors"), intermediate_size, seed)
    config.intermediate_size = intermediate_size
    destination.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(destination)
    path = destination / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, destination / name)
    return sum(tensor.numel() for tensor in tensors.values())


def main() -> None:
    r"""Widen a checkpoint from the command line."""
    parser = argparse.ArgumentParser(prog="python -m book.model.widen", description=main.__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--intermediate-size", type=int, default=INTERMEDIATE_SIZE)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count = widen(
        arguments.source, arguments.destination, arguments.intermediate_size, arguments.seed
    )
    print(f"{arguments.destination}: {count:,} parameters")


if __name__ == "__main__":
    main()
