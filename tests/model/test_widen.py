r"""A widened model computes the same function and has the parameters it claims."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from book.model import corpus
from book.model.evaluate import load
from book.model.recipe import TARGET
from book.model.widen import INTERMEDIATE_SIZE, widen, widen_tensors

SOURCE = corpus.HERE / "checkpoint"
SIZE = 2048  # wide enough to change how a matrix product is tiled, quick enough for every test run


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    count = widen(SOURCE, folder, SIZE)
    model = load(folder)
    assert count == sum(parameter.numel() for parameter in model.parameters())
    return folder, model


@pytest.fixture(scope="module")
def narrow():
    return load(SOURCE)


def expected_parameters(size):
    shape = TARGET.shape
    return sum(tensor.numel() for tensor in load_file(SOURCE / "model.safetensors").values()) + (
        3 * shape.num_layers * shape.hidden_size * (size - shape.intermediate_size)
    )


def test_same_logits(wide, narrow, tokenizer):
    tokens = torch.tensor([tokenizer.encode("def schedule(self) -> SchedulerOutput:\n    " * 8)])
    with torch.inference_mode():
        ours, theirs = wide[1](tokens).logits, narrow(tokens).logits
    # the added terms are exact zeros; only the order of a longer sum can round differently
    assert (ours - theirs).abs().max() <= 1e-4
    assert theirs.std() > 1  # the bound is four orders of magnitude below what it bounds


def test_same_greedy_text(wide, narrow, tokenizer):
    inputs = tokenizer("import torch\n", return_tensors="pt", return_token_type_ids=False)
    options = {"max_new_tokens": 24, "do_sample": False}
    assert torch.equal(wide[1].generate(**inputs, **options), narrow.generate(**inputs, **options))


def test_parameter_count(wide):
    assert sum(p.numel() for p in wide[1].parameters()) == expected_parameters(SIZE)
    assert 99_000_000 < expected_parameters(INTERMEDIATE_SIZE) < 101_000_000


def test_the_new_channels_cost_what_real_ones_cost(wide, narrow):
    r"""Random rows of the trained rows' size: no kernel can skip them, and none overflows."""
    for layer, other in zip(wide[1].model.layers, narrow.model.layers, strict=True):
        old = TARGET.shape.intermediate_size
        for name in ("gate_proj", "up_proj"):
            rows = getattr(layer.mlp, name).weight
            assert torch.equal(rows[:old], getattr(other.mlp, name).weight)
            assert rows[old:].std().item() == pytest.approx(rows[:old].std().item(), rel=0.05)
            assert (rows[old:] == 0).float().mean() < 0.01
        assert (layer.mlp.down_proj.weight[:, old:] == 0).all()


def test_random_columns_would_not_preserve_the_function(narrow, tokenizer):
    r"""The control: it is the zero columns that do it."""
    tensors = widen_tensors(load_file(SOURCE / "model.safetensors"), SIZE)
    torch.manual_seed(0)
    for name, tensor in tensors.items():
        if name.endswith("down_proj.weight"):
            tensor[:, TARGET.shape.intermediate_size :].normal_(std=0.02)
    config = TARGET.shape.config()
    config.intermediate_size = SIZE
    broken = AutoModelForCausalLM.from_config(config)
    broken.load_state_dict(tensors, strict=False)
    tokens = torch.tensor([tokenizer.encode("import torch\nfrom torch import nn\n")])
    with torch.inference_mode():
        assert (broken(tokens).logits - narrow(tokens).logits).abs().max() > 0.1


def test_the_source_is_left_alone_and_the_tokenizer_comes_along(wide):
    tensors = load_file(SOURCE / "model.safetensors")
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    widen_tensors(tensors, SIZE)
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    assert len(AutoTokenizer.from_pretrained(wide[0])) == 4096


def test_the_same_seed_gives_the_same_file(wide, tmp_path):
    widen(SOURCE, tmp_path, SIZE)
    again = (tmp_path / "model.safetensors").read_bytes()
    assert again == (wide[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644


def test_narrowing_is_refused():
    with pytest.raises(ValueError, match="640 channels; it cannot be widened to 320"):
        widen_tensors(load_file(SOURCE / "model.safetensors"), 320)
