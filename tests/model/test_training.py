r"""The schedule, the split of the parameters, and a resumed run that equals an unbroken one."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from book.model import snapshot, train
from book.model.batches import Batches
from book.model.journal import Journal
from book.model.optimizer import Optimizer, schedule
from book.model.recipe import TARGET, Shape

TINY = dataclasses.replace(
    TARGET,
    shape=Shape(
        hidden_size=32,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        intermediate_size=48,
    ),
    window_by_epoch=(16,),
    tokens_per_step=64,
)


def steps(model, optimizer, batches, first, last, total):
    losses = []
    for step in range(first, last):
        tokens = batches[step]
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step((step + 1) / (total + 1))
        losses.append(loss.item())
    return losses


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_the_schedule_rises_holds_and_falls(a, b):
    early, late = sorted((a, b))
    hold = 1.0 - TARGET.decay_share
    for progress in (early, late):
        assert 0.0 <= schedule(progress, TARGET) <= 1.0
    if late <= hold:
        assert schedule(early, TARGET) <= schedule(late, TARGET)
    if early >= TARGET.warmup_share:
        assert schedule(early, TARGET) >= schedule(late, TARGET)
    if TARGET.warmup_share <= early <= hold:
        assert schedule(early, TARGET) == 1.0


@pytest.mark.parametrize("num_steps", [1, 2, 7, 3304])
def test_no_step_is_thrown_away(num_steps):
    factors = [schedule((step + 1) / (num_steps + 1), TARGET) for step in range(num_steps)]
    assert min(factors) > 0


def test_muon_gets_the_matrices_and_adamw_the_rest():
    optimizer = Optimizer(train.build(TINY), TINY)
    assert {name.split(".")[-2] for name in optimizer.matrices} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert {name.split(".")[-2] for name in optimizer.vectors} == {
        "embed_tokens", "input_layernorm", "post_attention_layernorm", "norm",
    }  # fmt: skip


def test_a_resumed_run_is_the_run_that_was_cut(tmp_path):
    torch.manual_seed(0)
    batches = [torch.randint(0, 64, (4, 16)) for _ in range(8)]

    model = train.build(TINY)
    optimizer = Optimizer(model, TINY)
    steps(model, optimizer, batches, 0, 5, 8)
    path = tmp_path / "deep" / "run.safetensors"
    snapshot.save(path, model, optimizer, snapshot.Past(step=5, wall_s=1.5, cpu_s=2.5))
    unbroken = steps(model, optimizer, batches, 5, 8, 8)

    other = train.build(TINY)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    resumed = Optimizer(other, TINY)
    assert snapshot.load(path, other, resumed) == snapshot.Past(5, 1.5, 2.5)
    assert steps(other, resumed, batches, 5, 8, 8) == unbroken
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name)), name


def test_training_learns():
    torch.manual_seed(0)
    batches = [torch.arange(64).view(4, 16)] * 60
    model = train.build(TINY)
    losses = steps(model, Optimizer(model, TINY), batches, 0, 60, 60)
    assert losses[0] > 8  # knows nothing: ln 4096
    assert losses[-1] < 3.5  # knows which follows which: below ln 64, knowing which occur


def test_a_fresh_model_depends_on_the_seed_alone():
    torch.rand(3)
    one, two = train.build(TINY), train.build(TINY)
    other = train.build(dataclasses.replace(TINY, seed=TINY.seed + 1))
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, two.get_parameter(name))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_the_journal_drops_what_the_snapshot_does_not_know(tmp_path):
    path = tmp_path / "run.jsonl"
    journal = Journal(path, 0)
    for step in (10, 20, 30):
        journal.write(step=step, train_loss=1.0)
    Journal(path, 25).write(step=30, train_loss=2.0)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["step"] for record in records] == [10, 20, 30]
    assert records[-1]["train_loss"] == 2.0
    Journal(path, 0)
    assert path.read_text() == ""


@pytest.fixture
def small_run(monkeypatch):
    r"""A run of a few steps, without compilation, that takes a snapshot after each."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(train, "HELD_OUT_TOKENS", 128)
    monkeypatch.setattr(train, "EVALUATE_EVERY", 10)
    monkeypatch.setattr(train, "SNAPSHOT_EVERY_S", 0.0)
    random = np.random.default_rng(0)
    documents = [random.integers(1, 60, size=90).astype(np.uint16) for _ in range(20)]

    def run(folder, cut_at=None):
        batches = Batches(documents[1:], TINY)
        if cut_at is not None:
            batch = batches.batch
            monkeypatch.setattr(
                batches, "batch", lambda step: batch(step) if step < cut_at else 1 / 0
            )
        model = train.train(TINY, batches, documents[:2], folder, folder / "run.jsonl")
        return model, [json.loads(x) for x in (folder / "run.jsonl").read_text().splitlines()]

    return run


def test_a_run_that_is_cut_ends_where_it_would_have_ended(small_run, tmp_path):
    whole, records = small_run(tmp_path / "whole")
    assert [record["step"] for record in records] == [10, 20, 26]
    assert records[-1]["tokens"] == 26 * TINY.tokens_per_step

    with pytest.raises(ZeroDivisionError):
        small_run(tmp_path / "cut", cut_at=13)
    resumed, again = small_run(tmp_path / "cut")
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, resumed.get_parameter(name)), name
    assert [record["step"] for record in again] == [record["step"] for record in records]
    assert [r["heldout_loss"] for r in again] == [r["heldout_loss"] for r in records]
    assert again[-1]["wall_s"] >= again[0]["wall_s"] > 0


def test_a_finished_run_is_not_run_again(small_run, tmp_path):
    first, _ = small_run(tmp_path)
    second, records = small_run(tmp_path, cut_at=0)
    assert torch.equal(first.lm_head.weight, second.lm_head.weight)
    assert records[-1]["step"] == 26


def test_what_is_published_is_the_model_in_bfloat16(small_run, tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from book.model import corpus, tokenizer

    model, _ = small_run(tmp_path / "run")
    monkeypatch.setattr(corpus, "HERE", tmp_path)
    words = tokenizer.train(["def schedule(self):\n    return self.budget\n" * 4], max_length=64)
    folder = train.publish(model, TINY, words)
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.to(torch.bfloat16), loaded.get_parameter(name)), name
    assert model.lm_head.weight.dtype == torch.float32  # the run's own weights stay as they were
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in folder.iterdir())
    assert AutoTokenizer.from_pretrained(folder).decode([0]) == tokenizer.END_OF_TEXT
