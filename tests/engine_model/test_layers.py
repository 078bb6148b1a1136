"""Each layer alone: built and called in two lines, against its definition or transformers'."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mini_vllm.errors import CheckpointError
from mini_vllm.layers.attention import Attention
from mini_vllm.layers.embedding import Embedding, OutputHead
from mini_vllm.layers.linear import Linear, StackedLinear
from mini_vllm.layers.mlp import GatedMLP
from mini_vllm.layers.norm import RMSNorm
from mini_vllm.layers.rotary import RopeParameters, RotaryEmbedding, inverse_frequencies
from mini_vllm.layers.weight_slot import WeightSlot, check_cover, named_slots


def filled(module):
    for parameter in module.parameters():
        parameter.copy_(torch.randn_like(parameter))
    return module


class TestNorm:
    def test_two_lines(self):
        norm = RMSNorm(64, eps=1e-6)
        y = norm(torch.randn(3, 64))
        assert torch.allclose(y.square().mean(-1), torch.ones(3), atol=1e-4)

    def test_with_residual_returns_the_norm_of_the_sum_and_the_sum(self):
        norm = filled(RMSNorm(8, eps=1e-6))
        x, residual = torch.randn(2, 3, 8)
        y, total = norm(x, residual)
        assert torch.equal(total, x + residual)
        torch.testing.assert_close(y, norm(total))

    def test_is_invariant_to_the_scale_of_its_input(self):
        norm = filled(RMSNorm(32, eps=0.0))
        x = torch.randn(2, 32)
        torch.testing.assert_close(norm(x), norm(1000 * x))


class TestLinear:
    def test_a_stack_computes_its_parts_side_by_side(self):
        stack = filled(StackedLinear(6, {"q_proj": 4, "k_proj": 2}, bias=True))
        x = torch.randn(3, 6)
        weight, bias = stack.weight, stack.bias
        expected = torch.cat(
            (F.linear(x, weight[:4], bias[:4]), F.linear(x, weight[4:], bias[4:])), dim=1
        )
        torch.testing.assert_close(stack(x), expected)

    def test_slots_are_named_as_siblings(self):
        stack = StackedLinear(6, {"q_proj": 4, "k_proj": 2}, bias=True)
        slots = stack.weight_slots("model.layers.3.self_attn.qkv_proj")
        assert {name: slot.shape for name, slot in slots.items()} == {
            "model.layers.3.self_attn.q_proj.weight": (4, 6),
            "model.layers.3.self_attn.q_proj.bias": (4,),
            "model.layers.3.self_attn.k_proj.weight": (2, 6),
            "model.layers.3.self_attn.k_proj.bias": (2,),
        }

    def test_filling_a_slot_touches_its_rows_only(self):
        stack = filled(StackedLinear(6, {"a": 4, "b": 2}))
        before = stack.weight.clone()
        stack.weight_slots("x")["b.weight"].fill(torch.ones(2, 6, dtype=torch.float16))
        assert torch.equal(stack.weight[:4], before[:4])
        assert torch.equal(stack.weight[4:], torch.ones(2, 6))

    def test_a_bias_is_a_parameter__nano_vllm_17(self):
        """A bias that is a plain tensor is never loaded and never moved, and nothing says so."""
        for layer in (Linear(3, 2, bias=True), StackedLinear(3, {"a": 2}, bias=True)):
            assert dict(layer.named_parameters()).keys() == {"weight", "bias"}
            assert any(name.endswith(".bias") for name in layer.weight_slots("a"))

    def test_no_layer_hides_a_tensor__nano_vllm_17(self):
        """Whatever is not a parameter or a buffer is invisible to a loader and to `.to()`."""
        rotary = RotaryEmbedding(8, 16)
        attention = Attention(16, 2, 1, 8, rotary, qkv_bias=True, qk_norm_eps=1e-6)
        for root in (attention, GatedMLP(8, 12, bias=True), OutputHead(5, 8, Embedding(5, 8))):
            for module in root.modules():
                hidden = [n for n, v in vars(module).items() if isinstance(v, torch.Tensor)]
                assert not hidden, (module, hidden)


class TestSlots:
    def test_a_gap_is_found(self):
        layer = StackedLinear(6, {"a": 4, "b": 2})
        slots = named_slots(torch.nn.ModuleDict({"x": layer}))
        check_cover(layer, slots)
        with pytest.raises(ValueError, match="weight exactly once"):
            check_cover(layer, {"a.weight": slots["a.weight"]})

    def test_an_overlap_is_found(self):
        layer = Linear(6, 4)
        slots = {"a": WeightSlot(layer.weight, 0, 3), "b": WeightSlot(layer.weight, 2, 2)}
        with pytest.raises(ValueError, match="weight exactly once"):
            check_cover(layer, slots)

    def test_two_claims_to_one_name_are_found(self):
        class Twins(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.one, self.two = Linear(2, 2), Linear(2, 2)
                self.two.weight_slots = lambda name: {"one.weight": None}

        with pytest.raises(ValueError, match=r"claim the tensor one\.weight"):
            named_slots(Twins())


class TestEmbedding:
    def test_a_tied_head_scores_with_the_embedding(self):
        table = filled(Embedding(7, 4))
        head = OutputHead(7, 4, tied_to=table)
        hidden = torch.randn(2, 4)
        torch.testing.assert_close(head(hidden), hidden @ table.weight.T)
        assert head.weight_slots("lm_head") == {}

    def test_scores_are_float32_whatever_the_model_is(self):
        head = OutputHead(7, 4).to(torch.bfloat16)
        assert head(torch.randn(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_mlp_is_its_formula():
    mlp = filled(GatedMLP(6, 10))
    x = torch.randn(4, 6)
    gate, up = F.linear(x, mlp.gate_up_proj.weight).chunk(2, dim=-1)
    expected = F.linear(F.silu(gate) * up, mlp.down_proj.weight)
    torch.testing.assert_close(mlp(x), expected, atol=1e-4, rtol=1e-4)


def test_heads_must_divide():
    with pytest.raises(ValueError, match="3 query heads cannot share 2 key heads"):
        Attention(16, 3, 2, 8, RotaryEmbedding(8, 16))


HF_CASES = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
    "yarn-options": {
        "rope_type": "yarn",
        "factor": 40.0,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "truncate": False,
        "mscale": 0.7,
        "mscale_all_dim": 1.3,
        "original_max_position_embeddings": 64,
    },
    "yarn-attention-factor": {
        "rope_type": "yarn",
        "factor": 2.0,
        "attention_factor": 0.5,
        "original_max_position_embeddings": 256,
    },
    "dynamic": {"rope_type": "dynamic", "factor": 2.0},
}


class TestRotary:
    @pytest.mark.parametrize("theta", [10000.0, 500000.0])
    @pytest.mark.parametrize("case", HF_CASES)
    def test_frequencies_are_those_of_transformers(self, case, theta):
        from transformers import LlamaConfig
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

        given = {**HF_CASES[case], "rope_theta": theta}
        config = LlamaConfig(
            hidden_size=128,
            num_attention_heads=2,
            max_position_embeddings=512,
            rope_parameters=given,
        )
        theirs = LlamaRotaryEmbedding(config)
        rope = RopeParameters.from_hf({"max_position_embeddings": 512, "rope_parameters": given})
        ours, factor = inverse_frequencies(rope, 64, 512)
        torch.testing.assert_close(ours, theirs.inv_freq, rtol=1e-6, atol=0)
        assert factor == pytest.approx(theirs.attention_scaling)
        positions = torch.arange(512)
        cos, sin = theirs(torch.zeros(1), positions[None])
        table = RotaryEmbedding(64, 512, rope).cos_sin_cache
        torch.testing.assert_close(table[:, :32], cos[0, :, :32], atol=3e-5, rtol=0)
        torch.testing.assert_close(table[:, 32:], sin[0, :, :32], atol=3e-5, rtol=0)

    def test_dynamic_stretches_to_the_longest_text_when_built(self):
        """Past the trained context, the base is the one transformers uses for that very length."""
        from transformers import LlamaConfig
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        given = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
        config = LlamaConfig(
            hidden_size=64,
            num_attention_heads=1,
            max_position_embeddings=128,
            rope_parameters=given,
        )
        theirs, _ = ROPE_INIT_FUNCTIONS["dynamic"](config, None, seq_len=300)
        rope = RopeParameters.from_hf({"max_position_embeddings": 128, "rope_parameters": given})
        ours, _ = inverse_frequencies(rope, 64, 300)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        assert not torch.allclose(ours, inverse_frequencies(rope, 64, 128)[0])

    def test_pairs_are_halves_not_neighbours__tiny_vllm_4(self):
        """Turning by a quarter maps (x[0], x[d/2]) to (-x[d/2], x[0]) and moves nothing else."""
        rotary = RotaryEmbedding(4, 1)
        quarter = torch.tensor([[0.0, 1.0, 1.0, 0.0]])  # cosines 0, 1; sines 1, 0
        rotary.cos_sin_cache = quarter
        qkv = torch.tensor([[1.0, 2.0, 3.0, 4.0] * 3])
        query, key, value = rotary.split_and_rotate(qkv, torch.tensor([0]), 1, 1)
        assert query.flatten().tolist() == [-3.0, 2.0, 1.0, 4.0]
        assert key.flatten().tolist() == [-3.0, 2.0, 1.0, 4.0]
        assert value.flatten().tolist() == [1.0, 2.0, 3.0, 4.0]

    def test_scores_depend_on_distance_only(self):
        rotary = RotaryEmbedding(32, 200)
        qkv = torch.randn(1, 3 * 32).expand(4, -1).contiguous()
        query, key, _ = rotary.split_and_rotate(qkv, torch.tensor([3, 10, 103, 110]), 1, 1)
        scores = torch.einsum("thd,shd->ts", query, key)
        assert scores[1, 0].item() == pytest.approx(scores[3, 2].item(), abs=1e-3)
        assert scores[1, 0].item() != pytest.approx(scores[3, 0].item(), abs=1e-1)

    def test_the_old_spelling_means_the_same(self):
        new = RopeParameters.from_hf(
            {
                "max_position_embeddings": 512,
                "rope_parameters": {"rope_theta": 5e5, **HF_CASES["llama3"]},
            }
        )
        for key in ("rope_type", "type"):
            scaling = dict(HF_CASES["llama3"])
            scaling[key] = scaling.pop("rope_type")
            old = RopeParameters.from_hf(
                {"max_position_embeddings": 512, "rope_theta": 5e5, "rope_scaling": scaling}
            )
            assert old == new

    def test_a_default_of_the_defaults(self):
        rope = RopeParameters.from_hf({"max_position_embeddings": 64, "rope_scaling": None})
        assert (rope.rope_type, rope.theta, rope.trained_positions) == ("default", 10000.0, 64)

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            ({"rope_scaling": {"rope_type": "longrope"}}, r"'longrope'.*default, linear"),
            ({"rope_scaling": {"type": "linear"}}, r"'linear' needs factor"),
            ({"partial_rotary_factor": 0.5}, r"partial_rotary_factor must be 1.0, got 0.5"),
        ],
    )
    def test_refusals(self, config, message):
        with pytest.raises(CheckpointError, match=message):
            RopeParameters.from_hf({"max_position_embeddings": 64, **config})

    def test_the_slowest_hand_goes_round_once_in_two_pi_b(self):
        frequencies, _ = inverse_frequencies(RopeParameters(), 128, 10)
        assert 2 * math.pi / frequencies[0] == pytest.approx(2 * math.pi)
        assert 2 * math.pi / frequencies[-1] == pytest.approx(2 * math.pi * 10000 ** (126 / 128))
