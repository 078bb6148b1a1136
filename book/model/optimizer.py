r"""Two optimizers, because a model has two kinds of parameters.

A matrix in the middle of the network maps one space to another, and what matters about its update
is what it does to every direction of the input at once. A plain gradient moves a few directions a
lot and most of them hardly. Muon orthogonalises the momentum, so that all of them move by the same
amount. The embedding and the norms' gains are not such maps (a row of the embedding is touched only
when its token occurs), so they keep AdamW, which scales each number by itself.
"""

from __future__ import annotations

import torch
from torch import nn

from book.model.recipe import Recipe


def schedule(progress: float, recipe: Recipe) -> float:
    r"""The learning rate's factor when a share `progress` (0 to 1) of the tokens is behind.

    Never zero before the end: a step with factor 0 would be thrown away.
    """
    if progress < recipe.warmup_share:
        return progress / recipe.warmup_share
    return min(1.0, (1.0 - progress) / recipe.decay_share)


class Optimizer:
    r"""Muon and AdamW behind one `step`; `named` says which parameter is where."""

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.recipe = recipe
        named = dict(model.named_parameters())
        self.matrices = {
            name: parameter
            for name, parameter in named.items()
            if parameter.ndim == 2 and "embed" not in name
        }
        self.vectors = {
            name: parameter for name, parameter in named.items() if name not in self.matrices
        }
        self.muon = torch.optim.Muon(
            self.matrices.values(),
            lr=recipe.matrix_lr,
            weight_decay=recipe.matrix_weight_decay,
            momentum=0.95,
            nesterov=True,
        )
        self.adamw = torch.optim.AdamW(
            self.vectors.values(), lr=recipe.vector_lr, betas=(0.9, 0.95), weight_decay=0.0
        )

    def step(self, progress: float) -> float:
        r"""Apply the gradients at this point of the schedule, clear them, return the factor."""
        factor = schedule(progress, self.recipe)
        for optimizer, rate in (
            (self.muon, self.recipe.matrix_lr),
            (self.adamw, self.recipe.vector_lr),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return factor

    def state(self) -> dict[str, torch.Tensor]:
        r"""The optimizers' memory as named tensors, `momentum_buffer.<parameter>` and the like."""
        return {
            f"{key}.{name}": value
            for optimizer, named in ((self.muon, self.matrices), (self.adamw, self.vectors))
            for name, parameter in named.items()
            for key, value in optimizer.state[parameter].items()
        }

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        r"""Put back what `state` returned."""
        for optimizer, named in ((self.muon, self.matrices), (self.adamw, self.vectors)):
            for name, parameter in named.items():
                suffix = f".{name}"
                optimizer.state[parameter] = {
                    key.removesuffix(suffix): value
                    for key, value in state.items()
                    if key.endswith(suffix)
                }
