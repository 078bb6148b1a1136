r"""Every number that decides the result, in one place.

A run is reproducible when nothing in it depends on the clock. So the length of a run, the schedule
of its learning rate and the order of its data are counted in *tokens*: a slow machine takes longer
and ends at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from book.model.tokenizer import VOCAB_SIZE

if TYPE_CHECKING:
    from transformers import LlamaConfig


@dataclass(frozen=True)
class Shape:
    r"""The shape of a Llama decoder with tied embeddings."""

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    max_position_embeddings: int = 32_768
    rope_theta: float = 10_000.0

    def config(self) -> LlamaConfig:
        r"""The Hugging Face configuration that the checkpoint is saved with."""
        from transformers import LlamaConfig

        return LlamaConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.max_position_embeddings,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            attention_bias=False,
            mlp_bias=False,
            bos_token_id=0,
            eos_token_id=0,
            # transformers gives the padding row of the embedding no gradient from the input side:
            # end-of-text is learnt as something to predict, and as a start only through that
            pad_token_id=0,
        )


@dataclass(frozen=True)
class Recipe:
    r"""One training run.

    `window_by_epoch[e]` is the sequence length of epoch `e`, and its length is the number of
    epochs. A shorter first epoch is cheaper and loses nothing: early on the model learns what
    stands a few tokens back. The last epochs use the length that the model is claimed for.

    `tokens_per_step` is the size of a batch; the learning rate rises over the first
    `warmup_share` of the run's tokens, holds, and falls linearly to zero over the last
    `decay_share`.
    """

    name: str
    folder: str
    shape: Shape
    window_by_epoch: tuple[int, ...]
    tokens_per_step: int = 4096
    matrix_lr: float = 0.02
    matrix_weight_decay: float = 0.01
    vector_lr: float = 3e-3
    warmup_share: float = 0.02
    decay_share: float = 0.6
    seed: int = 20_260_605

    def __post_init__(self) -> None:
        for window in self.window_by_epoch:
            if self.tokens_per_step % window:
                raise ValueError(
                    f"{self.name}: a step of {self.tokens_per_step} tokens is no whole number of "
                    f"windows of {window}"
                )

    @property
    def trained_length(self) -> int:
        r"""The longest context that the model has seen, in tokens."""
        return max(self.window_by_epoch)


TARGET = Recipe(
    name="target",
    folder="checkpoint",
    shape=Shape(
        hidden_size=256,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        head_dim=64,
        intermediate_size=640,
    ),
    window_by_epoch=(512, 1024),
)

DRAFT = Recipe(
    name="draft",
    folder="draft",
    shape=Shape(
        hidden_size=96,
        num_layers=2,
        num_heads=3,
        num_kv_heads=1,
        head_dim=32,
        intermediate_size=256,
    ),
    window_by_epoch=(512, 1024),
)

RECIPES = {recipe.name: recipe for recipe in (TARGET, DRAFT)}
