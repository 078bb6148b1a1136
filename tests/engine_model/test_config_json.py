"""A `config.json` that asks for another model is obeyed as transformers obeys it, or refused.

Each case changes one line of a config and leaves the weights alone. What is then allowed is either
an error that names the line, or scores that equal those of transformers *on the changed file*. The
third outcome, scores of a model that nobody asked for, is what the table exists to exclude.
"""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers

from mini_vllm.core.scheduler_output import CachedRequestData, NewRequestData, SchedulerOutput
from mini_vllm.errors import CheckpointError, ConfigError
from mini_vllm.models.decoder_config import FOREIGN
from mini_vllm.worker.model_runner import ModelRunner


class _Absent:
    """Not in the config; its name is the same in every process, so that tests can be shared."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
TOKENS = torch.randint(2, 320, (120,), generator=torch.Generator().manual_seed(5)).tolist()
LENGTHS = (1, 30, 120)


def rope(kind, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SLIDE, FULL = "sliding_attention", "full_attention"
QWEN_WINDOW = {"use_sliding_window": True, "sliding_window": 9}

#: (checkpoint, changed lines) that must be obeyed: our scores are those of transformers.
OBEYED = [
    # The clock.
    ("llama", rope("default", rope_theta=300.0)),
    ("llama", {"rope_parameters": ABSENT, "rope_theta": 300.0}),
    ("llama", {"rope_parameters": ABSENT}),
    ("llama", {"rope_parameters": ABSENT, "rope_scaling": {"type": "linear", "factor": 3.0}}),
    ("llama", {"rope_parameters": ABSENT, "rope_scaling": {"rope_type": "linear", "factor": 3}}),
    ("llama", rope("linear", factor=2.5)),
    ("llama", rope("dynamic", factor=4.0)),
    ("llama", rope("dynamic", factor=4.0, original_max_position_embeddings=16)),
    ("llama", rope("llama3", **LLAMA3, original_max_position_embeddings=64)),
    ("llama", rope("llama3", **LLAMA3) | {"original_max_position_embeddings": 32}),
    (
        "llama",
        rope("llama3", **LLAMA3, original_max_position_embeddings=64)
        | {"original_max_position_embeddings": 32},
    ),
    ("llama", rope("llama3", **LLAMA3)),
    ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64)),
    ("llama", rope("yarn", factor=2.0)),
    ("llama", rope("yarn", factor=None, original_max_position_embeddings=64)),
    ("llama", rope("yarn", factor=4.0) | {"original_max_position_embeddings": 32}),
    (
        "llama",
        rope("yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=0.5),
    ),
    (
        "llama",
        rope("yarn", factor=4.0, original_max_position_embeddings=64, mscale=0.7, mscale_all_dim=2),
    ),
    ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64, mscale=0.7)),
    ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64, truncate=False)),
    ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64, truncate=None)),
    ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64, beta_fast=4)),
    ("llama", rope("yarn", factor=4.0, original_max_position_embeddings=64, beta_slow=0.2)),
    # Windows.
    ("qwen2", {"sliding_window": 9}),
    ("qwen2", QWEN_WINDOW | {"max_window_layers": 1, "layer_types": ABSENT}),
    ("qwen2", QWEN_WINDOW | {"max_window_layers": 0, "layer_types": ABSENT}),
    ("qwen2", QWEN_WINDOW | {"max_window_layers": 9, "layer_types": ABSENT}),
    ("qwen2", QWEN_WINDOW | {"max_window_layers": ABSENT, "layer_types": ABSENT}),
    ("qwen2", QWEN_WINDOW | {"max_window_layers": 0, "layer_types": [FULL, SLIDE]}),
    ("qwen3", QWEN_WINDOW | {"layer_types": [SLIDE, FULL]}),
    ("qwen3", {"use_sliding_window": True, "sliding_window": None, "layer_types": ABSENT}),
    ("mistral", {"sliding_window": 3}),
    ("mistral", {"sliding_window": 1}),
    ("mistral", {"sliding_window": None}),
    ("mistral", {"sliding_window": ABSENT}),
    ("mistral", {"layer_types": [SLIDE, SLIDE]}),
    ("llama", {"sliding_window": 9, "use_sliding_window": False}),
    # The rest.
    ("llama", {"rms_norm_eps": 0.3}),
    ("llama", {"rms_norm_eps": ABSENT}),
    ("llama", {"hidden_act": "swish"}),
    ("llama", {"hidden_act": ABSENT}),
    ("llama", {"tie_word_embeddings": ABSENT}),
    ("llama", {"head_dim": ABSENT}),
    ("llama", {"head_dim": None}),
    ("llama", {"pretraining_tp": 2}),
    ("llama", {"attention_dropout": 0.5}),
    ("llama", {"partial_rotary_factor": 1.0}),
    ("llama", {"architectures": ["Unheard", "LlamaForCausalLM"]}),
    ("qwen2", {"attention_bias": False}),
    ("mistral", {"attention_bias": False}),
]

#: (checkpoint, changed lines, what the error must name).
REFUSED = [
    ("llama", rope("longrope", factor=2.0), "longrope"),
    ("llama", rope("su"), "'su'"),
    ("llama", rope("proportional"), "proportional"),
    ("llama", rope("linear"), "needs factor"),
    ("llama", rope("dynamic"), "needs factor"),
    ("llama", rope("dynamic", alpha=4.0), "alpha"),
    ("llama", rope("dynamic", factor=2.0, max_trained_positions=64), "max_trained_positions"),
    ("llama", rope("yarn"), "needs factor"),
    ("llama", rope("yarn", factor=2.0, extrapolation_factor=0.5), "extrapolation_factor"),
    ("llama", rope("yarn", factor=2.0, attn_factor=0.5), "attn_factor"),
    ("llama", rope("llama3", factor=2.0), "low_freq_factor and high_freq_factor"),
    ("llama", rope("linear", factor=0), "factor must be above 0, got 0"),
    ("llama", rope("linear", factor="4"), "factor must be above 0, got '4'"),
    ("llama", rope("default", rope_theta=0), "theta must be above 0"),
    ("llama", rope("default", mrope_section=[2, 3, 3]), "mrope_section"),
    ("llama", rope("default", partial_rotary_factor=0.5), "partial_rotary_factor"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "disagree about rope_type"),
    ("llama", {"rope_parameters": {FULL: {"rope_type": "default"}}}, FULL),
    ("llama", {"sliding_window": 9}, "a Llama has no windows"),
    ("llama", {"layer_types": [SLIDE, FULL]}, "a Llama has no windows"),
    ("qwen2", {"layer_types": [SLIDE, FULL]}, "use_sliding_window is false"),
    ("qwen3", QWEN_WINDOW | {"layer_types": [SLIDE]}, "layer_types must name 2 layers"),
    ("qwen3", QWEN_WINDOW | {"layer_types": [SLIDE, "linear_attention"]}, "linear_attention"),
    (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": None, "layer_types": [SLIDE, FULL]},
        "sliding_window is null",
    ),
    ("qwen2", QWEN_WINDOW | {"use_sliding_window": "yes"}, "use_sliding_window as true or false"),
    ("mistral", {"layer_types": [SLIDE, FULL]}, "layers of a Mistral are all alike"),
    ("mistral", {"layer_types": [FULL, FULL]}, "layers of a Mistral are all alike"),
    ("mistral", {"sliding_window": 0}, "sliding_window must be at least 1"),
    ("mistral", {"sliding_window": 2.5}, "sliding_window must be an integer"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act"),
    ("llama", {"hidden_act": None}, "hidden_act"),
    ("llama", {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
    ("llama", {"attention_bias": True}, r"missing: .*k_proj\.bias"),
    ("llama", {"attention_bias": 1.5}, "attention_bias as true or false"),
    ("llama", {"mlp_bias": True}, r"missing: .*down_proj\.bias"),
    ("llama-biases", {"attention_bias": False}, r"surplus: .*k_proj\.bias"),
    ("llama-biases", {"mlp_bias": False}, r"surplus: .*down_proj\.bias"),
    ("qwen3", {"attention_bias": True}, r"missing: .*k_proj\.bias"),
    ("qwen2", {"architectures": ["LlamaForCausalLM"]}, r"surplus: .*k_proj\.bias"),
    ("qwen3", {"architectures": ["Qwen2ForCausalLM"]}, r"missing: .*surplus: .*k_norm"),
    ("llama", {"architectures": ["Gemma2ForCausalLM"]}, "Gemma2ForCausalLM"),
    ("llama", {"architectures": ["MixtralForCausalLM"]}, "MixtralForCausalLM"),
    ("llama", {"tie_word_embeddings": True}, "two different tables"),
    ("qwen3", {"tie_word_embeddings": False}, r"missing: lm_head\.weight"),
    ("llama", {"rms_norm_eps": None}, "rms_norm_eps as a number above 0"),
    ("llama", {"rms_norm_eps": 0}, "rms_norm_eps as a number above 0"),
    ("llama", {"num_hidden_layers": 1}, r"surplus: .*layers\.1\."),
    ("llama", {"num_hidden_layers": 3}, r"missing: .*layers\.2\."),
    ("llama", {"num_attention_heads": True}, "num_attention_heads as a positive integer"),
    ("llama", {"num_key_value_heads": ABSENT}, r"k_proj\.weight has shape"),
    ("llama-tied-wide-heads", {"head_dim": ABSENT}, r"q_proj\.weight has shape"),
    ("qwen3", {"head_dim": ABSENT}, r"q_proj\.weight has shape"),
    ("llama", {"vocab_size": 321}, r"embed_tokens\.weight has shape"),
    *(("llama", {key: 0.3125}, key) for key in FOREIGN),
]


def name_of(case):
    checkpoint, changes = case[0], case[1]
    text = json.dumps({k: "ABSENT" if v is ABSENT else v for k, v in changes.items()})
    return f"{checkpoint} {text}"


@pytest.fixture
def changed(make_checkpoint, tmp_path):
    """A copy of a checkpoint with other lines in its config."""

    def make(name, changes):
        directory = tmp_path / "changed"
        shutil.copytree(make_checkpoint(name), directory)
        config = json.loads((directory / "config.json").read_text())
        for key, value in changes.items():
            config.pop(key, None)
            if value is not ABSENT:
                config[key] = value
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    return make


def our_scores(directory, tools, **settings):
    """Scores after each of the prefixes of `TOKENS`, as a batch of three prompts."""
    runner = ModelRunner(tools.config(directory, **settings))
    runner.initialize_kv_cache(1 + sum(-(-n // 16) for n in LENGTHS))
    blocks = iter(range(1, 100))
    new = [
        NewRequestData(
            str(n), TOKENS[:n], tools.greedy(1), [next(blocks) for _ in range(-(-n // 16))], 0
        )
        for n in LENGTHS
    ]
    counts = {str(n): n for n in LENGTHS}
    orders = SchedulerOutput(new, CachedRequestData(), counts, sum(LENGTHS), set(), set())
    return runner.forward(orders).logits


def their_scores(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    )
    logits = model.eval()(torch.tensor([TOKENS])).logits[0]
    return logits[[n - 1 for n in LENGTHS]]


@pytest.mark.parametrize("case", OBEYED, ids=name_of)
def test_obeyed(case, changed, parity, tools):
    directory = changed(*case)
    torch.testing.assert_close(
        our_scores(directory, tools), their_scores(directory), atol=1e-4, rtol=1e-4
    )
    parity.exercised["changed configs obeyed"] += 1


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_refused(case, changed, parity, tools):
    name, changes, message = case
    with pytest.raises(CheckpointError, match=message):
        our_scores(changed(name, changes), tools)
    parity.exercised["changed configs refused"] += 1


@pytest.mark.parametrize("key", FOREIGN)
def test_a_foreign_switch_that_does_nothing_may_stand(key, changed, tools, make_checkpoint):
    plain = our_scores(make_checkpoint("llama"), tools)
    for value in {None, FOREIGN[key]}:
        directory = changed("llama", {key: value})
        assert torch.equal(our_scores(directory, tools), plain)
        shutil.rmtree(directory)


def test_the_table_has_teeth(changed, tools, make_checkpoint):
    """Most of what is obeyed moves the scores, so passing over the line would be seen."""
    moving = 0
    base = {name: our_scores(make_checkpoint(name), tools) for name in {c[0] for c in OBEYED}}
    for name, changes in OBEYED:
        directory = changed(name, changes)
        moving += not torch.allclose(our_scores(directory, tools), base[name], atol=1e-3)
        shutil.rmtree(directory)
    assert moving >= 28


#: (lines of a config, the longest text that it allows): upstream's rule, case by case.
LONGEST = [
    ({}, 256),
    (rope("default"), 256),
    (rope("linear", factor=2.5), 640),
    (rope("dynamic", factor=4.0), 1024),
    (rope("llama3", **LLAMA3, original_max_position_embeddings=64), 256),
    (rope("yarn", factor=4.0, original_max_position_embeddings=64), 256),
    (rope("yarn", factor=2.0, original_max_position_embeddings=256), 512),
    (rope("yarn", factor=2.0), 512),
    (rope("yarn", factor=2.0) | {"original_max_position_embeddings": 100}, 200),
    ({"rope_parameters": ABSENT, "rope_scaling": {"type": "linear", "factor": 1.3}}, 332),
]


@pytest.mark.parametrize(("changes", "longest"), LONGEST, ids=str)
def test_how_long_a_text_may_be(changes, longest, changed, tools):
    directory = changed("llama", changes)
    dynamic = "dynamic" in str(changes)
    # A dynamic clock that is made for longer texts reads short ones otherwise: only if asked for.
    assert tools.config(directory).model_config.max_model_len == (256 if dynamic else longest)
    config = tools.config(directory, max_model_len=longest)
    assert config.scheduler_config.max_model_len == longest
    with pytest.raises(ConfigError, match=f"max_model_len={longest + 1} exceeds"):
        tools.config(directory, max_model_len=longest + 1)


def test_a_config_without_a_length_needs_one_from_the_caller(changed, tools):
    directory = changed("llama", {"max_position_embeddings": ABSENT})
    with pytest.raises(ConfigError, match="states no max_position_embeddings"):
        tools.config(directory)
    assert tools.config(directory, max_model_len=77).model_config.max_model_len == 77
    for kind in ("dynamic", "yarn"):
        shutil.rmtree(directory)
        directory = changed("llama", rope(kind, factor=2.0) | {"max_position_embeddings": ABSENT})
        with pytest.raises(CheckpointError, match=f"'{kind}' needs max_position_embeddings"):
            our_scores(directory, tools, max_model_len=200)


def test_the_last_position_of_a_stretched_text_has_a_row_in_the_table(changed, tools):
    """The table has a row for every position that the limit allows, and the last one works."""
    directory = changed("llama", rope("linear", factor=2.0))
    run = tools.run(directory, [TOKENS * 4], tools.greedy(64), num_gpu_blocks=40)
    assert len(TOKENS * 4) + len(run.token_ids[0]) == 512
