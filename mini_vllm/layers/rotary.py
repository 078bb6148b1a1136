r"""How does a model know the order of its tokens, if attention treats them as a set?

By turning them. Cut a head of a query into pairs of numbers, take each pair for a point in a
plane, and turn pair $i$ by the angle $p\,\theta_i$, where $p$ is the token's position. Do the same
to the keys. A dot product of two vectors turned by $p$ and by $q$ depends on $p - q$ only, so
every score sees the *distance* of two tokens, and no score sees where in the text they are
{cite}`su2021roformer`.

The angles per position form a scale from fast to slow, like the hands of a clock:

$$\theta_i = b^{-2i/d}, \qquad i = 0 \ldots d/2 - 1,$$

with base $b$ (`rope_theta`) and head size $d$. The first pair goes round once in $2\pi$ positions,
and the last once in nearly $2\pi b$: at the usual base, further than any text it was trained on.

**Reading further than trained.** A model that never saw position 9,000 never saw the slow hands
where they are then. Scaling changes the clock so that unseen positions look like seen ones. Five
ways occur in checkpoints, and they differ in which hands they slow:

| `rope_type` | what it does to $\theta_i$ |
|---|---|
| `default` | nothing |
| `linear` | divides all by `factor`: every position is squeezed, near ones too |
| `dynamic` | raises the base: the slowest hand covers the longer text, the fastest hardly changes |
| `llama3` | divides the slow hands by `factor`, leaves the fast ones, blends in between |
| `yarn` | the same idea with another blend, and sharpens attention by a constant |

**Two traps.** Which numbers form a pair is a convention: the halves (`d`, `d + head_size / 2`)
here and in every checkpoint that this engine reads, the neighbours (`2d`, `2d + 1`) in some
others. The wrong one gives fluent text about something else. And `dynamic` is not one model but
many: as published, the base depends on the length of the text *so far*, so a key computed early is
turned by another clock than one computed late. A cache cannot follow that, and a shared prefix
could not be shared. Here the base is fixed when the model is built, from the longest text that it
may see; up to the trained context that is the published clock, and beyond it the one that the
published rule has for a text of exactly that length. Upstream fixes it when the model is built,
too, and reads it off the config alone
({up}`vllm/model_executor/layers/rotary_embedding/dynamic_ntk_scaling_rope.py#DynamicNTKScalingRotaryEmbedding`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mini_vllm.errors import CheckpointError
from mini_vllm.kernels.interface import Kernels
from mini_vllm.kernels.torch_kernels import TorchKernels
from mini_vllm.layers.norm import RMSNorm

#: The kinds of rotary embedding that this engine computes.
ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn")


@dataclass(frozen=True)
class RopeParameters:
    r"""Everything in a checkpoint's config that decides how fast the hands turn.

    Which fields matter depends on `rope_type`; `trained_positions` is the context that the model
    was trained at, before any scaling. Upstream passes the config's dictionary on:
    {up}`vllm/model_executor/layers/rotary_embedding/__init__.py#get_rope`.
    """

    rope_type: str = "default"
    theta: float = 10000.0
    factor: float = 1.0
    trained_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    @classmethod
    def from_hf(cls, hf_config: Mapping[str, Any]) -> RopeParameters:
        r"""Read them from a parsed `config.json`, in the new spelling or the old.

        Since transformers 5 there is one dictionary, `rope_parameters`, with `rope_theta` inside.
        Before, `rope_theta` stood beside `rope_scaling`, whose kind was called `rope_type` or,
        earlier still, `type`. `original_max_position_embeddings` may stand in the dictionary or,
        with more weight, outside. Raises {py:class}`~mini_vllm.errors.CheckpointError` for a kind
        or a key that is unknown (a clock per kind of layer is spelled with such keys), for a kind
        that lacks a number it needs, for two spellings that disagree, and for partial rotations.
        """
        given = _given_parameters(hf_config)
        rope_type = given.get("rope_type") or given.get("type") or "default"
        if rope_type not in ROPE_TYPES:
            raise CheckpointError(
                f"rope_type {rope_type!r} is not supported; known are {', '.join(ROPE_TYPES)}"
            )
        partial = given.get("partial_rotary_factor", hf_config.get("partial_rotary_factor"))
        if partial not in (None, 1.0):
            raise CheckpointError(f"partial_rotary_factor must be 1.0, got {partial}")
        positions = hf_config.get("max_position_embeddings") or 0
        trained = positions
        if rope_type in ("llama3", "yarn"):
            outside = hf_config.get("original_max_position_embeddings")
            trained = outside or given.get("original_max_position_embeddings") or positions
        if not trained and rope_type in ("dynamic", "llama3", "yarn"):
            raise CheckpointError(
                f"rope_type {rope_type!r} needs max_position_embeddings; config.json has none"
            )
        missing = [name for name in _NEEDED.get(rope_type, ()) if given.get(name) is None]
        if missing == ["factor"] and rope_type == "yarn" and "factor" in given:
            # An explicit null: the ratio of the two contexts.
            given["factor"] = positions / trained
        elif missing:
            raise CheckpointError(
                f"rope_type {rope_type!r} needs {' and '.join(missing)}; config.json has none"
            )
        theta = given.get("rope_theta", hf_config.get("rope_theta"))
        numbers = {
            "theta": 10000.0 if theta is None else theta,
            **{name: given[name] for name in _OPTIONAL if given.get(name) is not None},
        }
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise CheckpointError(f"rope parameter {name} must be above 0, got {value!r}")
        return cls(
            rope_type=rope_type,
            trained_positions=int(trained),
            truncate=bool(given.get("truncate", True)),
            **{name: float(value) for name, value in numbers.items()},
        )


# What a kind cannot do without. Guessing it would give another model.
_NEEDED = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor",),
}
_OPTIONAL = (
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "attention_factor",
    "mscale",
    "mscale_all_dim",
    "beta_fast",
    "beta_slow",
)
_KNOWN = {
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "truncate",
    # Says how the checkpoint was made, and nothing about how to run it.
    "finetuned",
    *_OPTIONAL,
}


def _given_parameters(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    old = dict(hf_config.get("rope_scaling") or {})
    new = dict(hf_config.get("rope_parameters") or {})
    disagree = sorted(key for key in old.keys() & new.keys() if old[key] != new[key])
    if disagree:
        raise CheckpointError(
            f"rope_scaling and rope_parameters disagree about {', '.join(disagree)}"
        )
    given = old | new
    unknown = sorted(given.keys() - _KNOWN)
    if unknown:
        raise CheckpointError(f"rope parameters that are not supported: {', '.join(unknown)}")
    return given


def inverse_frequencies(
    rope: RopeParameters, head_size: int, max_position: int
) -> tuple[torch.Tensor, float]:
    r"""The angle per position of each pair, `[head_size / 2]`, and the factor on cosines and sines.

    `max_position` is the longest text that this model may see; only `dynamic` looks at it. The
    factor is 1 except for `yarn`.
    """
    theta = rope.theta
    if rope.rope_type == "dynamic":
        stretch = max(max_position, rope.trained_positions) / rope.trained_positions
        theta *= (rope.factor * stretch - (rope.factor - 1)) ** (head_size / (head_size - 2))
    exponents = torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size
    frequencies = 1.0 / (theta**exponents)
    if rope.rope_type == "linear":
        frequencies = frequencies / rope.factor
    elif rope.rope_type == "llama3":
        frequencies = _slow_down_by_wavelength(frequencies, rope)
    elif rope.rope_type == "yarn":
        frequencies = _slow_down_by_rotations(frequencies, rope, head_size)
        return frequencies, _yarn_attention_factor(rope)
    return frequencies, 1.0


def _slow_down_by_wavelength(frequencies: torch.Tensor, rope: RopeParameters) -> torch.Tensor:
    # How often does a hand go round in the trained context? Often: leave it. Hardly: slow it by
    # the factor. In between, blend linearly in the number of rounds.
    rounds = rope.trained_positions * frequencies / (2 * math.pi)
    span = rope.high_freq_factor - rope.low_freq_factor
    keep = ((rounds - rope.low_freq_factor) / span).clamp(0.0, 1.0)
    return frequencies / rope.factor * (1 - keep) + frequencies * keep


def _slow_down_by_rotations(
    frequencies: torch.Tensor, rope: RopeParameters, head_size: int
) -> torch.Tensor:
    # The same blend, but linear in the pair's *index*, between the pairs that go round beta_fast
    # and beta_slow times in the trained context.
    def pair_with_rounds(rounds: float) -> float:
        wavelength = rope.trained_positions / (rounds * 2 * math.pi)
        return head_size * math.log(wavelength) / (2 * math.log(rope.theta))

    low, high = pair_with_rounds(rope.beta_fast), pair_with_rounds(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_size - 1)
    span = high - low or 0.001
    slow = ((torch.arange(head_size // 2, dtype=torch.float32) - low) / span).clamp(0.0, 1.0)
    return frequencies / rope.factor * slow + frequencies * (1 - slow)


def _yarn_attention_factor(rope: RopeParameters) -> float:
    def sharpened(mscale: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * mscale * math.log(rope.factor) + 1.0

    if rope.attention_factor is not None:
        return rope.attention_factor
    if rope.mscale and rope.mscale_all_dim:
        return sharpened(rope.mscale) / sharpened(rope.mscale_all_dim)
    return sharpened(1.0)


class RotaryEmbedding(nn.Module):
    r"""The table of cosines and sines for every position that a request may reach.

    `cos_sin_cache` is `[max_position, head_size]` in float32 whatever the model's type, cosines
    in the first half of a row. It is computed, never loaded: a checkpoint that carries
    such a table is not asked. One object serves all layers.
    Upstream: {up}`vllm/model_executor/layers/rotary_embedding/base.py#RotaryEmbedding`.
    """

    cos_sin_cache: torch.Tensor

    def __init__(self, head_size: int, max_position: int, rope: RopeParameters | None = None):
        super().__init__()
        rope = rope or RopeParameters()
        frequencies, factor = inverse_frequencies(rope, head_size, max_position)
        angles = torch.arange(max_position, dtype=torch.float32)[:, None] * frequencies[None, :]
        table = torch.cat((angles.cos(), angles.sin()), dim=1) * factor
        self.register_buffer("cos_sin_cache", table, persistent=False)

    def split_and_rotate(
        self,
        qkv: torch.Tensor,
        positions: torch.Tensor,
        num_heads: int,
        num_kv_heads: int,
        q_norm: RMSNorm | None = None,
        k_norm: RMSNorm | None = None,
        kernels: Kernels | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        r"""Queries and keys, rotated, and values, each `[num_tokens, heads, head_size]`.

        See {py:meth}`~mini_vllm.kernels.interface.Kernels.split_qkv_rotary`, which does the work.
        """
        norms: dict[str, Any] = {}
        if q_norm is not None and k_norm is not None:
            norms = {"q_norm": q_norm.weight, "k_norm": k_norm.weight, "eps": q_norm.eps}
        return (kernels or TorchKernels()).split_qkv_rotary(
            qkv, positions, self.cos_sin_cache, num_heads, num_kv_heads, **norms
        )
