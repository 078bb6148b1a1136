r"""The published files: complete, small, readable, and better than chance by far."""

import math
import stat

import numpy as np
import pytest
import torch
from safetensors import safe_open

from book.model import corpus, journal
from book.model.batches import encode
from book.model.evaluate import token_losses
from book.model.recipe import DRAFT, TARGET, VOCAB_SIZE

SIZE_LIMIT = 10_000_000
FILES = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
}

# Fixed text of our own, in the manner of the corpus: what is measured here does not move when the
# repository's own sources do.
SCHEDULER_LIKE = """\
import torch
from torch import nn

from vllm.config import VllmConfig
from vllm.logger import init_logger

logger = init_logger(__name__)


class PrefixPool(nn.Module):
    def __init__(self, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        self.model_config = vllm_config.model_config
        self.block_size = vllm_config.cache_config.block_size
        self.num_blocks = 0

    def forward(
        self,
        hidden_states: torch.Tensor,
        positions: torch.Tensor,
    ) -> torch.Tensor:
        if hidden_states.dim() != 2:
            raise ValueError(f"Expected a 2D tensor, got {hidden_states.dim()}D")
        return hidden_states
"""


def test_the_files_are_those_that_transformers_and_vllm_read(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444, f"{path.name} is not readable"


def test_both_models_together_are_small():
    folders = (corpus.HERE / TARGET.folder, corpus.HERE / DRAFT.folder)
    assert sum(path.stat().st_size for f in folders for path in f.iterdir()) <= SIZE_LIMIT


def test_shapes_agree_with_the_recipe(recipe, folder):
    shape = recipe.shape
    head = shape.head_dim
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert "lm_head.weight" not in tensors  # tied: the embedding is stored once
    assert tensors["model.embed_tokens.weight"].shape == (VOCAB_SIZE, shape.hidden_size)
    for index in range(shape.num_layers):
        layer = f"model.layers.{index}."
        expected = {
            "self_attn.q_proj": (shape.num_heads * head, shape.hidden_size),
            "self_attn.k_proj": (shape.num_kv_heads * head, shape.hidden_size),
            "self_attn.v_proj": (shape.num_kv_heads * head, shape.hidden_size),
            "self_attn.o_proj": (shape.hidden_size, shape.num_heads * head),
            "mlp.gate_proj": (shape.intermediate_size, shape.hidden_size),
            "mlp.up_proj": (shape.intermediate_size, shape.hidden_size),
            "mlp.down_proj": (shape.hidden_size, shape.intermediate_size),
            "input_layernorm": (shape.hidden_size,),
            "post_attention_layernorm": (shape.hidden_size,),
        }
        for name, size in expected.items():
            assert tensors[f"{layer}{name}.weight"].shape == size
    assert len(tensors) == 9 * shape.num_layers + 2


def test_the_config_is_the_recipes(recipe, model):
    config, shape = model.config, recipe.shape
    assert config.architectures == ["LlamaForCausalLM"]
    assert config.vocab_size == VOCAB_SIZE
    assert config.tie_word_embeddings is True
    assert config.hidden_size == shape.hidden_size
    assert config.num_key_value_heads == shape.num_kv_heads
    assert config.head_dim == shape.head_dim
    assert config.max_position_embeddings == 32_768 > recipe.trained_length >= 1024
    assert config.eos_token_id == 0


def test_the_card_says_what_the_files_are(recipe, folder, model):
    everything = journal.read_figures()
    figures = everything[recipe.name]
    assert figures["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert figures["checkpoint_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert figures["trained_length"] == recipe.trained_length
    assert figures["train_tokens"] > 1.99 * everything["tokens"]["train"]  # two epochs
    assert math.exp(figures["loss"]) == pytest.approx(figures["perplexity"], rel=1e-3)


LOSS_BOUND = {"target": 2.0, "draft": 3.0}


def test_it_predicts_code_far_better_than_chance(recipe, model, tokenizer):
    tokens = torch.tensor([tokenizer.encode(SCHEDULER_LIKE)])
    loss = token_losses(model, tokens)[0].mean().item()
    assert loss < LOSS_BOUND[recipe.name] < math.log(VOCAB_SIZE) / 2


def test_the_order_of_words_matters_to_it(model, tokenizer):
    r"""The control: the same tokens shuffled are as surprising as noise."""
    tokens = torch.tensor([tokenizer.encode(SCHEDULER_LIKE)])
    shuffled = tokens[:, torch.randperm(tokens.shape[1], generator=torch.manual_seed(0))]
    straight, noise = (token_losses(model, t)[0].mean().item() for t in (tokens, shuffled))
    assert noise > straight + 3


def test_held_out_loss_is_the_cards(recipe, model, tokenizer, tree):
    r"""On the first held-out tokens of the pinned tree: the bound that the card's figure sets."""
    heldout = encode(tokenizer, [document.text for document in corpus.read(tree).heldout[:12]])
    ribbon = np.concatenate(heldout).astype(np.int64)[: 8 * 512 + 1]
    losses = [
        token_losses(model, torch.from_numpy(ribbon[None, start : start + 513]))[0].mean().item()
        for start in range(0, 8 * 512, 512)
    ]
    card = journal.read_figures()[recipe.name]["loss"]
    assert abs(np.mean(losses) - card) < 1.0
    assert np.mean(losses) < math.log(VOCAB_SIZE) / 2


def test_greedy_text_is_code(tokenizer, model, recipe):
    inputs = tokenizer("import torch\n", return_tensors="pt", return_token_type_ids=False)
    ids = model.generate(**inputs, max_new_tokens=48, do_sample=False)[
        0, inputs.input_ids.shape[1] :
    ]
    text = tokenizer.decode(ids)
    assert any(word in text for word in ("import", "from", "def", "class")), text
    assert "vllm" in text or "torch" in text, text
    assert all(character.isprintable() or character == "\n" for character in text), text
