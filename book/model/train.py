r"""How long is a training loop when nothing is hidden?

Take a batch, compute the loss, differentiate, step. The module that is trained is the one that
transformers will load, so there is no conversion that could go wrong. Matrix products run in
bfloat16 under autocast, while the weights that the optimizer moves stay in float32: an update is
often smaller than bfloat16's spacing around a weight, and would round away.

A line of JSON is written every `LOG_EVERY` steps; the loss curve of the model card is drawn from
those lines. Every `EVALUATE_EVERY` steps one of them also carries the loss on held-out text.

    python -m book.model.train target
    python -m book.model.train draft
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from book.model import corpus, snapshot, tokenizer
from book.model.batches import Batches, encode
from book.model.journal import Journal, path_of
from book.model.optimizer import Optimizer
from book.model.recipe import RECIPES, Recipe

LOG_EVERY = 10
EVALUATE_EVERY = 200
SNAPSHOT_EVERY_S = 120.0
GRADIENT_CLIP = 1.0
HELD_OUT_TOKENS = 40_960  # for the curve; the final figures read all of the held-out text


def build(recipe: Recipe) -> LlamaForCausalLM:
    r"""A model with fresh weights, the same for the same recipe."""
    torch.manual_seed(recipe.seed)
    config = recipe.shape.config()
    config._attn_implementation = "sdpa"
    return LlamaForCausalLM(config).float()


def loss_function(model: LlamaForCausalLM) -> Callable[[Tensor], Tensor]:
    r"""Mean cross entropy in nats per token of `[windows, window + 1]` ids, compiled.

    One shape, one compilation: the run has two shapes (one per window length).
    """

    def loss(tokens: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
            logits = model.lm_head(hidden)  # [windows, window, vocab]
        return F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    return torch.compile(loss, dynamic=False)


class Clock:
    r"""Wall and CPU seconds of a run, over all of its interruptions."""

    def __init__(self, wall_s: float, cpu_s: float) -> None:
        self._wall_start = time.monotonic() - wall_s
        self._cpu_start = time.process_time() - cpu_s

    def read(self) -> dict[str, float]:
        r"""`{"wall_s": ..., "cpu_s": ...}` so far; the CPU time counts every thread."""
        return {
            "wall_s": round(time.monotonic() - self._wall_start, 1),
            "cpu_s": round(time.process_time() - self._cpu_start, 1),
        }


class Observer:
    r"""What is written down along the way; the training itself does not depend on it."""

    def __init__(
        self,
        batches: Batches,
        loss: Callable[[Tensor], Tensor],
        heldout: list[np.ndarray],
        journal: Journal,
        clock: Clock,
    ) -> None:
        self.batches, self.loss, self.heldout = batches, loss, heldout
        self.journal, self.clock = journal, clock
        self._recent: list[float] = []

    def after_step(self, step: int, value: float, lr_factor: float) -> None:
        r"""Take note of the loss of `step`; every `LOG_EVERY` steps, write a line."""
        self._recent.append(value)
        done, last = step + 1, step + 1 == self.batches.num_steps
        if done % LOG_EVERY and not last:
            return
        epoch, _ = self.batches.epoch_of(step)
        record: dict[str, object] = {
            "step": done,
            "tokens": done * self.batches.recipe.tokens_per_step,
            "epoch": epoch,
            "lr_factor": round(lr_factor, 5),
            "train_loss": round(sum(self._recent) / len(self._recent), 4),
            **self.clock.read(),
        }
        if done % EVALUATE_EVERY == 0 or last:
            record["heldout_loss"] = round(self._heldout_loss(epoch), 4)
        self.journal.write(**record)
        self._recent.clear()

    @torch.no_grad()
    def _heldout_loss(self, epoch: int) -> float:
        r"""On the first `HELD_OUT_TOKENS` held-out tokens, in batches of the training shape."""
        window = self.batches.recipe.window_by_epoch[epoch]
        rows = self.batches.recipe.tokens_per_step // window
        tokens = torch.from_numpy(np.concatenate(self.heldout).astype(np.int64))
        starts = torch.arange(HELD_OUT_TOKENS // window) * window
        windows = tokens[starts[:, None] + torch.arange(window + 1)]
        return torch.stack([self.loss(batch) for batch in windows.split(rows)]).mean().item()


def train(
    recipe: Recipe,
    batches: Batches,
    heldout: list[np.ndarray],
    scratch: Path,
    journal_path: Path,
) -> LlamaForCausalLM:
    r"""Run the recipe, from the snapshot in `scratch` if there is one; returns the model (fp32).

    Writes only to `scratch` and to `journal_path`.
    """
    model = build(recipe)
    optimizer = Optimizer(model, recipe)
    saved = scratch / f"{recipe.name}.safetensors"
    past = snapshot.load(saved, model, optimizer) if saved.exists() else snapshot.Past()
    clock = Clock(past.wall_s, past.cpu_s)
    loss = loss_function(model)
    observer = Observer(batches, loss, heldout, Journal(journal_path, past.step), clock)
    last_snapshot = time.monotonic()
    with _progress(recipe.name) as progress:
        task = progress.add_task("", total=batches.num_steps, completed=past.step, loss="")
        for step in range(past.step, batches.num_steps):
            value = loss(torch.from_numpy(batches.batch(step)))
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
            lr_factor = optimizer.step((step + 1) / (batches.num_steps + 1))

            observer.after_step(step, value.item(), lr_factor)
            progress.update(task, advance=1, loss=f"loss {value.item():.2f}")
            due = time.monotonic() - last_snapshot > SNAPSHOT_EVERY_S
            if due or step + 1 == batches.num_steps:
                done = snapshot.Past(step + 1, **clock.read())
                snapshot.save(saved, model, optimizer, done)
                last_snapshot = time.monotonic()
    return model


def publish(model: LlamaForCausalLM, recipe: Recipe, words: PreTrainedTokenizerFast) -> Path:
    r"""Write the checkpoint in bfloat16 with its tokenizer; returns its folder."""
    folder = corpus.HERE / recipe.folder
    published = LlamaForCausalLM(model.config)
    published.load_state_dict(model.state_dict())
    published.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save(words, folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    return folder


def prepare() -> tuple[PreTrainedTokenizerFast, list[np.ndarray], list[np.ndarray]]:
    r"""The tokenizer, and the training and the held-out documents as tokens."""
    texts = corpus.read()
    corpus.write_lists(texts)
    words = tokenizer.train((document.text for document in texts.train), max_length=32_768)
    train_ids = encode(words, [document.text for document in texts.train])
    heldout_ids = encode(words, [document.text for document in texts.heldout])
    return words, train_ids, heldout_ids


def main() -> None:
    r"""Train one recipe and publish it."""
    parser = argparse.ArgumentParser(prog="python -m book.model.train", description=main.__doc__)
    parser.add_argument("recipe", choices=sorted(RECIPES))
    parser.add_argument("--scratch", type=Path, default=corpus.REPOSITORY / "_build" / "model")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # a cache of its own: another project's interrupted compilation cannot break this one
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(arguments.scratch / "inductor"))
    recipe = RECIPES[arguments.recipe]
    words, train_ids, heldout_ids = prepare()
    batches = Batches(train_ids, recipe)
    model = train(recipe, batches, heldout_ids, arguments.scratch, path_of(recipe.name))
    print(publish(model, recipe, words))


def _progress(name: str) -> Progress:
    return Progress(
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )


if __name__ == "__main__":
    main()
