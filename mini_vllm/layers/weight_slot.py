r"""How can a loader know that it forgot something?

By counting from both sides. A checkpoint is a set of named tensors; a model is a set of
parameters; and the two do not match one to one, because three projections that read the same
input (queries, keys, values) are kept here as one matrix, so that one product serves all three. A
loader that walks the checkpoint and copies what it recognises will load *nothing* from a
checkpoint whose names differ by a prefix, report success, and generate noise. That happened to a
peer of this engine, and the text looked almost like text.

So every layer publishes its {py:class}`WeightSlot`s: under which name a tensor will come, and
which rows of which parameter it fills. The table is complete before a byte is read, and then two
questions are simple: is every slot filled, and is every tensor used? {py:func}`check_cover` asks a
third, of the layers themselves: does each element of each parameter belong to exactly one slot?

Upstream attaches a `weight_loader` to each parameter and keeps the map from names to fused
parameters in each model ({up}`vllm/model_executor/models/llama.py#LlamaModel.load_weights`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class WeightSlot:
    r"""Rows `start` to `start + length` of a parameter, waiting for one tensor of a checkpoint."""

    parameter: nn.Parameter
    start: int
    length: int

    @classmethod
    def whole(cls, parameter: nn.Parameter) -> WeightSlot:
        """The slot of a tensor that fills a parameter by itself."""
        return cls(parameter, 0, parameter.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the tensor must have."""
        return (self.length, *self.parameter.shape[1:])

    def fill(self, tensor: torch.Tensor) -> None:
        """Copy `tensor` into its rows, converting its type to the parameter's."""
        with torch.no_grad():
            self.parameter[self.start : self.start + self.length].copy_(tensor)


def named_slots(model: nn.Module) -> dict[str, WeightSlot]:
    r"""All slots of a model by the name of the tensor that fills each.

    Asks every module that has a method `weight_slots(name)`, where `name` is the module's path in
    the model. Raises `ValueError` when two slots claim one name.
    """
    slots: dict[str, WeightSlot] = {}
    for name, module in model.named_modules():
        publish = getattr(module, "weight_slots", None)
        if publish is None:
            continue
        for tensor_name, slot in publish(name).items():
            if tensor_name in slots:
                raise ValueError(f"two parameters claim the tensor {tensor_name}")
            slots[tensor_name] = slot
    return slots


def check_cover(model: nn.Module, slots: Mapping[str, WeightSlot]) -> None:
    r"""Raise `ValueError` unless every row of every parameter belongs to exactly one slot.

    A parameter shared by two layers counts once. A tensor that a layer holds and never
    registered as a parameter cannot be seen from here; a test looks for those.
    """
    claimed = {id(p): torch.zeros(p.shape[0], dtype=torch.int32) for p in model.parameters()}
    for slot in slots.values():
        claimed[id(slot.parameter)][slot.start : slot.start + slot.length] += 1
    for name, parameter in model.named_parameters():
        if not bool((claimed[id(parameter)] == 1).all()):
            raise ValueError(f"the slots do not cover each row of {name} exactly once")
